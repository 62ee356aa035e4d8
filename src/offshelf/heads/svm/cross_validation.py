"""Cross-validation of C: all classes, folds and values of C on the same inner products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import class_weights
from offshelf.heads.numerics.positive_systems import Matrix
from offshelf.heads.stratified_folds import stratified_folds
from offshelf.heads.svm.newton import Mask, Point, Problems, minimise, start
from offshelf.heads.svm.solve import COARSE, FINE, ROUGH, Training


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


def cross_fit(training: Training, c: float, fold: NDArray[np.int64], head: Point) -> Matrix:
    """Return the scores, P x N, of rows that are held out, each from the minimum without its fold.

    Args:
        training: all rows; a fold's inner products are a part of theirs.
        c: of the head.
        fold: N, the fold that holds a row out; a row of -1 is in every minimum and scores 0.
        head: the minimum on all rows, P x N, from which those without a fold are not far.
    """
    kept = np.arange(int(fold.max()) + 1)[:, None] != fold
    held, first = np.flatnonzero(fold >= 0), 0
    found = np.zeros(head.scores.shape)
    for part in training.parts(len(kept)):
        chosen = slice(first, first + len(part.positives))
        scores = _without_folds(part, c, kept, head.of(chosen))
        found[chosen][:, held] = scores[fold[held], :, held].T
        first = chosen.stop
    return found


def _without_folds(training: Training, c: float, kept: Mask, head: Point) -> Matrix:
    """Return the scores of all rows, F x P x N, by minima of the rows that each fold keeps."""
    shape = len(kept), *head.scores.shape
    signs = (kept[:, None] * training.signs()).reshape(-1, shape[2])
    costs = _costs(training, kept)
    point = Point(*(np.tile(each, (len(kept), 1)) for each in (head.coefficients, head.scores)))
    for kind, nearness in ((training.gram.dtype, ROUGH), (np.dtype(np.float64), FINE)):
        point = Point(point.coefficients.astype(kind), point.scores.astype(kind))
        given = costs if isinstance(costs, float) else costs.astype(kind)
        problems = Problems(training.gram, signs.astype(kind), c, costs=given)
        point, _ = minimise(problems, point, nearness)
    return point.scores.reshape(shape)


def _costs(training: Training, kept: Mask) -> Matrix | float:
    """Return what C is multiplied by for each row without each fold, F P x N, or 1 for all."""
    if training.weights is None:
        return 1.0
    weights = [
        class_weights(training.targets[rows], len(training.weights), "balanced") for rows in kept
    ]
    return np.concatenate([replace(training, weights=each).costs() for each in weights])


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
