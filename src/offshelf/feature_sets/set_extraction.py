"""Extraction of a feature set: a pass for each network, and one for mirror images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.feature_sets.feature_set import (
    NO_FLIPS,
    FeaturePart,
    FeatureSet,
    Joining,
    Matrix,
    mirrored,
)
from offshelf.feature_sets.notation import PLAIN
from offshelf.features.extraction import Extraction, Row
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.profile import Profile
from offshelf.features.store.feature_store import FeatureStore

Pass = Callable[[Backbone, tuple[FeatureKind, ...]], Extraction]
Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, repr=False)
class SetExtraction(Extraction):
    """The ledger of all passes together, and the features of the set.

    An image counts as usable where every pass has its features.

    Attributes:
        features: the networks and layers.
        passes: of each network; those of mirror images have a network of their own.
    """

    features: FeatureSet
    passes: Mapping[Backbone, Extraction]

    def read(self, rows: Rows) -> Matrix:
        """Return the features of *rows*, float32, N x D.

        Raises:
            StoreError: one of the rows has no features.
        """
        return self._joined(self.features.parts, rows)

    def read_mirrored(self, rows: Rows) -> Matrix:
        """Return the same of the mirror images; the set has flips."""
        return self._joined(self.features.mirrored_parts, rows)

    def _joined(self, parts: Sequence[FeaturePart], rows: Rows) -> Matrix:
        found = [self.passes[one.backbone].matrix(one.kind, rows) for one in parts]
        return self.features.joining.join(found)

    def store_of(self, part: FeaturePart) -> FeatureStore:
        """Return the store that holds the features of a part."""
        return self.passes[part.backbone].stores[part.kind]

    def identity(self) -> Any:
        """Return what decides the numbers: the names of the stores, and how they are joined."""
        features = self.features
        parts = [*features.parts, *(features.mirrored_parts if features.flips != NO_FLIPS else ())]
        names = [self.store_of(one).folder.name for one in parts]
        if len(names) == 1 and features.joining == Joining((PLAIN,)):
            return names[0]
        return [names, dataclasses.asdict(features.joining), features.flips]

    @property
    def dimension(self) -> int:
        """D of the features."""
        parts = self.features.parts
        sizes = [self.store_of(one).dimension for one in parts]
        return self.features.joining.dimension(sizes)


class OfFeatures:
    """A result that rests on an extraction: its networks and layers."""

    extraction: SetExtraction

    @property
    def features(self) -> FeatureSet:
        """The networks and layers."""
        return self.extraction.features

    @property
    def backbone(self) -> Backbone:
        """The first network, with its weights."""
        return self.features.backbone


def passes_of(features: FeatureSet) -> tuple[tuple[Backbone, tuple[FeatureKind, ...]], ...]:
    """Return each network with what its pass takes, mirror images last."""
    plain = [(one, features.kinds_of(one)) for one in features.backbones]
    flipped = [(mirrored(one), kinds) for one, kinds in plain] if features.flips != NO_FLIPS else []
    return (*plain, *flipped)


def extract_set(features: FeatureSet, run: Pass) -> SetExtraction:
    """Extract a feature set.

    Args:
        features: the networks and layers.
        run: extracts some layers of a network over the images, in one pass.

    Raises:
        OffshelfError: what *run* raises.
    """
    passes = {backbone: run(backbone, kinds) for backbone, kinds in passes_of(features)}
    return together(features, passes)


def together(features: FeatureSet, passes: Mapping[Backbone, Extraction]) -> SetExtraction:
    """Return passes over the same images as one extraction."""
    every = tuple(passes.values())
    first = every[0]
    return SetExtraction(
        rows=ledger(every),
        stores={kind: store for one in reversed(every) for kind, store in one.stores.items()},
        engine=first.engine,
        computed=max(one.computed for one in every),
        seconds={name: sum(one.seconds[name] for one in every) for name in first.seconds},
        profile=_profile([one.profile for one in every]),
        precision=" + ".join(dict.fromkeys(one.precision for one in every)),
        reason=next((one.reason for one in every if one.reason), ""),
        reread=first.reread,
        features=features,
        passes=passes,
    )


def ledger(passes: Iterable[Extraction]) -> tuple[Row, ...]:
    """Return the rows of several passes over the same images as one ledger."""
    return tuple(map(_worst, zip(*(one.rows for one in passes), strict=True)))


def _worst(rows: tuple[Row, ...]) -> Row:
    """Return the row of an image, that of the first pass which could not use it."""
    return next((row for row in rows if row.status != "ok"), rows[0])


def _profile(found: Sequence[Profile]) -> Profile:
    stages = {name: sum(one.stages[name] for one in found) for name in found[0].stages}
    return Profile(stages, sum(one.wall for one in found), sum(one.starved for one in found))
