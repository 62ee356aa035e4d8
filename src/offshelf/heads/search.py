"""Cross-validation of C: all classes, folds and values of C on the same inner products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.folds import stratified_folds
from offshelf.heads.newton import Point, Problems, minimise, start
from offshelf.heads.svm import COARSE, ROUGH, Training

# What ``auto`` chooses from, and how.
GRID = tuple(float(c) for c in np.logspace(-2, 2, 7))
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Search:
    """What cross-validation found.

    Attributes:
        cs: the values of C, rising.
        accuracies: len(cs) x folds, the share of a fold's rows that were labelled rightly.
        solutions: for each C the rough solution on all rows.
    """

    cs: tuple[float, ...]
    accuracies: NDArray[np.float64]
    solutions: tuple[Point, ...]

    @property
    def best(self) -> int:
        """Place of the best mean accuracy; of equals the smallest C, as in scikit-learn."""
        return int(self.accuracies.mean(axis=1).round(12).argmax())


def search(training: Training, cs: Sequence[float], folds: int, seed: int) -> Search:
    """Cross-validate every C in *cs*, from small to large, each from the one before.

    A fold's rows are left out of its loss, so its inner products are those of all rows.
    Scores are near enough that labels are those of the minimum, but for a few ties.

    Raises:
        HeadError: the number of folds does not suit the rows.
    """
    fold = stratified_folds(training.targets, folds, seed)
    signs = training.signs()
    trains = np.arange(folds)[:, None] != fold
    within = (trains[:, None] * signs).reshape(-1, len(fold))
    costs = training.costs()
    inner = costs if isinstance(costs, float) else np.tile(costs, (folds, 1))
    point, held = start(signs), start(within)
    solutions, accuracies = [], []
    cs = tuple(sorted(set(cs)))
    for c in cs:
        everything = Problems(training.gram, signs, c, costs=costs)
        point, _ = minimise(everything, point.copy(), COARSE)
        # A fold differs from all rows much as it did at the C before: held is that difference
        # between the turns, as problems of many rows are too large to have both.
        held.move(point, 1)
        minimise(Problems(training.gram, within, c, costs=inner), held, ROUGH)
        guesses = labels(held.scores.reshape(folds, *signs.shape))[fold, np.arange(len(fold))]
        accuracies.append(_shares(guesses == training.targets, fold, folds))
        solutions.append(point)
        held.move(point, -1)
    return Search(cs, np.array(accuracies), tuple(solutions))


def labels(scores: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Return the best class of each row, along the second axis of *scores*.

    One score alone is that of class 1 of two.

    >>> labels(np.array([[0.5], [-0.5]])), labels(np.array([[0.1, 0.2, 0.0]]))
    (array([1, 0]), array([1]))
    """
    best: NDArray[np.intp] = scores.argmax(axis=1)
    return (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else best


def _shares(right: NDArray[np.bool_], fold: NDArray[np.int64], folds: int) -> NDArray[np.float64]:
    return np.bincount(fold, weights=right, minlength=folds) / np.bincount(fold, minlength=folds)
