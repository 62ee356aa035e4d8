"""Doubtful labels: margins of a head that was not trained on the image.

Copies of an image stay in one fold, so that no wrong label is confirmed by a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.heads.class_balance import deal_folds
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision, fit_head
from offshelf.heads.head import FittedHead
from offshelf.jobs.audit.duplicates import image_ref
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.progress import Progress
from offshelf.report.findings import Finding

HEAD = "svm"
BLOCK_ROWS = 4096
ReadFeatures = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Margins:
    """How far another class outscores each image's own.

    Attributes:
        margin: N float32; the best other class's score less the own class's; NaN where the
            image could not be judged.
        rival: N int64, that other class; -1 where the image could not be judged.
    """

    margin: NDArray[np.float32]
    rival: NDArray[np.int64]

    @staticmethod
    def unknown(n: int) -> Margins:
        """Return margins of n images of which none is judged yet."""
        return Margins(np.full(n, np.nan, np.float32), np.full(n, -1, np.int64))

    @property
    def n_judged(self) -> int:
        """The images with a margin."""
        return int((self.rival >= 0).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelCheck:
    """What is needed to judge labels.

    Attributes:
        table: the images.
        usable: rows with features, int64, ascending.
        copies: a number for each row of the table; rows of one number are copies.
        read: returns the features of rows, float32.
        seed: of the folds and the solver.
    """

    table: ImageTable
    usable: NDArray[np.int64]
    copies: NDArray[np.int64]
    read: ReadFeatures
    seed: int


def judge(check: LabelCheck, folds: int, progress: Progress) -> Margins:
    """Return the margin of every usable image, by a head that was not trained on it.

    Training images are judged out of fold, test images by a head of all training images.
    An image stays without a margin where no other image of its class was trained on, or
    no other class.
    """
    table, usable = check.table, check.usable
    margins, targets = Margins.unknown(len(table)), table.targets()
    train = np.intersect1d(table.rows("train"), usable)
    test = np.intersect1d(table.rows("test"), usable)
    progress.start("labels", len(usable))
    if len(train):
        fold = folds_of_copies(targets[train], check.copies[train], folds, check.seed)
        head, classes = _judge_train(margins, check, train, fold, progress)
        for start in range(0, len(test), BLOCK_ROWS):
            rows = test[start : start + BLOCK_ROWS]
            if head is not None:
                _judge(margins, rows, targets, decision(head, check.read(rows)), classes)
            progress.advance(len(rows))
    progress.finish()
    return margins


def _judge_train(
    margins: Margins,
    check: LabelCheck,
    train: NDArray[np.int64],
    fold: NDArray[np.int64],
    progress: Progress,
) -> tuple[FittedHead | None, NDArray[np.int64]]:
    """Judge training images out of fold; return the head of all of them, and its classes."""
    table, targets, features = check.table, check.table.targets(), check.read(train)
    classes, local = np.unique(targets[train], return_inverse=True)
    seen = np.zeros((len(classes), int(fold.max()) + 1), bool)
    seen[local, fold] = True
    sizes = iter(np.bincount(fold).tolist())
    if len(classes) > 1 and (seen.sum(axis=1) > 1).all():
        # No fold holds all images of a class, so all heads have the same classes.
        names = [table.classes[number] for number in classes.tolist()]
        trainer = Trainer(
            recipe_of_labels(check.seed),
            features,
            local,
            names,
            advance=lambda: progress.advance(next(sizes)),
        )
        scores = trainer.held_out(fold)
        _judge(margins, train, targets, scores, classes)
        return trainer.head, classes
    for number, size in enumerate(sizes):
        out = fold == number
        head, others = _head(features[~out], targets[train[~out]], table, check.seed)
        if head is not None and out.any():
            _judge(margins, train[out], targets, decision(head, features[out]), others)
        progress.advance(size)
    return _head(features, targets[train], table, check.seed)


def recipe_of_labels(seed: int) -> Recipe:
    """Return how the heads that judge labels are trained."""
    return Recipe(kind=HEAD, seed=seed)


def folds_of_copies(
    targets: NDArray[np.int64], copies: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """Return a fold, 0 to folds - 1, for each row: classes spread evenly, copies together."""
    groups, first, at = np.unique(copies, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    return deal_folds(targets[first], folds, order)[at]


def label_findings(table: ImageTable, margins: Margins, bounds: Bounds) -> list[Finding]:
    """Return a finding for every image over the bound, the clearest first."""
    margin = np.where(margins.rival >= 0, margins.margin, -np.inf)
    order = np.argsort(-margin, kind="stable")
    found = []
    for row in order[margin[order] >= max(bounds.margin, 1e-9)].tolist():
        rival, by = table.classes[int(margins.rival[row])], float(margin[row])
        reason = f"looks like {rival!r}: scored {by:.2f} above {table.labels[row]!r}"
        figures = {"suggested": rival, "margin": round(by, 4)}
        found.append(
            Finding(
                kind="doubtful_label",
                severity="warning",
                reason=reason,
                images=(image_ref(table, row),),
                figures=figures,
            )
        )
    return found


def _head(
    features: NDArray[np.float32], targets: NDArray[np.int64], table: ImageTable, seed: int
) -> tuple[FittedHead | None, NDArray[np.int64]]:
    """Return a head of the classes that are there, and which those are."""
    classes, local = np.unique(targets, return_inverse=True)
    if len(classes) < 2:
        return None, classes
    names = [table.classes[number] for number in classes.tolist()]
    return fit_head(recipe_of_labels(seed), features, local.astype(np.int64), names), classes


def _judge(
    margins: Margins,
    rows: NDArray[np.int64],
    targets: NDArray[np.int64],
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
) -> None:
    known = np.flatnonzero(np.isin(targets[rows], classes))
    rows, scores = rows[known], scores[known].copy()
    here, own = np.arange(len(rows)), np.searchsorted(classes, targets[rows])
    mine = scores[here, own]
    scores[here, own] = -np.inf
    rival = scores.argmax(axis=1)
    margins.margin[rows] = scores[here, rival] - mine
    margins.rival[rows] = classes[rival]
