"""Labels of points in a chart, placed where they hide neither points nor one another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from offshelf.text import drawable

# Where a label may stand: the direction from its point, and how far in points. A far one is
# joined to its point by a line.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (6, 16, 30, 46)
_ALIGN = {-1: "right", 0: "center", 1: "left"}
_VERTICAL = {-1: "top", 0: "center", 1: "bottom"}
# Half the side of a marker, in pixels.
_MARKER = 5
# Of the width, left free beside the points; pixels between two boxes along a line.
_MARGIN, _STEP = 0.14, 4


class Labelled(Protocol):
    """A point with a name."""

    @property
    def x(self) -> float:
        """Where it stands."""

    @property
    def y(self) -> float:
        """Its value."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high end of its interval, or None."""

    @property
    def label(self) -> str:
        """Its name, "" for none."""


def place_labels(
    axes: Any, dots: Sequence[Labelled], lines: Sequence[Sequence[Labelled]] = ()
) -> None:
    """Write the labels of points in the order given; one without a free place is left out.

    No label covers a point, an interval, one of *lines*, which join points, or another label.
    """
    if not any(dot.label for dot in dots):
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = axes.figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes.margins(x=_MARGIN)
    figure.draw_without_rendering()
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    taken = [box for dot in dots for box in _boxes(axes, dot)]
    taken += [box for line in lines for box in _along(axes, line)]
    inside = axes.get_window_extent(renderer)
    for dot in dots:
        if dot.label:
            _place(axes, dot, renderer, (inside, taken))


def _boxes(axes: Any, dot: Labelled) -> list[Any]:
    """Return what a point and its interval cover, in pixels."""
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform((dot.x, dot.y))
    boxes = [Bbox.from_extents(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER)]
    if dot.interval is not None:
        low, high = (axes.transData.transform((dot.x, end))[1] for end in dot.interval)
        boxes.append(Bbox.from_extents(x - 1, low, x + 1, high))
    return boxes


def _place(axes: Any, dot: Labelled, renderer: Any, free: tuple[Any, list[Any]]) -> None:
    inside, taken = free
    for distance in _DISTANCES:
        for across, up in _DIRECTIONS:
            label = axes.annotate(
                drawable(dot.label),
                (dot.x, dot.y),
                xytext=(across * distance, up * distance),
                textcoords="offset points",
                fontsize=7,
                ha=_ALIGN[across],
                va=_VERTICAL[up],
                parse_math=False,
                arrowprops=_line(distance),
            )
            label.set_in_layout(False)
            label.update_positions(renderer)
            box = _text(label, renderer)
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1
            if fits and box.y0 >= inside.y0 and not any(map(box.overlaps, taken)):
                taken.append(box)
                return
            label.remove()


def _along(axes: Any, line: Sequence[Labelled]) -> Iterator[Any]:
    """Yield what a line that joins points covers, in small boxes."""
    from matplotlib.transforms import Bbox

    ends = [axes.transData.transform((dot.x, dot.y)) for dot in line]
    for begin, end in itertools.pairwise(ends):
        steps = max(1, int(abs(end - begin).max() / _STEP))
        for step in range(steps + 1):
            x, y = begin + (end - begin) * step / steps
            yield Bbox.from_extents(x - 1, y - 1, x + 1, y + 1)


def _text(label: Any, renderer: Any) -> Any:
    """Return what the text of a label covers, without its line."""
    from matplotlib.text import Text

    return Text.get_window_extent(label, renderer)


def _line(distance: int) -> dict[str, Any] | None:
    if distance == _DISTANCES[0]:
        return None
    return {"arrowstyle": "-", "linewidth": 0.5, "color": "#888888", "shrinkA": 0, "shrinkB": 3}
