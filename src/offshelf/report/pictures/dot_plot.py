"""Dot plots: a line for each name, with points and their intervals from left to right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from offshelf.report.pictures.canvas import check_form, drawing_settings
from offshelf.report.pictures.charts import (
    DPI,
    Axis,
    Series,
    add_legend,
    picture_bytes,
    style_of,
)
from offshelf.text import drawable

WIDTH = 9.0
# Names and titles are broken at so many characters; a line of text takes so many inches.
_NAME, _TITLE, _LINE = 48, 96, 0.17


def dot_plot(
    title: str, x: Axis, names: Sequence[str], series: Sequence[Series], form: str = "png"
) -> bytes:
    """Return a picture with a line for each name, the first at the top.

    Args:
        title: above it, one or more lines.
        x: what the points show.
        names: of the lines.
        series: points that are drawn alike: ``x`` of each is the place of its name, ``y`` its
            value. Those of one name are side by side.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: unknown form.

    >>> from offshelf.report.pictures.charts import Dot
    >>> one = Series(name="", dots=(Dot(0, 0.9, (0.8, 0.95)),), line=False)
    >>> dot_plot("Accuracy", Axis(name="accuracy", percent=True), ["svm"], [one])[1:4]
    b'PNG'
    """
    check_form(form)
    broken = [textwrap.wrap(drawable(name), _NAME) or [""] for name in names]
    lines = sum(max(len(name), 1 + len(series) // 3) + 0.6 for name in broken)
    with drawing_settings(**{"font.size": 10}):
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        figure = Figure(figsize=(WIDTH, 1.6 + _LINE * lines), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for number, one in enumerate(series):
            _draw(axes, one, number, len(series))
        axes.set_yticks(range(len(names)), ["\n".join(name) for name in broken], fontsize=8)
        axes.set_ylim(len(names) - 0.4, -0.6)
        figure.suptitle(_title(title), x=0.01, ha="left", fontsize=11)
        axes.set_xlabel(drawable(x.name))
        if x.percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        add_legend(axes)
        return picture_bytes(figure, form)


def _title(title: str) -> str:
    """Return the lines of a title, none too long for the picture."""
    wrapped = (textwrap.wrap(drawable(line), _TITLE) for line in title.splitlines())
    return "\n".join(part for parts in wrapped for part in parts)


def _draw(axes: object, series: Series, number: int, count: int) -> None:
    """Draw a series a little below the one before, so that equal points are both seen."""
    style = style_of(series, number)
    offset = 0.5 * ((number + 0.5) / count - 0.5) if count > 1 else 0.0
    places = [dot.x + offset for dot in series.dots]
    name = drawable(series.name) or "_nolegend_"
    values = [dot.y for dot in series.dots]
    axes.plot(values, places, label=name, markersize=5, **style)  # type: ignore[attr-defined]
    for place, dot in zip(places, series.dots, strict=True):
        if dot.interval is not None:
            axes.hlines(  # type: ignore[attr-defined]
                place, *dot.interval, color=style["color"], linewidth=1, alpha=0.6
            )
