"""Charts of points with intervals: from series to PNG or SVG bytes.

Series differ by marker and dash as well as by colour, so that they can be distinguished in
black and white; the colours are those of Okabe and Ito, for colour-blind readers.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from offshelf.measurement.probability_metrics import Reliability
from offshelf.report.pictures.canvas import check_form, drawing_settings, svg_bytes
from offshelf.report.pictures.point_labels import place_labels
from offshelf.text import drawable

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"
DASHES = ("-", "--", "-.", ":")
INCHES, DPI = (9.0, 5.5), 128
# Longer names in a legend stand one below the other.
_LONG = 40


@dataclass(frozen=True)
class Dot:
    """One point.

    Attributes:
        x: where it stands.
        y: its value.
        interval: low and high end of its interval, or None.
        label: its name, "" for none.
    """

    x: float
    y: float
    interval: tuple[float, float] | None = None
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together.

    Attributes:
        name: for the legend, "" for none.
        dots: the points, from left to right where they are joined.
        line: whether they are joined.
        markers: whether they have markers.
        dashed: whether the line is dashed, for what is extrapolated.
    """

    name: str
    dots: tuple[Dot, ...]
    line: bool = True
    markers: bool = True
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        name: what it shows, with its unit.
        logarithmic: whether equal steps are equal factors.
        percent: whether shares from 0 to 1 are written as per cent.
        ticks: whether it has numbers.
        limits: its ends; None for those of the points.
        names: of the places 0, 1, 2, ..., in place of numbers.
    """

    name: str
    logarithmic: bool = False
    percent: bool = False
    ticks: bool = True
    limits: tuple[float, float] | None = None
    names: tuple[str, ...] = ()


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], form: str = "png") -> bytes:
    """Return a picture of the series, 1152 x 704 pixels.

    Raises:
        OffshelfError: unknown form.

    >>> line = Series(name="vgg16", dots=(Dot(1, 0.5), Dot(2, 0.75, (0.7, 0.8), "pool2")))
    >>> chart("Accuracy", Axis(name="layer"), Axis(name="accuracy", percent=True), [line])[1:4]
    b'PNG'
    """
    check_form(form)
    with drawing_settings(**{"font.size": 10}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for number, one in enumerate(series):
            _draw(axes, one, number)
        _finish(axes, title, x, y)
        dots = [dot for one in series for dot in one.dots]
        lines = [one.dots for one in series if one.line]
        place_labels(axes, sorted(dots, key=lambda dot: -dot.y), lines)
        return picture_bytes(figure, form)


def reliability_chart(found: Reliability, title: str, *, form: str = "png") -> bytes:
    """Return the diagram as a PNG or SVG file; it reads the same in black and white.

    A point per bin: mean probability of the labels in it against the share that is right,
    with its 95 % Wilson interval and the number of images. Points under the dashed line:
    the model was too sure. DeGroot and Fienberg, "The comparison and evaluation of
    forecasters", The Statistician 32 (1983), 12-22.

    Args:
        found: what :func:`offshelf.measurement.probability_metrics.reliability` returned.
        title: above the diagram, before the figures.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: another form.

    >>> import numpy as np
    >>> from offshelf.measurement.probability_metrics import reliability
    >>> found = reliability(np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 0]))
    >>> reliability_chart(found, "a model")[1:4]
    b'PNG'
    """
    dots = tuple(
        Dot(row.confidence, row.accuracy, row.interval, f"{row.n:,}") for row in found.rows
    )
    series = (
        Series(name="measured, with 95 % interval and number of images", dots=dots, line=False),
        Series(name="as stated", dots=(Dot(0, 0), Dot(1, 1)), markers=False, dashed=True),
    )
    figures = (
        f"{found.n:,} images: expected calibration error {100 * found.ece:.2f} %, "
        f"log loss {found.log_loss:.3f}"
    )
    return chart(
        f"{title}; {figures}",
        Axis(name="probability of the label", percent=True, limits=(0.0, 1.03)),
        Axis(name="labels that are right", percent=True, limits=(0.0, 1.03)),
        series,
        form,
    )


def style_of(series: Series, number: int) -> dict[str, Any]:
    """Return how matplotlib draws the series of that number: by colour, marker and dash."""
    dash = "--" if series.dashed else DASHES[number % len(DASHES)]
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)] if series.markers else "",
        "linestyle": dash if series.line else "none",
    }


def _draw(axes: Any, series: Series, number: int) -> None:
    dots, style = series.dots, style_of(series, number)
    name = drawable(series.name) or "_nolegend_"
    axes.plot([d.x for d in dots], [d.y for d in dots], label=name, markersize=5, **style)
    for dot in dots:
        if dot.interval is not None:
            axes.vlines(dot.x, *dot.interval, color=style["color"], linewidth=1, alpha=0.6)


def _finish(axes: Any, title: str, x: Axis, y: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

    axes.set_title(drawable(title), loc="left", fontsize=12)
    for axis, shown, set_scale, set_limits in (
        (x, axes.xaxis, axes.set_xscale, axes.set_xlim),
        (y, axes.yaxis, axes.set_yscale, axes.set_ylim),
    ):
        shown.set_label_text(drawable(axis.name))
        if axis.logarithmic:
            set_scale("log")
            shown.set_major_locator(LogLocator(subs=(1, 2, 5)))
            shown.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
            shown.set_minor_formatter(NullFormatter())
        if axis.percent:
            shown.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        if axis.limits is not None:
            set_limits(*axis.limits)
        if axis.names:
            shown.set_ticks(range(len(axis.names)), [drawable(name) for name in axis.names])
        if not axis.ticks:
            shown.set_ticks([])
    axes.grid(alpha=0.3)
    add_legend(axes)
    axes.spines[["top", "right"]].set_visible(False)


def add_legend(axes: Any) -> None:
    """Put the legend below the axes, where it hides no point."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        columns = 1 if max(map(len, names)) > _LONG else min(3, len(names))
        axes.figure.legend(
            handles, names, fontsize=8, loc="outside lower left", ncols=columns, frameon=False
        )


def picture_bytes(figure: Any, form: str) -> bytes:
    """Return a matplotlib Figure as a PNG or SVG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if form == "svg":
        return svg_bytes(figure)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
