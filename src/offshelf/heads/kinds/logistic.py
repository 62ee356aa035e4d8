"""Multinomial logistic regression, in as few coordinates as the rows span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import row_weights, stratified_folds
from offshelf.heads.kinds.fitter import CrossFit, Learned, mirrored
from offshelf.heads.kinds.linear import LinearHead, linear_arrays
from offshelf.heads.numerics.blas_threads import run_in_threads
from offshelf.heads.numerics.centred import Array
from offshelf.heads.numerics.eigen import Spectrum, decompose
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import FOLDS, Options
from offshelf.heads.regularisation_path import best_of, regularisation_path

MAX_STEPS = 2000
# Tolerance of scores in the head, and while C is chosen, where only labels matter.
_FINE, _COARSE = 1e-5, 1e-3
# Rows of no more values are worked on by one thread for each problem.
_SMALL = 2**24


class Logistic(LinearHead):
    """Multinomial logistic regression with a free bias.

    Minimises ``|W|^2 / 2 + C * sum(log loss)`` as scikit-learn's ``LogisticRegression`` does.
    Rows that are fewer than their dimensions are represented in their principal directions:
    a rotation, and a shift that the free bias takes up, so the minimum is the same. The
    solver is L-BFGS: Liu and Nocedal, "On the limited memory BFGS method for large scale
    optimization", Mathematical Programming 45 (1989), 503-528. ``auto`` takes the C of
    :mod:`.regularisation_path` with the best accuracy in five-fold cross-validation. A softmax
    of the scores is the posterior, also for two classes, where scikit-learn's decision is the
    second score twice. One float64 copy of the rows or their coordinates is kept.
    """

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K."""
        spectrum, inner = _coordinates(rows)
        weights = row_weights(targets, n_classes, options.class_weight)
        ones = np.ones(len(targets))
        losses = Losses(inner, targets, n_classes, ones if weights is None else weights)
        record: dict[str, Any] = {}
        c, begin = options.c, losses.start()
        if c == "auto":
            c, begin, record = _choose(losses, options.seed)
        solution = _alone(losses, c, begin)
        weight, bias = solution.point[:, :-1], solution.point[:, -1]
        if spectrum:
            weight = spectrum.combine(np.ascontiguousarray(weight))
            bias = bias - weight @ spectrum.mean
        if n_classes == 2:
            weight, bias = weight / 2, bias / 2
        note = f"logistic: not converged at C={c:g}; scores are approximate, a smaller C converges"
        parameters: dict[str, Any] = {"C": c, "steps": solution.steps, **record}
        return Learned(linear_arrays(weight, bias), parameters, () if solution.found else (note,))

    def cross_fit(self, task: CrossFit) -> Array:
        """Return the scores of rows that are held out: minima not far from that of all rows."""
        spectrum, inner = _coordinates(task.rows)
        weight, bias = (task.arrays[name].astype(np.float64) for name in ("weight", "bias"))
        if spectrum:
            weight, bias = spectrum.project(weight), bias + weight @ spectrum.mean
        if task.n_classes == 2:
            weight, bias = 2 * weight[1:], 2 * bias[1:]
        begin = np.hstack([weight, bias[:, None]])
        parts = []
        for _, kept in task.splits():
            weights, own = np.zeros(len(task.fold)), task.weights(kept)
            weights[kept] = 1.0 if own is None else own
            parts.append(Losses(inner, task.targets, task.n_classes, weights))
        points = _solved(parts, [begin] * len(parts), task.c, _FINE)
        scores = np.zeros((len(task.fold), task.n_classes))
        for part, point, (held, _) in zip(parts, points, task.splits(), strict=True):
            own = part.scores(point)[held]
            scores[held] = mirrored(own[:, 1:] / 2) if task.n_classes == 2 else own
        return scores


def _coordinates(rows: ScaledRows) -> tuple[Spectrum | None, Array]:
    """Return rows that are fewer than their dimensions in their own directions, else as they are.

    Returns:
        The decomposition, or None, and N x r.
    """
    n, dimension = rows.shape
    spectrum = decompose(rows) if n <= dimension else None
    return spectrum, spectrum.coordinates(slice(None)) if spectrum else rows.take(slice(None))


class Solution(NamedTuple):
    """Weights and, in the last column, biases, P x (D + 1); and how they were found."""

    point: Array
    steps: int
    found: bool


