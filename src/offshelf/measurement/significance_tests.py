"""Two-sided paired tests: on the same test images, or over the same repeats.

Of two results, or of many against the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import numbers, same_length, share, whole
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
    pair = [_outcomes("first", first), _outcomes("second", second)]
    same_length("outcomes", len(pair[0]), "of the other result", len(pair[1]))
    b, c = int((pair[0] & ~pair[1]).sum()), int((~pair[0] & pair[1]).sum())
    chi2 = (abs(b - c) - 1) ** 2 / (b + c) if b != c else 0.0
    return McNemar(len(pair[0]), b, c, float(_binomial_p(np.array([b]), np.array([c]))[0]), chi2)


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
    t, p, half = _t_test((x - y)[None], _variance_factor(len(x), n_train, n_test), confidence)
    mean, reach = float((x - y).mean()), float(half[0])
    return CorrectedT(len(x), mean, float(t[0]), float(p[0]), (mean - reach, mean + reach))


def corrected_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    n_train: int,
    n_test: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of a mean over repeats, with the variance of :func:`corrected_t`.

    Raises:
        DataError: fewer than two repeats, or an argument out of range.

    >>> low, high = corrected_interval([0.92, 0.93, 0.91], n_train=100, n_test=50)
    >>> round(low, 3), round(high, 3)
    (0.881, 0.959)
    """
    array = numbers("values", values, 1)
    factor = _variance_factor(len(array), n_train, n_test)
    half = float(_t_test(array[None], factor, confidence)[2][0])
    return float(array.mean()) - half, float(array.mean()) + half


def _outcomes(what: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return *values* as a list of bool, one per test image."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype != bool or not len(array):
        raise DataError(
            f"{what} must be a list of True and False, one per test image, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array


def _binomial_p(b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return exact two-sided p-values of b against c at a share of a half, element by element."""
    from scipy.special import bdtr

    p = 2 * bdtr(np.minimum(b, c).astype(np.float64), b + c, 0.5)
    return np.minimum(np.asarray(p, np.float64), 1.0)


def _variance_factor(repeats: int, n_train: int, n_test: int) -> float:
    """Return what the variance of differences is multiplied by for that of their mean."""
    if repeats < 2:
        raise DataError("a test across repeats needs at least 2 of them")
    return 1 / repeats + whole("n_test", n_test, 1) / whole("n_train", n_train, 1)


def _t_test(
    differences: NDArray[np.float64], factor: float, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return t, p and half the width of the interval of the mean, of differences M x R.

    t is infinite where all differences of a row are one number other than 0.
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


@dataclass(frozen=True)
class Comparison:
    """Every result against the best one.

    Attributes:
        best: number of the result with the highest accuracy, the first of equal ones.
        test: ``mcnemar`` or ``corrected_t``.
        p: p-value of each result against the best; 1 for the best itself.
        adjusted: the same after Holm's correction.
        same: True where the result is not distinguishable from the best, and for it.
        alpha: the level.
    """

    best: int
    test: str
    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    same: tuple[bool, ...]
    alpha: float


def not_distinguishable(
    results: Sequence[NDArray[Any]],
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    alpha: float = 0.05,
) -> Comparison:
    """Return which results are not significantly different from the best one.

    Each of M results is tested against the one with the highest accuracy, and the M - 1
    p-values are corrected by Holm. The best was chosen by the same data; so this is a
    confidence set for the best in the sense of Hsu, "Simultaneous confidence intervals
    for all distances from the 'best'", Annals of Statistics 9 (1981), 1026-1034: the
    result that is truly best is left out with a chance of about alpha at most. It is no
    promise that of many equal results none is left out.

    Args:
        results: M >= 1 lists of one length. Lists of bool say of each image of one test
            set whether it was right: McNemar's exact test. Lists of float hold the
            accuracy in each repeat: the corrected resampled t-test.
        n_train: training images of a repeat; needed for lists of float.
        n_test: test images of a repeat; needed for lists of float.
        alpha: the level, between 0 and 1.

    Raises:
        DataError: no results, lists of several kinds or lengths, or a size is missing.

    >>> repeats = [np.array([0.90, 0.91, 0.90]), np.array([0.91, 0.90, 0.92]), np.full(3, 0.5)]
    >>> not_distinguishable(repeats, n_train=100, n_test=50).same
    (True, True, False)
    """
    alpha = share("alpha", alpha)
    matrix = _stacked(results)
    best = int(np.argmax(np.round(matrix.mean(axis=1), 12)))
    if matrix.dtype == bool:
        test, p = "mcnemar", _against(matrix, best)
    else:
        if n_train is None or n_test is None:
            raise DataError("a test across repeats needs n_train and n_test, images per split")
        factor = _variance_factor(matrix.shape[1], n_train, n_test)
        test, p = "corrected_t", _t_test(matrix[best] - matrix, factor, 0.95)[1]
    others = np.arange(len(matrix)) != best
    adjusted = np.ones(len(matrix))
    adjusted[others] = holm(p[others])
    same = tuple((adjusted > alpha).tolist())
    return Comparison(best, test, tuple(p.tolist()), tuple(adjusted.tolist()), same, alpha)


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted so that any false alarm at all has at most the level's chance.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6 (1979), 65-70; valid whatever the dependence of the tests.

    Args:
        p_values: M numbers from 0 to 1, in any order, M >= 0.

    Raises:
        DataError: one is no share.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p: NDArray[np.float64] = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values must be a list of numbers from 0 to 1")
    order, m = np.argsort(p, kind="stable"), len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))
    return np.minimum(adjusted, 1.0)


def _stacked(results: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if not len(results):
        raise DataError("no results to compare")
    arrays = [np.asarray(result) for result in results]
    right = arrays[0].dtype == bool
    checked = [
        _outcomes(f"result {number}", array) if right else numbers(f"result {number}", array, 1)
        for number, array in enumerate(arrays)
    ]
    for array in checked:
        same_length("values in the first result", len(checked[0]), "in another", len(array))
    return np.stack(checked)


def _against(right: NDArray[np.bool_], best: int) -> NDArray[np.float64]:
    return _binomial_p((right[best] & ~right).sum(axis=1), (~right[best] & right).sum(axis=1))
