"""Bootstrap intervals of accuracy and balanced accuracy on one test set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, same_length, share, whole
from offshelf.errors import DataError, did_you_mean

Statistic = Literal["accuracy", "balanced_accuracy"]
Method = Literal["bca", "percentile"]
_CHUNK_VALUES = 2**22


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval, all from 0 to 1.

    Attributes:
        estimate: on the test set as it is.
        low: lower end.
        high: upper end.
        confidence: of the two-sided interval.
        method: ``bca`` or ``percentile``.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: Method

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)


def bootstrap_interval(
    targets: NDArray[np.int64],
    predictions: NDArray[np.int64],
    *,
    statistic: Statistic = "accuracy",
    method: Method = "bca",
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return a bootstrap interval over the test images.

    Efron, "Better bootstrap confidence intervals", Journal of the American Statistical
    Association 82 (1987), 171-185 (BCa, acceleration by the jackknife; ties count half);
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 14.
    Images are drawn with replacement. Both statistics depend on the numbers of right and
    wrong images per class alone, so those are drawn, from their multinomial distribution.
    Where all images are right (or wrong) every resample is the same and the interval has
    no width: Wilson's (:func:`offshelf.evaluate.metrics.wilson`) says more.

    Args:
        targets: N true class indices.
        predictions: N predicted class indices.
        statistic: ``accuracy``, or ``balanced_accuracy``: mean recall of the classes that
            the (re)sample holds.
        method: ``bca`` (bias-corrected and accelerated) or ``percentile``.
        confidence: of the two-sided interval, between 0 and 1.
        resamples: 100 or more.
        seed: 0 or more.

    Raises:
        DataError: an argument is out of range, or the lists do not belong together.

    >>> right = bootstrap_interval(np.zeros(100, int), np.arange(100) // 90)
    >>> right.estimate, 0.8 < right.low < 0.86, 0.93 < right.high < 0.97
    (0.9, True, True)
    """
    _check_word("statistic", statistic, get_args(Statistic))
    _check_word("method", method, get_args(Method))
    tail = (1 - share("confidence", confidence)) / 2
    cells = _cells(targets, predictions)
    draw = np.random.default_rng(whole("seed", seed))
    values = np.sort(_resampled(cells, statistic, whole("resamples", resamples, 100), draw))
    estimate = float(_statistic(cells, statistic))
    ends = (tail, 1 - tail)
    if method == "bca":
        ends = _bca_levels(cells, statistic, values, estimate, tail)
    low, high = np.quantile(values, ends)
    return Interval(estimate, float(low), float(high), confidence, method)


def _cells(targets: NDArray[np.int64], predictions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 2 x K numbers of right and of wrong images, for the K classes in *targets*."""
    targets = class_indices("targets", targets)
    predictions = class_indices("predictions", predictions)
    same_length("targets", len(targets), "predictions", len(predictions))
    total, right = np.bincount(targets), np.bincount(targets[targets == predictions])
    right = np.pad(right, (0, len(total) - len(right)))
    return np.stack([right, total - right])[:, total > 0]


def _statistic(cells: NDArray[np.int64], statistic: Statistic) -> NDArray[np.float64]:
    """Return the statistic of numbers ... x 2 x K of right and wrong images."""
    right, total = cells[..., 0, :], cells.sum(axis=-2)
    if statistic == "accuracy":
        return np.asarray(right.sum(axis=-1) / total.sum(axis=-1))
    recall = right / np.maximum(total, 1)
    return np.asarray(recall.sum(axis=-1) / (total > 0).sum(axis=-1))


def _resampled(
    cells: NDArray[np.int64], statistic: Statistic, resamples: int, draw: np.random.Generator
) -> NDArray[np.float64]:
    n, step = int(cells.sum()), max(1, _CHUNK_VALUES // cells.size)
    values = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = draw.multinomial(n, cells.ravel() / n, size)
        values.append(_statistic(drawn.reshape(size, *cells.shape), statistic))
    return np.concatenate(values)


def _bca_levels(
    cells: NDArray[np.int64],
    statistic: Statistic,
    values: NDArray[np.float64],
    estimate: float,
    tail: float,
) -> tuple[float, float]:
    """Return the quantiles of the sorted *values* that bound the BCa interval."""
    normal = NormalDist()
    # Equal values come out of different sums; this is far below one image.
    close = 1e-12
    below = np.searchsorted(values, [estimate - close, estimate + close]).mean() / len(values)
    if not 0 < below < 1:
        return tail, 1 - tail
    bias, acceleration = normal.inv_cdf(float(below)), _acceleration(cells, statistic)
    levels = []
    for level in (tail, 1 - tail):
        moved = bias + normal.inv_cdf(level)
        levels.append(normal.cdf(bias + moved / (1 - acceleration * moved)))
    return levels[0], levels[1]


def _acceleration(cells: NDArray[np.int64], statistic: Statistic) -> float:
    """Leave out one image of each cell in turn; all images of a cell give the same value."""
    filled = np.argwhere(cells > 0)
    weights = cells[cells > 0].astype(np.float64)
    if weights.sum() < 2:
        return 0.0
    values = np.empty(len(filled))
    for number, place in enumerate(filled):
        left = cells.copy()
        left[tuple(place)] -= 1
        values[number] = _statistic(left, statistic)
    away = np.average(values, weights=weights) - values
    spread = float(weights @ away**2)
    return float(weights @ away**3) / (6 * spread**1.5) if spread > 1e-24 else 0.0


def _check_word(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        hint = did_you_mean(str(word), words)
        raise DataError(f"unknown {what} {word!r}: use {' or '.join(words)}.{hint}")
