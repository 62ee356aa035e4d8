"""Learning curves: accuracy against training images per class, cautiously extrapolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.checks import json_number, share, whole
from offshelf.errors import DataError
from offshelf.measurement.learning_curve.doubts import (
    MIN_REPEATS,
    MIN_SIZES,
    MIN_SPAN,
    doubts_of,
)
from offshelf.measurement.learning_curve.powerlaw import (
    Law,
    fit_law,
    levels,
    predict_error,
    robust_means,
)
from offshelf.measurement.metrics import wilson

MAX_FACTOR = 4


@dataclass(frozen=True)
class Point:
    """What was measured at one size.

    Attributes:
        n: training images per class.
        mean: accuracy, mean over the repeats.
        sd: standard deviation over the repeats, 0 for one repeat.
        repeats: how many.
    """

    n: int
    mean: float
    sd: float
    repeats: int


@dataclass(frozen=True)
class Estimate:
    """Accuracy that the fitted curve gives at a size.

    Attributes:
        n: training images per class.
        accuracy: 0 to 1.
        low: lower end of the interval; None without at least 3 repeats.
        high: upper end.
        extrapolated: whether n is beyond what was measured.
    """

    n: int
    accuracy: float
    low: float | None
    high: float | None
    extrapolated: bool


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve(Brief):
    """The fit ``error(n) = a + b n^-c`` and what it rests on.

    Attributes:
        points: what was measured, by rising size.
        a: error that more images would not remove, 0 to 1.
        b: >= 0.
        c: exponent.
        confidence: of all intervals.
        doubts: why the curve is not to be extrapolated, one line each; () where it may be.
        backtest: difference between the accuracy measured at the largest size and the
            one extrapolated from the smaller sizes; None for fewer than 5 sizes.
        pool: half-width of the interval of the accuracy at the largest size for other training
            images of the same kind; 0 where draws do not tell.
        tested: test images that every accuracy is of; None where that is not known.
    """

    points: tuple[Point, ...]
    a: float
    b: float
    c: float
    confidence: float
    doubts: tuple[str, ...]
    backtest: float | None
    pool: float
    tested: int | None
    _resampled: Law | None

    @property
    def a_interval(self) -> tuple[float, float] | None:
        """The interval of a over repeats; None without at least 3 repeats."""
        return None if self._resampled is None else self._interval(self._resampled.a)

    @property
    def c_interval(self) -> tuple[float, float] | None:
        """The interval of c."""
        return None if self._resampled is None else self._interval(self._resampled.c)

    def _interval(self, values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.quantile(values, levels(self.points[0].repeats, self.confidence))
        return float(low), float(high)

    @property
    def identified(self) -> bool:
        """Whether the data determine the curve well enough to extrapolate it."""
        return not self.doubts

    @property
    def furthest(self) -> int:
        """The largest size that :meth:`at` answers for."""
        return self.points[-1].n * (MAX_FACTOR if self.identified else 1)

    def at(self, n: int) -> Estimate:
        """Return the accuracy to expect with n training images per class.

        Where it was measured, the interval is over repeats (other draws of these training
        images, on the same test images). Beyond, it is for other test images of the same kind,
        too, and for any training images that come to those at hand: the half-widths of the
        draws, of the training images, of the test images (Wilson's) and the backtest are added
        in quadrature.

        Args:
            n: from the smallest size that was measured to 4 times the largest, or to the
                largest where the fit is not identified.

        Raises:
            DataError: n is out of that range; the text says why.
        """
        n = whole("n per class", n, 1)
        first, last = self.points[0].n, self.points[-1].n
        if not first <= n <= self.furthest:
            reason = f": {self.doubts[0]}" if self.doubts and n > last else ""
            raise DataError(
                f"no estimate for {n} images per class, only from {first} to "
                f"{self.furthest}{reason}"
            )
        accuracy = 1 - float(predict_error(Law(*map(np.array, (self.a, self.b, self.c))), n))
        if self._resampled is None:
            return Estimate(n, accuracy, None, None, n > last)
        values = 1 - predict_error(self._resampled, n)
        low, high = self._interval(values)
        low, high = min(low, accuracy), max(high, accuracy)
        if n > last:
            low, high = self._widened(n, low, accuracy, high)
        return Estimate(n, accuracy, max(low, 0.0), min(high, 1.0), n > last)

    def _widened(self, n: int, low: float, accuracy: float, high: float) -> tuple[float, float]:
        """Return the interval for other test images, and other training images that come."""
        ends = accuracy, accuracy
        if self.tested is not None:
            ends = wilson(round(accuracy * self.tested), self.tested, self.confidence)
        beside = self.backtest or 0.0, self.pool * math.sqrt(1 - self.points[-1].n / n)
        return (
            accuracy - math.hypot(accuracy - low, accuracy - ends[0], *beside),
            accuracy + math.hypot(high - accuracy, ends[1] - accuracy, *beside),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fit as JSON values, with estimates at 1, 2 and 4 times the largest size."""
        ahead = [self.points[-1].n * factor for factor in (1, 2, MAX_FACTOR)]
        return {
            "points": [asdict(point) for point in self.points],
            "a": self.a,
            "b": json_number(self.b),
            "c": self.c,
            "a_interval": list(self.a_interval) if self.a_interval else None,
            "c_interval": list(self.c_interval) if self.c_interval else None,
            "confidence": self.confidence,
            "identified": self.identified,
            "doubts": list(self.doubts),
            "backtest": self.backtest,
            "estimates": [asdict(self.at(n)) for n in ahead if n <= self.furthest],
        }


def fit_curve(
    sizes: Sequence[int],
    accuracies: Sequence[Sequence[float]] | NDArray[np.float64],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    tested: int | None = None,
) -> LearningCurve:
    """Fit a learning curve to accuracies at several training set sizes.

    ``error(n) = a + b n^-c`` with 0 <= a, 0 <= b, 0.05 <= c <= 2: Hestness et al., "Deep
    learning scaling is predictable, empirically", 2017; with caution, as curves may leave
    the law: Viering and Loog, "The shape of learning curves", IEEE TPAMI 45 (2023), 7799.
    Each size counts by Huber's mean of its repeats. Intervals come from resampling whole
    repeats, at the levels of the expanded percentile interval, which few repeats need:
    Hesterberg, The American Statistician 69 (2015), 371-386.

    Args:
        sizes: S training images per class, all different.
        accuracies: S lists of R accuracies, 0 to 1; entry r of each belongs to repeat r.
        confidence: of the intervals, between 0 and 1.
        resamples: 100 or more.
        seed: 0 or more.
        tested: test images that every accuracy is of; None leaves their number out of account.

    Raises:
        DataError: no sizes, one twice, lists of several lengths, or values out of range.

    >>> sizes = [5, 10, 20, 40, 80]
    >>> wobble = np.array([-0.004, 0.0, 0.004])
    >>> curve = fit_curve(sizes, [0.95 - 0.6 * n**-0.7 + wobble for n in sizes])
    >>> round(curve.a, 2), round(curve.c, 1), round(curve.at(129).accuracy, 2)
    (0.05, 0.7, 0.93)
    """
    n, errors, weights = _checked(sizes, accuracies)
    law = fit_law(n, robust_means(errors)[None], weights)
    resampled = _resample(n, errors, weights, resamples, whole("seed", seed))
    return LearningCurve(
        points=tuple(_point(int(size), row) for size, row in zip(n, errors, strict=True)),
        a=float(law.a[0]),
        b=float(law.b[0]),
        c=float(law.c[0]),
        confidence=share("confidence", confidence),
        doubts=tuple(doubts_of(n, errors, law, resampled)),
        backtest=_backtest(n, errors, weights),
        pool=_pool(n, errors, confidence),
        tested=None if tested is None else whole("tested", tested, 1),
        _resampled=resampled,
    )


def _checked(
    sizes: Sequence[int], accuracies: Sequence[Sequence[float]] | NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return sizes, ascending, with the errors and the weight of each."""
    n = np.array([whole("n per class", size, 1) for size in sizes], np.int64)
    if not len(n) or len(np.unique(n)) != len(n):
        raise DataError("a learning curve needs sizes that are all different")
    if len(accuracies) != len(n):
        raise DataError(f"{len(n)} sizes but {len(accuracies)} lists of accuracies: need one each")
    lengths = {len(row) for row in accuracies}
    if len(lengths) > 1 or lengths == {0}:
        raise DataError("a learning curve needs the same repeats at every size, at least one")
    errors = 1 - np.array([np.asarray(row, np.float64) for row in accuracies])
    if not ((errors >= 0) & (errors <= 1)).all():
        raise DataError("accuracies must be from 0 to 1")
    order = np.argsort(n)
    return n[order], errors[order], _weights(errors[order])


def _weights(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh sizes by precision; half of each variance is that of all, as few repeats lie."""
    if errors.shape[1] < MIN_REPEATS:
        return np.ones(len(errors))
    variances = errors.var(axis=1, ddof=1)
    mixed = (variances + variances.mean()) / 2
    return np.asarray(mixed.max() / mixed if mixed.max() > 0 else np.ones(len(errors)))


def _resample(
    n: NDArray[np.int64],
    errors: NDArray[np.float64],
    weights: NDArray[np.float64],
    resamples: int,
    seed: int,
) -> Law | None:
    repeats = errors.shape[1]
    if repeats < MIN_REPEATS:
        return None
    draws = whole("resamples", resamples, 100)
    drawn = np.random.default_rng(seed).integers(0, repeats, (draws, repeats))
    return fit_law(n, robust_means(np.swapaxes(errors[:, drawn], 0, 1)), weights)


def _point(n: int, errors: NDArray[np.float64]) -> Point:
    sd = float(errors.std(ddof=1)) if len(errors) > 1 else 0.0
    return Point(n, float(1 - errors.mean()), sd, len(errors))


def _backtest(
    n: NDArray[np.int64], errors: NDArray[np.float64], weights: NDArray[np.float64]
) -> float | None:
    if len(n) <= MIN_SIZES:
        return None
    law = fit_law(n[:-1], robust_means(errors[:-1])[None], weights[:-1])
    return abs(float(predict_error(law, int(n[-1]))[0]) - float(errors[-1].mean()))


def _pool(n: NDArray[np.int64], errors: NDArray[np.float64], confidence: float) -> float:
    """Return the half-width of the accuracy at the largest size over other training images.

    Where draws of that size are all the same images, smaller draws tell it: the delete-d
    jackknife (Shao and Wu, Annals of Statistics 17 (1989), 1176-1197).
    """
    from scipy.special import stdtrit

    repeats = errors.shape[1]
    if repeats < MIN_REPEATS:
        return 0.0
    variances = errors.var(axis=1, ddof=1)
    if len(n) > 1 and np.ptp(errors[-1]) == 0:
        parts = n[:-1] >= n[-1] / (MIN_SPAN + 1)
        variances = (variances[:-1] * n[:-1] / (n[-1] - n[:-1]))[parts]
    else:
        variances = variances[-1:]
    if not len(variances):
        return 0.0
    reach = float(stdtrit(len(variances) * (repeats - 1), (1 + confidence) / 2))
    return reach * math.sqrt(variances.mean())
