"""Ridge regression on class membership, with the error of leaving out each row in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import row_weights
from offshelf.heads.kinds.fitter import CrossFit, Learned, Places
from offshelf.heads.kinds.linear import LinearHead, fewest_errors, linear_arrays
from offshelf.heads.numerics.centred import Array
from offshelf.heads.numerics.regularised import Parts, Shifted, Solvable, decompose_shifted
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import Options
from offshelf.heads.svm.solve import labels


class Ridge(LinearHead):
    """One-vs-rest ridge regression on targets 1 and -1.

    Minimises ``|w|^2 / 2 + C * sum((y - w.x - b)^2)`` for each class, with a free bias: what
    scikit-learn's ``RidgeClassifier`` does at ``alpha = 1 / (2 C)``. The error of leaving out
    each row is that of Rifkin and Lippert, "Notes on regularized least squares", MIT
    CSAIL-TR-2007-025, section 3; ``auto`` takes the C with the fewest errors. Balanced classes
    weight the squares, which leaves the closed form as it is.
    """

    one_vs_rest = True

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K."""
        classes = np.arange(n_classes) if n_classes > 2 else np.array([1])
        signs = np.where(targets[:, None] == classes, 1.0, -1.0)
        weights = row_weights(targets, n_classes, options.class_weight)
        shifted = decompose_shifted(rows, np.zeros(len(targets), dtype=np.int64), weights)

        def errors_at(cs: Sequence[float]) -> list[float]:
            return left_out_errors(shifted, signs, targets, cs, weights)

        cs, errors = fewest_errors(errors_at, options.c)
        c = cs[int(np.argmin(errors))]
        weight, bias = _solve(shifted, signs, c, weights)
        parameters: dict[str, Any] = {"C": c, "alpha": _shift(c)}
        parameters["left_out_error"] = min(errors)
        if options.c == "auto":
            parameters |= {"C_grid": list(cs), "left_out_errors": errors}
        return Learned(linear_arrays(weight, bias), parameters)

    def cross_fit(self, task: CrossFit) -> Array:
        """Return the scores of rows that are held out, from one matrix of inner products."""
        classes = np.arange(task.n_classes) if task.n_classes > 2 else np.array([1])
        parts = Parts(task.rows)

        def solve(kept: NDArray[np.intp]) -> tuple[Array, Array]:
            signs = np.where(task.targets[kept][:, None] == classes, 1.0, -1.0)
            weights = task.weights(kept)
            part = parts.decompose(kept, np.zeros(len(kept), dtype=np.int64), weights)
            return _solve(part, signs, task.c, weights)

        return task.linear(solve)


def held_out_signs(
    rows: ScaledRows, signs: Array, c: float, splits: Sequence[tuple[Places, Places]]
) -> Array:
    """Return the scores N x P of rows held out, by regressions on signs N x P of the others.

    Columns of *signs* are regressed on their own, and share what is decomposed of each split: the
    rows to score, and those to learn from.
    """
    parts, scores = Parts(rows), np.zeros(signs.shape)
    for held, kept in splits:
        weight, bias = _regressed(parts, kept, signs, c)
        scores[held] = rows.of(held).scores(weight).T + bias
    return scores


def regressions(rows: ScaledRows, signs: Array, c: float) -> tuple[Array, Array]:
    """Return the weights P x D and biases P of the regressions on signs N x P."""
    return _regressed(Parts(rows), np.arange(len(signs)), signs, c)


def _regressed(parts: Parts, kept: Places, signs: Array, c: float) -> tuple[Array, Array]:
    part = parts.decompose(kept, np.zeros(len(kept), dtype=np.int64))
    return _solve(part, signs[kept], c, None)


def _solve(shifted: Solvable, signs: Array, c: float, weights: Array | None) -> tuple[Array, Array]:
    """Return weights P x D and biases P at *c*."""
    weight = shifted.weights(shifted.centred.centre(signs), _shift(c))
    return weight, np.average(signs, axis=0, weights=weights) - weight @ shifted.centred.means[0]


def left_out_errors(
    shifted: Shifted,
    signs: Array,
    targets: NDArray[np.int64],
    cs: Sequence[float],
    weights: Array | None = None,
) -> list[float]:
    """Return for each C the share of rows that are labelled wrongly when they are left out.

    *shifted* has the rows around their one mean; signs N x P have one column for two classes.
    """
    roots = np.ones(len(targets)) if weights is None else np.sqrt(weights)
    centred, wrong = shifted.centred.centre(signs), np.zeros(len(cs), dtype=np.int64)
    for place, rows, residuals, own in shifted.residuals(centred, [_shift(c) for c in cs]):
        scores = signs[rows] - residuals / (own * roots[rows])[:, None]
        wrong[place] += np.count_nonzero(labels(scores) != targets[rows])
    return [int(count) / len(targets) for count in wrong]


def _shift(c: float) -> float:
    return 1 / (2 * c)
