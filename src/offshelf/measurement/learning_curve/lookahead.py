"""Training images that an accuracy needs, by a learning curve; and the sizes to measure."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import share, whole
from offshelf.measurement.learning_curve.doubts import MIN_SIZES
from offshelf.measurement.learning_curve.measured_curve import Estimate, LearningCurve

MIN_SIZE = 5
_ROOM = 0.0025


@dataclass(frozen=True)
class Needed:
    """Training images per class for an accuracy, within the range of the curve.

    Attributes:
        accuracy: that is asked for, 0 to 1.
        n: where the curve reaches it; None where it does not.
        early: where the upper end of its interval does; None where not, or without one.
        late: where the lower end does.
        furthest: the largest size that was looked at.
    """

    accuracy: float
    n: int | None
    early: int | None
    late: int | None
    furthest: int


def images_needed(curve: LearningCurve, accuracy: float) -> Needed:
    """Return how many training images per class the curve gives for an accuracy.

    Raises:
        DataError: *accuracy* does not lie between 0 and 1.

    >>> from offshelf.measurement.learning_curve.measured_curve import fit_curve
    >>> sizes = [5, 10, 20, 40, 80]
    >>> wobble = np.array([-0.001, 0.0, 0.001])
    >>> curve = fit_curve(sizes, [0.95 - 0.6 * n**-0.7 + wobble for n in sizes])
    >>> needed = images_needed(curve, 0.93)
    >>> needed.n, needed.early < needed.n < needed.late
    (129, True)
    """
    accuracy = share("accuracy", accuracy)

    def reached(end: Callable[[Estimate], float | None]) -> int | None:
        return _first(curve, lambda estimate: (end(estimate) or 0.0) >= accuracy)

    return Needed(
        accuracy,
        reached(lambda estimate: estimate.accuracy),
        reached(lambda estimate: estimate.high),
        reached(lambda estimate: estimate.low),
        curve.furthest,
    )


def next_accuracy(curve: LearningCurve) -> float | None:
    """Return the next whole per cent above what was measured, and what the curve has there.

    None at 99.75 % and more.

    >>> from offshelf.measurement.learning_curve.measured_curve import fit_curve
    >>> next_accuracy(fit_curve([5, 10], [[0.80], [0.9273]]))
    0.93
    """
    fitted = curve.at(curve.points[-1].n).accuracy
    now = max(fitted, *(point.mean for point in curve.points))
    target = math.ceil(100 * (now + _ROOM) - 1e-9) / 100
    return target if target < 1 else None


def halved_sizes(smallest: int) -> tuple[int, ...]:
    """Return sizes that double up to *smallest*, from about 5; from less to have four of them.

    >>> halved_sizes(100), halved_sizes(16), halved_sizes(1)
    ((6, 12, 25, 50, 100), (2, 4, 8, 16), (1,))
    """
    size, sizes = whole("images of the smallest class", smallest, 1), [smallest]
    while size // 2 >= (MIN_SIZE if len(sizes) >= MIN_SIZES else 1):
        size //= 2
        sizes.append(size)
    return tuple(reversed(sizes))


def student_interval(
    values: NDArray[np.float64], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return Student's interval of the mean of repeats; None for fewer than two.

    >>> low, high = student_interval(np.array([0.90, 0.91, 0.92]))
    >>> round(low, 4), round(high, 4)
    (0.8852, 0.9348)
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return None
    reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    mean = float(values.mean())
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def _first(curve: LearningCurve, reached: Callable[[Estimate], bool]) -> int | None:
    """Return the smallest size that *reached* holds for, first among those measured."""
    first, last = curve.points[0].n, curve.points[-1].n
    # The interval is wider beyond what was measured, so the two parts are searched apart.
    for start, end in ((first, last), (last + 1, curve.furthest)):
        if start <= end and reached(curve.at(end)):
            sizes = range(start, end + 1)
            return sizes[bisect.bisect_left(sizes, True, key=lambda n: reached(curve.at(n)))]
    return None
