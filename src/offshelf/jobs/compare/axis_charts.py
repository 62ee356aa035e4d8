"""Pictures of what was varied: the values of an axis beside one another, and C as a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

from offshelf.errors import OffshelfError
from offshelf.jobs.compare.comparison_axes import (
    NO_VALUE,
    Axis,
    C,
    common,
    name_of,
    naming,
    values_of,
    varied,
)
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.report.pictures.charts import Axis as Scale
from offshelf.report.pictures.charts import Dot, Series, chart
from offshelf.report.pictures.dot_plot import dot_plot

ACCURACY = Scale(name="accuracy, with 95 % interval", percent=True)
# More lines are not told apart, more names fill no page.
MOST_CURVES, MOST_NAMES, MOST_ROWS = 7, 16, 40


def dot_of(row: Row, x: float, label: str = "") -> Dot:
    """Return the accuracy of a row as a point at *x*."""
    if row.score is None:
        raise OffshelfError("a row without a score cannot be drawn")
    return Dot(x, row.score.accuracy, row.score.interval, label)


def rows_chart(rows: Sequence[Row], form: str) -> bytes:
    """Draw a point for each row, the best at the top."""
    axes, kept = naming(rows), rows[:MOST_ROWS]
    groups: dict[str, list[Dot]] = {}
    for place, row in enumerate(kept):
        same = row.verdict is not None and row.verdict.same
        name = "cannot be told from the best" if same else "worse than the best"
        groups.setdefault(name, []).append(dot_of(row, place))
    series = [Series(name=name, dots=tuple(dots), line=False) for name, dots in groups.items()]
    more = f" ({len(kept)} of {len(rows):,} rows)" if len(rows) > len(kept) else ""
    return _dot_plot(f"Accuracy{more}", rows, [name_of(row, axes) for row in kept], series, form)


def axis_chart(rows: Sequence[Row], axis: Axis, form: str) -> bytes:
    """Draw the values of an axis beside one another, a line for all that is equal else."""
    others = [one for one in varied(rows) if one is not axis]
    title = f"Accuracy by {axis.name}"
    if not others:
        names = [axis.said(axis.of(row)) for row in rows]
        dots = tuple(dot_of(row, place) for place, row in enumerate(rows))
        return _dot_plot(title, rows, names, [Series(name="", dots=dots, line=False)], form)
    groups: dict[str, dict[str, Row]] = {}
    for row in rows:
        of_group = groups.setdefault(name_of(row, others), {})
        of_group.setdefault(axis.of(row), row)
    kept = [name for name, values in groups.items() if len(values) > 1][:MOST_NAMES]
    kept = kept or list(groups)[:MOST_NAMES]
    series = []
    for value in values_of(axis, rows):
        points = tuple(
            dot_of(groups[name][value], place)
            for place, name in enumerate(kept)
            if value in groups[name]
        )
        series.append(Series(name=axis.said(value), dots=points, line=False))
    more = f" ({len(kept)} of {len(groups):,} lines)" if len(groups) > len(kept) else ""
    return _dot_plot(f"{title}{more}", rows, kept, series, form)


def c_chart(rows: Sequence[Row], axis: Axis, form: str) -> bytes:
    """Draw accuracy against C, a curve for all that is equal else; what auto chose is a point."""
    others = [one for one in varied(rows) if one.name != C]
    curves: dict[str, list[Dot]] = {}
    chosen: list[Dot] = []
    for row in rows:
        if axis.of(row) == NO_VALUE:
            continue
        if isinstance(row.recipe.c, str):
            middle = math.exp(sum(map(math.log, row.c)) / len(row.c))
            chosen.append(dot_of(row, middle))
            continue
        name = name_of(row, others) if others else ""
        curves.setdefault(name, []).append(dot_of(row, row.recipe.c))
    series = [
        Series(name=name, dots=tuple(sorted(dots, key=lambda dot: dot.x)))
        for name, dots in list(curves.items())[:MOST_CURVES]
    ]
    if chosen:
        name = "auto: the C that it chose"
        series.append(Series(name=name, dots=tuple(chosen[:MOST_CURVES]), line=False))
    scale = Scale(name="C, inverse strength of the regularisation", logarithmic=True)
    more = f" ({MOST_CURVES} of {len(curves)} curves)" if len(curves) > MOST_CURVES else ""
    return chart(f"Accuracy by C{more}", scale, ACCURACY, series, form)


def _dot_plot(
    title: str, rows: Sequence[Row], names: Sequence[str], series: Sequence[Series], form: str
) -> bytes:
    shared = common(rows) if len(rows) > 1 else ""
    return dot_plot(f"{title}\n{shared}" if shared else title, ACCURACY, names, series, form)
