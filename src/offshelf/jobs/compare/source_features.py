"""Extraction for a comparison: all layers and poolings of a network in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.layer_choice import chosen_layers
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import EngineOptions
from offshelf.errors import BackboneError, DataError
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.jobs.compare.feature_sets import Part, Source, View
from offshelf.jobs.setup.labelled_features import contradictions, run_network
from offshelf.jobs.setup.opening import note_all
from offshelf.jobs.setup.precision import AUTO
from offshelf.jobs.setup.run_costs import Clock
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Progress


class Networks:
    """The opened backbones of a comparison, each weights file read once.

    Args:
        run: engine, cache folder, limits, seed.
        progress: receives downloads and notes.
        download: whether weights may be fetched.
    """

    def __init__(self, run: RunSettings, progress: Progress, download: bool = True) -> None:
        self._run, self._progress, self._download = run, progress, download
        self._opened: dict[Source, Backbone] = {}

    def open(self, source: Source) -> Backbone:
        """Return the backbone of *source*.

        Raises:
            BackboneError: the name or the resize mode is unknown.
            WeightsError: the weights are not here.
        """
        if source not in self._opened:
            self._opened[source] = self._open(source)
        return self._opened[source]

    def layers(self, source: Source, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return the layers that *words* stand for; see :func:`.chosen_layers`."""
        return chosen_layers(self.open(source), words)

    def _open(self, source: Source) -> Backbone:
        if source.precision == AUTO:
            raise BackboneError(
                "a comparison needs a stated precision: give fp32 and int8 as two rows, not auto"
            )
        backbone = open_backbone(
            source.backbone,
            weights="random" if source.weights == "random" else None,
            resize=source.resize,
            cache_dir=self._run.engine.cache_dir,
            download=self._download,
            progress=self._progress,
        )
        if not source.mirrored:
            backbone.note_untrained(self._progress)
        if source.scaling == "none":
            backbone = backbone.without_normalisation()
        if source.mirrored:
            mirrored = dataclasses.replace(backbone.input, mirrored=True)
            backbone = dataclasses.replace(backbone, input=mirrored)
        return backbone


@dataclass(frozen=True, eq=False)
class Extracted:
    """What one source gave.

    Attributes:
        backbone: the network as it was run.
        extraction: ledger, stores and times.
        kinds: part -> the features it stands for.
        options: the engine as it ran, with its calibration.
    """

    backbone: Backbone
    extraction: Extraction
    kinds: Mapping[Part, FeatureKind]
    options: EngineOptions

    def identity(self, part: Part) -> dict[str, object]:
        """Return what decides the numbers of *part*, the key of its store."""
        return self.extraction.stores[self.kinds[part]].identity


def extract_all(
    table: ImageTable,
    views: Sequence[View],
    networks: Networks,
    run: RunSettings,
    progress: Progress,
) -> dict[Source, Extracted]:
    """Extract every part of every view, each source in one pass.

    Raises:
        DataError: none of the images can be used.
        OffshelfError: what opening and running a network raises.
    """
    parts: dict[Source, list[Part]] = {}
    for part in dict.fromkeys(part for view in views for part in view.needs):
        parts.setdefault(part.source, []).append(part)
    found: dict[Source, Extracted] = {}
    for source, wanted in parts.items():
        found[source] = _extract(table, source, wanted, networks, run, progress)
    note_all(progress, contradictions(table, next(iter(found.values())).extraction))
    return found


def usable(extracted: Iterable[Extracted]) -> NDArray[np.int64]:
    """Return the rows that have features everywhere.

    Raises:
        DataError: there is none.
    """
    rows: NDArray[np.int64] | None = None
    for one in extracted:
        ok = one.extraction.ok
        rows = ok if rows is None else np.intersect1d(rows, ok)
    if rows is None or not len(rows):
        raise DataError("none of the images can be used; 'offshelf audit' says why")
    return rows


def _extract(
    table: ImageTable,
    source: Source,
    parts: Sequence[Part],
    networks: Networks,
    run: RunSettings,
    progress: Progress,
) -> Extracted:
    backbone = networks.open(source)
    kinds = {part: feature_kinds(backbone, [part.layer], [part.pooling])[0] for part in parts}
    engine = dataclasses.replace(run.engine, precision=source.precision)
    unique = tuple(dict.fromkeys(kinds.values()))
    if len(unique) > 1:
        progress.note(f"{source.backbone}: {len(unique)} kinds of features in one pass")
    run = dataclasses.replace(run, engine=engine)
    extraction, options = run_network(table, backbone, unique, run, progress, Clock())
    return Extracted(backbone, extraction, kinds, options)
