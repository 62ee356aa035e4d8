"""One-vs-rest linear SVM with squared hinge loss, solved on the inner products of the rows.

C is cross-validated with all classes, folds and values of C on the same inner products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import class_weights, stratified_folds
from offshelf.heads.numerics.row_scaling import Matrix, ScaledRows
from offshelf.heads.options import ClassWeight
from offshelf.heads.svm.gram import Gram, make_gram
from offshelf.heads.svm.newton import Mask, Point, Problems, minimise, start

# Tolerance of scores: in between, where predictions are compared, and in the head itself.
COARSE, MEDIUM, FINE = 1e-1, 1e-2, 1e-6
# What the weights' own scores may leave of the conditions for the minimum.
EXACT = 2e-5
# A solution from nothing climbs to its C in steps of this factor, from here over R^2.
CLIMB, _FIRST_STEP, NEAR_ENOUGH = 10.0, 0.2, 2.0
_REPAIRS = 4
_PART_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Training:
    """Rows, their inner products, and the classes, each against the others.

    Attributes:
        rows: N x D.
        gram: of these rows.
        targets: N class indices.
        positives: P class indices, one for each problem.
        weights: K, what C is multiplied by for the rows of a class; None for 1.
    """

    rows: ScaledRows
    gram: Gram
    targets: NDArray[np.int64]
    positives: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def signs(self) -> Matrix:
        """Return P x N, 1 for a row of the class and -1 for others, in the type of the gram."""
        own = self.targets == self.positives[:, None]
        return np.where(own, 1, -1).astype(self.gram.dtype)

    def costs(self) -> Matrix | float:
        """Return P x N, what C is multiplied by for each row, or 1 for all.

        As in liblinear: one class against many others weighs its own rows only, one class
        against one other the rows of both.
        """
        if self.weights is None:
            return 1.0
        own = self.targets == self.positives[:, None]
        others = self.weights[self.targets] if len(self.weights) == 2 else 1.0
        return np.where(own, self.weights[self.positives][:, None], others).astype(self.gram.dtype)

    def parts(self, copies: int = 1) -> Iterator[Training]:
        """Yield the same training for some classes at a time, so that memory is bounded.

        There are *copies* problems for each class.
        """
        step = max(1, _PART_VALUES // (copies * len(self.targets)))
        for first in range(0, len(self.positives), step):
            yield replace(self, positives=self.positives[first : first + step])

    def minimum(self, weight: NDArray[np.float64], bias: NDArray[np.float64], c: float) -> Point:
        """Return the minimum at *c* that weights P x D and biases P are, within their rounding.

        At the minimum the coefficient of a row is 2 C times what it lacks to the margin, on its
        side.
        """
        signs = self.signs().astype(np.float64)
        scores = self.rows.scores(weight) + bias[:, None]
        slack = np.maximum(0, 1 - signs * scores)
        return Point(2 * c * self.costs() * signs * slack, scores)


def make_training(
    rows: ScaledRows,
    targets: NDArray[np.int64],
    n_classes: int,
    c: float,
    class_weight: ClassWeight | None = None,
) -> Training:
    """Prepare training with no C larger than *c*; two classes need only one problem."""
    positives = np.arange(n_classes) if n_classes > 2 else np.array([1])
    if class_weight is None:
        return Training(rows, make_gram(rows, c), targets, positives)
    weights = class_weights(targets, n_classes, class_weight)
    gram = make_gram(rows, c * max(1.0, float(weights.max())))
    return Training(rows, gram, targets, positives, weights)


def solve(training: Training, c: float) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Return weights P x D and biases P at *c*, and whether they are the minimum."""
    solved = [finish(part, c, climb(part, c)) for part in training.parts()]
    weights, biases, found = zip(*solved, strict=True)
    return np.concatenate(weights), np.concatenate(biases), all(found)


def climb(training: Training, c: float) -> Point:
    """Return a coarse solution at *c*, by way of smaller C where systems are solved in steps.

    There such systems are easier, and a solution at one C tells most of the next.
    """
    signs, costs = training.signs(), training.costs()
    easy = training.gram.direct_size >= signs.shape[1]
    point, step = start(signs), c if easy else min(c, _FIRST_STEP / training.gram.largest)
    while step * NEAR_ENOUGH < c:
        point, _ = minimise(Problems(training.gram, signs, step, costs=costs), point, COARSE)
        step *= CLIMB
    return minimise(Problems(training.gram, signs, c, costs=costs), point, COARSE)[0]


def finish(
    training: Training, c: float, coarse: Point
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Return what :func:`solve` does, from a coarse solution.

    Rounding inside the inner products is found by scoring the rows with the weights
    themselves, and made good where it shows: at the minimum the coefficient of a row is 2 C
    times what it lacks to the margin, on its side.
    """
    signs, costs = training.signs().astype(np.float64), training.costs()
    costs = costs if isinstance(costs, float) else costs.astype(np.float64)
    point = Point(coarse.coefficients.astype(np.float64), coarse.scores.astype(np.float64))
    problems = Problems(training.gram, signs, c, np.zeros_like(signs), costs)
    for _ in range(_REPAIRS):
        point, found = minimise(problems, point, FINE)
        weight, scores = training.rows.combined(np.asarray(point.coefficients, np.float64))
        bias = point.coefficients.sum(axis=1)
        scores += bias[:, None]
        force = problems.ridge * point.coefficients
        if np.abs(force - signs * problems.slack(scores)).max() <= EXACT:
            return weight, bias, found
        problems = replace(problems, offset=problems.offset + scores - point.scores)
        point = Point(point.coefficients, scores)
    return weight, bias, False


@dataclass(frozen=True, eq=False)
class Search:
    """What cross-validation found.

    Attributes:
        cs: the values of C, rising.
        accuracies: len(cs) x folds, the share of a fold's rows that were labelled rightly.
        solutions: for each C the coarse solution on all rows.
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
        minimise(Problems(training.gram, within, c, costs=inner), held, MEDIUM)
        guesses = labels(held.scores.reshape(folds, *signs.shape))[fold, np.arange(len(fold))]
        accuracies.append(_shares(guesses == training.targets, fold, folds))
        solutions.append(point)
        held.move(point, -1)
    return Search(cs, np.array(accuracies), tuple(solutions))


def cross_fit(training: Training, c: float, fold: NDArray[np.int64], head: Point) -> Matrix:
    """Return the scores, P x N, of rows that are held out, each from the minimum without its fold.

    These are not far from *head*, the minimum at *c* on all rows. A row of fold -1 is in every
    minimum and scores 0.
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
    for kind, nearness in ((training.gram.dtype, MEDIUM), (np.dtype(np.float64), FINE)):
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
    """Return the best class along the second axis; one score alone is that of class 1 of two."""
    best: NDArray[np.intp] = scores.argmax(axis=1)
    return (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else best


def _shares(right: NDArray[np.bool_], fold: NDArray[np.int64], folds: int) -> NDArray[np.float64]:
    return np.bincount(fold, weights=right, minlength=folds) / np.bincount(fold, minlength=folds)
