"""Paired tests of two results: on the same test images, or over the same repeats.

All tests are two-sided. Nothing here draws random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import json_number, numbers, same_length, share, whole
from offshelf.errors import DataError


@dataclass(frozen=True)
class McNemar:
    """Two results on the same test images.

    Attributes:
        n: test images.
        only_first: images that only the first got right.
        only_second: images that only the second got right.
        p: exact two-sided p-value.
        chi2: the statistic with continuity correction, as the literature reports it.
    """

    n: int
    only_first: int
    only_second: int
    p: float
    chi2: float

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class CorrectedT:
    """Two results over the same repeats.

    Attributes:
        repeats: how many.
        difference: mean of first minus second.
        t: the statistic; infinite where every repeat has the same difference, not 0.
        p: two-sided p-value.
        interval: of the difference, at the confidence that was asked for.
    """

    repeats: int
    difference: float
    t: float
    p: float
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values; an infinite t is null."""
        return asdict(self) | {"t": json_number(self.t), "interval": list(self.interval)}


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """Test whether two results on the same test images differ in accuracy.

    McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12 (1947), 153-157: of the b + c images that exactly one
    got right, either got its share by tossing a coin. The p-value is the exact binomial
    one; ``chi2 = (|b - c| - 1)^2 / (b + c)``, or 0 where b = c, after Edwards, "Note on the
    'correction for continuity' in testing the significance of the difference between
    correlated proportions", Psychometrika 13 (1948), 185-187. Recommended for one test
    set by Dietterich, Neural Computation 10 (1998), 1895-1923.

    Args:
        first: N bool, whether each image was predicted as its class.
        second: the same for the other result, in the same order.

    Raises:
        DataError: not two lists of bool of one length, or empty.

    >>> right = np.array([True] * 12 + [False] * 4)
    >>> other = np.array([False] * 8 + [True] * 8)
    >>> result = mcnemar(right, other)
    >>> result.only_first, result.only_second, round(result.p, 4), result.chi2
    (8, 4, 0.3877, 0.75)
    """
    pair = [outcomes("first", first), outcomes("second", second)]
    same_length("outcomes", len(pair[0]), "of the other result", len(pair[1]))
    b, c = int((pair[0] & ~pair[1]).sum()), int((~pair[0] & pair[1]).sum())
    chi2 = (abs(b - c) - 1) ** 2 / (b + c) if b != c else 0.0
    return McNemar(len(pair[0]), b, c, float(binomial_p(np.array([b]), np.array([c]))[0]), chi2)


def corrected_t(
    first: Sequence[float] | NDArray[np.float64],
    second: Sequence[float] | NDArray[np.float64],
    *,
    n_train: int,
    n_test: int,
    confidence: float = 0.95,
) -> CorrectedT:
    """Test whether two results over the same random splits differ.

    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003),
    239-281: repeats share training images, so the variance of the mean difference is
    ``(1/R + n_test/n_train)`` times the variance of the R differences, not ``1/R`` times;
    t has R - 1 degrees of freedom. For k folds n_test/n_train is 1/(k - 1).

    Args:
        first: R accuracies, R >= 2.
        second: R accuracies on the same splits.
        n_train: training images of a split.
        n_test: test images of a split.
        confidence: of the interval of the difference.

    Raises:
        DataError: fewer than two repeats, or an argument out of range.

    >>> result = corrected_t([0.92, 0.93, 0.91], [0.90, 0.90, 0.90], n_train=100, n_test=50)
    >>> round(result.difference, 3), round(result.t, 3), round(result.p, 3)
    (0.02, 2.191, 0.16)
    """
    x, y = numbers("first", first, 1), numbers("second", second, 1)
    same_length("repeats", len(x), "of the other result", len(y))
    t, p, half = t_test((x - y)[None], variance_factor(len(x), n_train, n_test), confidence)
    mean, reach = float((x - y).mean()), float(half[0])
    return CorrectedT(len(x), mean, float(t[0]), float(p[0]), (mean - reach, mean + reach))


def mean_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    n_train: int,
    n_test: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of a mean over repeats, with the variance of :func:`corrected_t`.

    Raises:
        DataError: fewer than two repeats, or an argument out of range.

    >>> low, high = mean_interval([0.92, 0.93, 0.91], n_train=100, n_test=50)
    >>> round(low, 3), round(high, 3)
    (0.881, 0.959)
    """
    array = numbers("values", values, 1)
    factor = variance_factor(len(array), n_train, n_test)
    half = float(t_test(array[None], factor, confidence)[2][0])
    return float(array.mean()) - half, float(array.mean()) + half


def outcomes(what: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return *values* as a list of bool, one per test image.

    Raises:
        DataError: it is something else, or empty.

    >>> outcomes("first", np.array([True, False]))
    array([ True, False])
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype != bool or not len(array):
        raise DataError(
            f"{what} must be a list of True and False, one per test image, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array


def binomial_p(b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return exact two-sided p-values of b against c at a share of a half, element by element.

    >>> binomial_p(np.array([8, 0]), np.array([4, 0])).round(4).tolist()
    [0.3877, 1.0]
    """
    from scipy.special import bdtr

    p = 2 * bdtr(np.minimum(b, c).astype(np.float64), b + c, 0.5)
    return np.minimum(np.asarray(p, np.float64), 1.0)


def variance_factor(repeats: int, n_train: int, n_test: int) -> float:
    """Return what the variance of differences is multiplied by for that of their mean.

    Raises:
        DataError: fewer than two repeats, or a size below 1.

    >>> variance_factor(10, 1500, 2985)
    2.09
    """
    if repeats < 2:
        raise DataError("a test across repeats needs at least 2 of them")
    return 1 / repeats + whole("n_test", n_test, 1) / whole("n_train", n_train, 1)


def t_test(
    differences: NDArray[np.float64], factor: float, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return t, p and half the width of the interval of the mean.

    Args:
        differences: M x R.
        factor: of :func:`variance_factor`.
        confidence: of the interval.

    Returns:
        Three arrays of M numbers; t is infinite where all differences are one number
        other than 0.

    >>> t, p, half = t_test(np.array([[1.0, 1.0], [0.0, 0.0]]), 0.5, 0.95)
    >>> t.tolist(), p.tolist(), half.tolist()
    ([inf, 0.0], [0.0, 1.0], [0.0, 0.0])
    """
    from scipy.special import stdtr, stdtrit

    df = differences.shape[1] - 1
    mean = differences.mean(axis=1)
    spread = differences.std(axis=1, ddof=1)
    # Equal differences leave a spread of rounding errors, which is none.
    spread[spread <= 1e-12 * np.abs(differences).max(axis=1)] = 0.0
    error = math.sqrt(factor) * spread
    t = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    np.divide(mean, error, out=t, where=error > 0)
    half = error * stdtrit(df, 0.5 + share("confidence", confidence) / 2)
    return t, np.asarray(2 * stdtr(df, -np.abs(t))), np.asarray(half)
