"""The plan of a comparison: which heads are trained on which rows of which features.

A plan is a JSON document, so that other processes can read it; a cell of the grid is named by a
hash of everything that decides its numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.feature_sets.feature_set import NO_FLIPS, Joining
from offshelf.heads.group_folds import groups_with_copies
from offshelf.heads.kinds.registry import holds_back
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.measurement.splits.protocol import Fold

VERSION = 4


@dataclass(frozen=True)
class Stored:
    """The features of a view, as stores.

    Attributes:
        parts: identity of each store.
        joining: how the parts become one row.
        mirrors: the same as *parts* of the mirror images; () where they are not used.
        flips: where mirror images are used.
    """

    parts: tuple[Mapping[str, Any], ...]
    joining: Joining
    mirrors: tuple[Mapping[str, Any], ...] = ()
    flips: str = NO_FLIPS

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "parts": list(self.parts),
            "mirrors": list(self.mirrors),
            "joining": dataclasses.asdict(self.joining),
            "flips": self.flips,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Stored:
        """Build what :meth:`to_json` wrote."""
        joining = dict(document["joining"])
        joining["normalisations"] = tuple(joining["normalisations"])
        return cls(
            tuple(document["parts"]),
            Joining(**joining),
            tuple(document["mirrors"]),
            document["flips"],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Everything a worker needs.

    Attributes:
        root: folder of the feature stores.
        results: folder of finished cells.
        digests: sha256 of each image of the table; empty for one without features.
        targets: N class indices.
        groups: N numbers of groups, which folds that choose C keep together; None where images
            are independent.
        classes: K names.
        folds: who trains and who is tested.
        views: the features.
        recipes: what is trained on each view in each fold.
        seed: of all random choices.
    """

    root: Path
    results: Path
    digests: tuple[bytes, ...]
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    folds: tuple[Fold, ...]
    views: tuple[Stored, ...]
    recipes: tuple[HeadSettings, ...]
    seed: int
    groups: NDArray[np.int64] | None = None

    @property
    def units(self) -> list[tuple[int, int]]:
        """Pairs (view, fold): what a worker does at a time."""
        return [(view, fold) for view in range(len(self.views)) for fold in range(len(self.folds))]

    def place(self, view: int, fold: int, recipe: HeadSettings) -> Path:
        """Return the file of a cell."""
        key = {
            "version": VERSION,
            "libraries": _libraries(),
            "view": self.views[view].to_json(),
            "fold": self._fold_digests[fold],
            "classes": list(self.classes),
            "recipe": dataclasses.asdict(recipe),
            "seed": self.seed,
        }
        # The others divide no rows while they are trained.
        if recipe.c == "auto" or holds_back(recipe.head):
            groups = self.fold_groups[fold]
            key |= {} if groups is None else {"groups": groups.tolist()}
        name = files.sha256_json(key)[:40]
        return self.results / name[:2] / f"{name}.json"

    @functools.cached_property
    def fold_groups(self) -> tuple[NDArray[np.int64] | None, ...]:
        """For each fold the groups of its training rows, of which copies of an image are one."""
        found = []
        for rows in (fold.train for fold in self.folds):
            groups = None if self.groups is None else self.groups[rows]
            digests = [self.digests[row] for row in rows.tolist()]
            found.append(groups_with_copies(groups, digests))
        return tuple(found)

    @functools.cached_property
    def _fold_digests(self) -> tuple[str, ...]:
        return tuple(self._digest(fold) for fold in self.folds)

    def _digest(self, fold: Fold) -> str:
        digest = hashlib.sha256()
        for side in (fold.train, fold.test):
            digest.update(f"{len(side)} rows".encode())
            for row in side.tolist():
                digest.update(self.digests[row] + b" %d," % self.targets[row])
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "root": str(self.root),
            "results": str(self.results),
            "digests": [digest.hex() for digest in self.digests],
            "targets": self.targets.tolist(),
            "classes": list(self.classes),
            "folds": [{"train": f.train.tolist(), "test": f.test.tolist()} for f in self.folds],
            "views": [view.to_json() for view in self.views],
            "recipes": [dataclasses.asdict(recipe) for recipe in self.recipes],
            "seed": self.seed,
            "groups": None if self.groups is None else self.groups.tolist(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """Build the plan that :meth:`to_json` wrote."""
        return cls(
            root=Path(document["root"]),
            results=Path(document["results"]),
            digests=tuple(bytes.fromhex(digest) for digest in document["digests"]),
            targets=np.array(document["targets"], np.int64),
            classes=tuple(document["classes"]),
            folds=tuple(_fold(fold) for fold in document["folds"]),
            views=tuple(map(Stored.from_json, document["views"])),
            recipes=tuple(HeadSettings(**recipe) for recipe in document["recipes"]),
            seed=document["seed"],
            groups=_numbers(document["groups"]),
        )


def _numbers(values: Sequence[int] | None) -> NDArray[np.int64] | None:
    return None if values is None else np.array(values, np.int64)


def _fold(document: Mapping[str, Sequence[int]]) -> Fold:
    return Fold(np.array(document["train"], np.int64), np.array(document["test"], np.int64))


@functools.cache
def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