@dataclass(frozen=True, eq=False)
class Losses:
    """The log loss of N rows in K classes; two classes are one problem with one score.

    Attributes:
        rows: N x D float64.
        targets: N class indices.
        n_classes: K.
        weights: N, >= 0; rows of weight 0 are left out.
    """

    rows: Array
    targets: NDArray[np.int64]
    n_classes: int
    weights: Array

    def start(self) -> Array:
        """Return the point of all zeros."""
        return np.zeros((self.n_classes if self.n_classes > 2 else 1, self.rows.shape[1] + 1))

    def scores(self, point: Array) -> Array:
        """Return N x K; of two classes the first scores 0."""
        scores: Array = self.rows @ point[:, :-1].T + point[:, -1]
        return scores if len(point) > 1 else np.hstack([np.zeros_like(scores), scores])

    def value(self, flat: Array, c: float) -> tuple[float, Array]:
        """Return the mean loss with its penalty, and the gradient, at a flattened point."""
        point = flat.reshape(-1, self.rows.shape[1] + 1)
        total, each = self.weights.sum(), np.arange(len(self.targets))
        scores = self.scores(point)
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores)
        sums = shares.sum(axis=1)
        loss = self.weights @ (np.log(sums) - scores[each, self.targets])
        shares /= sums[:, None]
        shares[each, self.targets] -= 1
        shares *= self.weights[:, None]
        pull = shares[:, -len(point) :]
        gradient = np.hstack([pull.T @ self.rows, pull.sum(axis=0)[:, None]])
        gradient[:, :-1] += point[:, :-1] / c
        value = loss + np.square(point[:, :-1]).sum() / (2 * c)
        return float(value / total), gradient.ravel() / total

    def minimise(self, c: float, begin: Array, nearness: float) -> Solution:
        """Return the minimum at *c*, from *begin*, with scores about as near as asked."""
        from scipy.optimize import minimize

        # The penalty bends the mean loss by 1 / (C * sum of weights) in every direction, so
        # the distance to the minimum is at most the gradient over that.
        small = nearness / max(1.0, c * self.weights.sum())
        found = minimize(
            self.value,
            begin.ravel(),
            args=(c,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "gtol": small, "ftol": 0.0},
        )
        # Where rounding leaves no step downhill, the search has ended, too.
        return Solution(found.x.reshape(begin.shape), int(found.nit), found.nit < MAX_STEPS)


def _alone(losses: Losses, c: float, begin: Array) -> Solution:
    if losses.rows.size > _SMALL:
        return losses.minimise(c, begin, _FINE)
    # Products of few rows are so quick that threads mostly wait for each other.
    return run_in_threads(lambda _: losses.minimise(c, begin, _FINE), 1, losses.rows.size)[0]


def _solved(
    parts: list[Losses], points: list[Array], c: float, nearness: float = _COARSE
) -> list[Array]:
    """Return the minimum of each part at *c*, from *points*; parts share the processors."""
    found = list(points)

    def work(chosen: NDArray[np.intp]) -> None:
        for place in chosen:
            found[place] = parts[place].minimise(c, points[place], nearness).point

    run_in_threads(work, len(parts), parts[0].rows.size)
    return found


def _choose(losses: Losses, seed: int) -> tuple[float, Array, dict[str, Any]]:
    """Return the best C, of equals the smallest; where to start there; and the figures."""
    n = len(losses.targets)
    folds = min(FOLDS, n)
    fold = stratified_folds(losses.targets, folds, seed)
    parts = [
        Losses(losses.rows, losses.targets, losses.n_classes, losses.weights * (fold != held))
        for held in range(folds)
    ]
    solved: dict[float, list[Array]] = {}
    accuracies: dict[float, list[float]] = {}

    def measure(cs: Sequence[float]) -> list[float]:
        for c in cs:
            below = max((one for one in solved if one < c), default=None)
            begin = [losses.start()] * folds if below is None else solved[below]
            solved[c] = _solved(parts, begin, c)
            accuracies[c] = [
                float(np.mean(_labels(part, point, fold == held) == losses.targets[fold == held]))
                for held, (part, point) in enumerate(zip(parts, solved[c], strict=True))
            ]
        return [float(np.mean(accuracies[c])) for c in cs]

    cs, figures = regularisation_path(measure)
    best = cs[best_of(figures)]
    shares = [accuracies[c] for c in cs]
    return best, solved[best][0], {"C_grid": list(cs), "fold_accuracies": shares, "seed": seed}


def _labels(losses: Losses, point: Array, rows: NDArray[np.bool_]) -> NDArray[np.intp]:
    labels: NDArray[np.intp] = losses.scores(point)[rows].argmax(axis=1)
    return labels
