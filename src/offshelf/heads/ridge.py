"""Ridge regression on class membership, with the error of leaving out each row in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.balance import row_weights
from offshelf.heads.head import Learned, Options
from offshelf.heads.linear import LinearHead, linear_arrays
from offshelf.heads.scaling import ScaledRows, blocks
from offshelf.heads.search import GRID, labels
from offshelf.heads.spectrum import Array, Spectrum, decompose


class Ridge(LinearHead):
    """One-vs-rest ridge regression on targets 1 and -1.

    Minimises ``|w|^2 / 2 + C * sum((y - w.x - b)^2)`` for each class, with a free bias: what
    scikit-learn's ``RidgeClassifier`` does at ``alpha = 1 / (2 C)``. The error of leaving out
    each row is that of Rifkin and Lippert, "Notes on regularized least squares", MIT
    CSAIL-TR-2007-025, section 3; ``auto`` takes the C with the fewest errors. Balanced classes
    weight the squares, which leaves the closed form as it is.
    """

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K."""
        classes = np.arange(n_classes) if n_classes > 2 else np.array([1])
        signs = np.where(targets[:, None] == classes, 1.0, -1.0)
        weights = row_weights(targets, n_classes, options.class_weight)
        spectrum = decompose(rows, np.zeros(len(targets), dtype=np.int64), weights)
        cs = GRID if options.c == "auto" else (options.c,)
        errors = left_out_errors(spectrum, signs, targets, cs, weights)
        c = cs[int(np.argmin(errors))]
        weight, bias = _solve(spectrum, signs, c, weights)
        parameters: dict[str, Any] = {"C": c, "alpha": 1 / (2 * c)}
        parameters["left_out_error"] = min(errors)
        if options.c == "auto":
            parameters |= {"C_grid": list(cs), "left_out_errors": errors}
        return Learned(linear_arrays(weight, bias), parameters)


def left_out_errors(
    spectrum: Spectrum,
    signs: Array,
    targets: NDArray[np.int64],
    cs: tuple[float, ...],
    weights: Array | None = None,
) -> list[float]:
    """Return for each C the share of rows that are labelled wrongly when they are left out.

    Args:
        spectrum: of the rows around their one mean.
        signs: N x P, 1 and -1; one column for two classes.
        targets: N class indices.
        cs: values of C.
        weights: N, those that the spectrum was made with.
    """
    weights = np.ones(len(targets)) if weights is None else weights
    roots = np.sqrt(weights)[:, None]
    weighted, middle = _projected(spectrum, signs * roots), _mean(signs, weights)
    wrong = np.zeros(len(cs), dtype=np.int64)
    for part in blocks(len(targets), len(spectrum.spread)):
        coordinates = spectrum.coordinates(part)
        for place, c in enumerate(cs):
            shrink = 1 / (spectrum.spread + 1 / (2 * c))
            fitted = middle + coordinates @ (shrink[:, None] * weighted) / roots[part]
            leverage = weights[part] / weights.sum() + np.square(coordinates) @ shrink
            scores = signs[part] - (signs[part] - fitted) / (1 - leverage)[:, None]
            wrong[place] += np.count_nonzero(labels(scores) != targets[part])
    return [int(count) / len(targets) for count in wrong]


def _projected(spectrum: Spectrum, signs: Array) -> Array:
    """Return ``coordinates.T @ signs``; the mean of the signs drops out."""
    parts = blocks(len(signs), len(spectrum.spread))
    zero = np.zeros((len(spectrum.spread), signs.shape[1]))
    return sum((spectrum.coordinates(part).T @ signs[part] for part in parts), start=zero)


def _solve(
    spectrum: Spectrum, signs: Array, c: float, weights: Array | None = None
) -> tuple[Array, Array]:
    weights = np.ones(len(signs)) if weights is None else weights
    shrink = 1 / (spectrum.spread + 1 / (2 * c))
    projected = _projected(spectrum, signs * np.sqrt(weights)[:, None])
    weight = spectrum.combine((shrink[:, None] * projected).T)
    return weight, _mean(signs, weights) - weight @ spectrum.means[0]


def _mean(signs: Array, weights: Array) -> Array:
    mean: Array = weights @ signs / weights.sum()
    return mean
