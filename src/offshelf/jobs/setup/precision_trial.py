"""Trial of a faster precision: what it costs on a sample of labelled training images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import EngineOptions
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.class_balance import ALONE, deal_folds, fold_splits
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.group_folds import grouped_folds, groups_with_copies, held_out_folds
from offshelf.jobs.setup.grouped_table import group_numbers_of
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.workload import FOLDS
from offshelf.progress import Progress, Silent

MIN_COSINE = 0.97
MAX_ACCURACY_LOSS = 0.01


@dataclass(frozen=True, kw_only=True)
class PrecisionTrial:
    """Comparison of a precision with fp32 on a sample of training images.

    Attributes:
        precision: ``int8``, ``bf16`` or ``fp16``.
        cosine: mean cosine between its features and the fp32 features of an image.
        fp32: cross-validated accuracy on fp32 features, 0 to 1.
        accuracy: the same on its features.
        images: size of the sample.
    """

    precision: str
    cosine: float
    fp32: float
    accuracy: float
    images: int

    @property
    def accepted(self) -> bool:
        """Whether it stays within the bounds: cosine 0.97, one point of accuracy."""
        return self.cosine >= MIN_COSINE and self.fp32 - self.accuracy <= MAX_ACCURACY_LOSS

    def sentence(self) -> str:
        """Return the decision and its reason on one line."""
        verb = "takes" if self.accepted else "does not take"
        return (
            f"precision auto {verb} {self.precision}: on {self.images} training images its "
            f"features have cosine {self.cosine:.3f} to fp32 (bound {MIN_COSINE}) and "
            f"{100 * self.accuracy:.1f} % cross-validated accuracy against {100 * self.fp32:.1f} % "
            f"(bound {100 * MAX_ACCURACY_LOSS:.0f} % less)"
        )


def is_comparable(table: ImageTable) -> bool:
    """Return whether labelled training images can tell whether a precision is exact enough."""
    return len(np.unique(_comparable(table)[1])) >= 2


def compared(
    sample: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    run: RunSettings,
    faster: EngineOptions,
    progress: Progress | None = None,
) -> PrecisionTrial | None:
    """Extract labelled images in fp32 and in a faster precision, and compare the first of *kinds*.

    The features stay in the store, so that no work is lost. None where too few images of a class
    can be used.
    """
    paths, labels = sample.paths, sample.targets()
    notes = NotesOnly(progress or Silent())
    both = [
        extract(
            paths, backbone, kinds, dataclasses.replace(options, images=None), run.reading, notes
        )
        for options in (dataclasses.replace(faster, precision="fp32", calibration=None), faster)
    ]
    usable = np.intersect1d(both[0].ok, both[1].ok)
    plain, found = (one.matrix(kinds[0], usable) for one in both)
    fold = _folds(sample, both[0], usable)
    if fold is None:
        return None
    targets = np.unique(labels[usable], return_inverse=True)[1]
    return PrecisionTrial(
        precision=faster.precision,
        cosine=_cosine(plain, found),
        fp32=_cross_validated(plain, targets, fold),
        accuracy=_cross_validated(found, targets, fold),
        images=len(usable),
    )


def fair_sample(table: ImageTable, seed: int, count: int) -> ImageTable:
    """Return about *count* seeded training images, of each class as many at a time as folds."""
    rows, targets = _comparable(table)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(rows))
    rows, targets = rows[order], targets[order]
    drawn = draw.permutation(int(targets.max()) + 1)[targets]
    together = np.lexsort((drawn,))
    first = np.searchsorted(drawn[together], drawn[together])
    turn = np.empty(len(rows), np.int64)
    turn[together] = (np.arange(len(rows)) - first) // FOLDS
    chosen = np.lexsort((drawn, turn))[: count - count % FOLDS]
    kept = np.sort(rows[chosen]).tolist()
    return dataclasses.replace(
        table,
        paths=tuple(table.paths[row] for row in kept),
        labels=tuple(table.labels[row] for row in kept),
        splits=tuple(table.splits[row] for row in kept),
        groups=tuple(table.groups[row] for row in kept) if table.groups else (),
    )


class NotesOnly(Silent):
    """Passes notes on, and no progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def note(self, message: str) -> None:
        """See :class:`offshelf.progress.Progress`."""
        super().note(message)
        self._progress.note(message)


def _comparable(table: ImageTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training images of classes with enough to hold out, and their classes."""
    rows = training_rows(table)
    rows = rows[table.targets()[rows] >= 0]
    targets = table.targets()[rows]
    _, number, counts = np.unique(targets, return_inverse=True, return_counts=True)
    enough = counts[number] >= FOLDS
    groups = group_numbers_of(table, rows)
    if groups is not None:
        # Images of a class of one group would all be held out together.
        enough &= held_out_folds(targets, folds=FOLDS, groups=groups) != ALONE
    return rows[enough], targets[enough]


def training_rows(table: ImageTable) -> NDArray[np.int64]:
    """Return the rows to train with; all where none is marked so."""
    rows = table.rows("train")
    return rows if len(rows) else np.arange(len(table))


def _cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean((left * right).sum(axis=1) / np.maximum(norms, 1e-12)))


def _folds(
    sample: ImageTable, found: Extraction, usable: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the fold of each usable image, with groups and copies whole; None with too few."""
    targets = sample.targets()[usable]
    _, counts = np.unique(targets, return_counts=True)
    if len(counts) < 2 or counts.min() < FOLDS:
        return None
    digests = [found.rows[row].digest for row in usable.tolist()]
    groups = groups_with_copies(group_numbers_of(sample, usable), digests)
    if groups is None:
        return deal_folds(targets, FOLDS, np.arange(len(targets)))
    fold = grouped_folds(targets, groups, FOLDS, seed=0)
    return fold if (fold != ALONE).any() else None


def _cross_validated(
    features: NDArray[np.float32], targets: NDArray[np.int64], fold: NDArray[np.int64]
) -> float:
    """Return the share of rows that a head trained on the other folds gets right."""
    classes = [str(number) for number in range(int(targets.max()) + 1)]
    targets = targets.astype(np.int64)
    correct = 0
    for held, kept in fold_splits(fold):
        head = fit_head(Recipe(), features[kept], targets[kept], classes)
        scores = decision(head, features[held])
        correct += int((scores.argmax(axis=1) == targets[held]).sum())
    return correct / int((fold != ALONE).sum())
