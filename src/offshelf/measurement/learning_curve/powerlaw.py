"""Fitting ``a + b n^-c`` to many bootstrap samples at once, within bounds."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXPONENTS = (0.05, 2.0)
_STEP = 0.025
_HUBER = 1.345
_PASSES = 8


class Law(NamedTuple):
    """B fits: the error that remains, the factor and the exponent of each."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]


def fit_law(n: NDArray[np.int64], errors: NDArray[np.float64], weights: NDArray[np.float64]) -> Law:
    """Return the weighted least-squares fits with a >= 0, b >= 0 and c inside its bounds.

    For a given c the fit is linear and has a closed form, also at the bounds; c is sought
    on a grid and then on a finer one around its best (variable projection: Golub and
    Pereyra, SIAM Journal on Numerical Analysis 10 (1973), 413-432).

    Args:
        n: S sizes.
        errors: B x S.
        weights: S, > 0.

    >>> n = np.array([5, 10, 20, 40])
    >>> law = fit_law(n, (0.1 + 0.8 * n**-0.5)[None], np.ones(4))
    >>> [round(float(value[0]), 3) for value in law]
    [0.1, 0.8, 0.5]
    """
    scale = n / n[0]
    grid = np.arange(EXPONENTS[0], EXPONENTS[1] + _STEP / 2, _STEP)
    c = np.full(len(errors), grid[0])
    for offsets in (grid - grid[0], *(np.linspace(-1, 1, 21) * _STEP / 10**k for k in range(3))):
        tried = np.clip(c[:, None] + offsets, *EXPONENTS)
        losses = np.stack([_linear(scale, errors, weights, t)[2] for t in tried.T], axis=1)
        c = np.take_along_axis(tried, losses.argmin(axis=1)[:, None], axis=1)[:, 0]
    a, b, _ = _linear(scale, errors, weights, c)
    return Law(a, b * float(n[0]) ** c, c)


def predict_error(law: Law, n: int) -> NDArray[np.float64]:
    """Return the errors that each fit gives at size n, 0 to 1."""
    return np.clip(law.a + law.b * float(n) ** -law.c, 0.0, 1.0)


def robust_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Huber's mean over the last axis: a stray repeat pulls no more than a common one.

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35
    (1964), 73-101; scale by the median absolute deviation.

    >>> robust_means(np.array([[0.10, 0.11, 0.12, 0.90]])).round(2)
    array([0.12])
    """
    centre = np.median(values, axis=-1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(values - centre), axis=-1, keepdims=True)
    reach = np.maximum(_HUBER * spread, 1e-9)
    for _ in range(_PASSES):
        weights = np.minimum(1.0, reach / np.maximum(np.abs(values - centre), 1e-12))
        centre = (weights * values).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    return np.asarray(centre[..., 0])


def levels(repeats: int, confidence: float) -> tuple[float, float]:
    """Return the quantiles of the expanded percentile interval of *repeats* values."""
    from scipy.special import stdtrit

    if repeats < 2:
        return (1 - confidence) / 2, (1 + confidence) / 2
    reach = math.sqrt(repeats / (repeats - 1)) * float(stdtrit(repeats - 1, (1 + confidence) / 2))
    high = NormalDist().cdf(reach)
    return 1 - high, high


def _linear(
    scale: NDArray[np.float64],
    errors: NDArray[np.float64],
    weights: NDArray[np.float64],
    c: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return a, b and the loss of each row of *errors* for its own exponent."""
    x = scale ** -c[:, None]
    total, wx, wxx = weights.sum(), x @ weights, np.square(x) @ weights
    we, wxe = errors @ weights, (x * errors) @ weights
    free = total * wxx - wx**2
    b = np.where(free > 1e-12, (total * wxe - wx * we) / np.maximum(free, 1e-12), 0.0)
    b = np.maximum(b, 0.0)
    a = (we - b * wx) / total
    without = a < 0
    a = np.where(without, 0.0, a)
    b = np.where(without, np.maximum(wxe / wxx, 0.0), b)
    loss = np.square(errors - a[:, None] - b[:, None] * x) @ weights
    return a, b, loss
