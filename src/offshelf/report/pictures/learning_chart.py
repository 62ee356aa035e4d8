"""A learning curve as a table, as sentences and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from offshelf.measurement.learning_curve.lookahead import Needed
from offshelf.measurement.learning_curve.measured_curve import LearningCurve
from offshelf.measurement.metrics import wilson
from offshelf.report.pictures.charts import Axis, Dot, Series, chart
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import counted

Intervals = Sequence[tuple[float, float] | None]
AHEAD = (2, 4)
_STEPS = 60


def curve_table(curve: LearningCurve, intervals: Intervals) -> Table:
    """Return what was measured, and below it what the curve extrapolates.

    Args:
        curve: what :func:`offshelf.measurement.learning_curve.measured_curve.fit_curve` returned.
        intervals: one per measured size; None where repeats do not differ.
    """
    columns = (
        Column("images per class", "integer"),
        Column("accuracy", "percent"),
        Column("sd", "percent"),
        Column("from", "percent"),
        Column("to", "percent"),
        Column(""),
    )
    measured = tuple(
        (point.n, point.mean, point.sd if ends else None, *(ends or (None, None)), "measured")
        for point, ends in zip(curve.points, intervals, strict=True)
    )
    extrapolated = tuple(
        (e.n, e.accuracy, None, e.low, e.high, "extrapolated") for e in map(curve.at, _ahead(curve))
    )
    return Table("Learning curve", columns, measured + extrapolated)


def curve_sentences(curve: LearningCurve, needed: Needed | None) -> Iterator[str]:
    """Yield what the curve says of more images, and what forbids to say it."""
    last = curve.points[-1]
    if not curve.identified:
        yield f"no look ahead beyond {_per_class(last.n)}: {'; '.join(curve.doubts)}"
    if needed is None:
        yield _no_room(curve)
        return
    target = f"{100 * needed.accuracy:g} %"
    if needed.n is None:
        yield (f"{target} is not reached with up to {_per_class(needed.furthest)}{_chance(needed)}")
    elif needed.n <= last.n:
        yield f"{target} is reached with about {_per_class(needed.n)}"
    else:
        yield (
            f"{target} would take about {_per_class(needed.n)}, {needed.n - last.n:,} more "
            f"than the {last.n:,} measured{_range(needed)}"
        )


def _no_room(curve: LearningCurve) -> str:
    best = max(point.mean for point in curve.points)
    if curve.tested is None:
        return f"no room above {100 * best:.2f} %"
    low, _ = wilson(round(best * curve.tested), curve.tested, curve.confidence)
    return (
        f"{100 * best:.2f} % of {counted(curve.tested, 'test image')} are right, so they can show "
        f"no gain; of other images {100 * low:.2f} % or more are (95 % interval), which more test "
        "images would narrow"
    )


def _per_class(n: int) -> str:
    return f"{n:,} {'image' if n == 1 else 'images'} per class"


def curve_chart(
    curve: LearningCurve, intervals: Intervals, title: str, *, form: str = "png"
) -> bytes:
    """Return a picture: points with intervals, the fitted curve, dashed where it looks ahead.

    Args:
        curve: what :func:`offshelf.measurement.learning_curve.measured_curve.fit_curve` returned.
        intervals: one per measured size.
        title: above the picture.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: another form.

    >>> from offshelf.measurement.learning_curve.measured_curve import fit_curve
    >>> curve_chart(fit_curve([5, 10], [[0.8], [0.9]]), [None, None], "scenes")[1:4]
    b'PNG'
    """
    first, last = curve.points[0].n, curve.points[-1].n
    dots = tuple(
        Dot(point.n, point.mean, ends, f"{100 * point.mean:.2f} %")
        for point, ends in zip(curve.points, intervals, strict=True)
    )
    # The chart draws its first series solid and puts the labels of every second one below.
    series = [
        Series(name="fitted: error = a + b n^-c", dots=_line(curve, first, last), markers=False),
        Series(name="measured: mean over draws, with its 95 % interval", dots=dots, line=False),
    ]
    ahead = [curve.at(n) for n in _ahead(curve)]
    if ahead:
        ends = tuple(
            Dot(e.n, e.accuracy, _pair(e.low, e.high), f"{100 * e.accuracy:.2f} %") for e in ahead
        )
        dashed = _line(curve, last, curve.furthest)
        series.append(Series(name="", dots=dashed, markers=False, dashed=True))
        series.append(Series(name="extrapolated, with its 95 % interval", dots=ends, line=False))
    return chart(
        title,
        Axis(name="training images per class", logarithmic=True),
        Axis(name="accuracy", percent=True),
        series,
        form,
    )


def _ahead(curve: LearningCurve) -> list[int]:
    sizes = [curve.points[-1].n * factor for factor in AHEAD]
    return [n for n in sizes if n <= curve.furthest]


def _line(curve: LearningCurve, low: int, high: int) -> tuple[Dot, ...]:
    sizes = np.unique(np.geomspace(low, high, _STEPS).round().astype(int))
    return tuple(Dot(n, curve.at(n).accuracy) for n in sizes.tolist())


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _range(needed: Needed) -> str:
    """Return the interval in words."""
    if needed.early is None:
        return ""
    end = f"{needed.late:,}" if needed.late else f"more than {needed.furthest:,}"
    return f" (interval: {needed.early:,} to {end})"


def _chance(needed: Needed) -> str:
    return f" (at the upper end of the interval with {needed.early:,})" if needed.early else ""
