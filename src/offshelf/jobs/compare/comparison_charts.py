"""Pictures of a comparison: what was varied, what it costs, and every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from offshelf.errors import OffshelfError, did_you_mean
from offshelf.jobs.compare.axis_charts import (
    ACCURACY,
    MOST_CURVES,
    axis_chart,
    c_chart,
    dot_of,
    rows_chart,
)
from offshelf.jobs.compare.comparison_axes import (
    AXES,
    BACKBONE,
    LAYER,
    Axis,
    C,
    name_of,
    varied,
)
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.report.pictures.charts import Axis as Scale
from offshelf.report.pictures.charts import Dot, Series, chart

Draw = Callable[[Sequence[Row], str], bytes]
# Of the features: lines of the picture by depth.
_OF_FEATURES = (
    *(BACKBONE, "pooling", "weights", "resize", "scaling", "grey", "precision", "flips"),
)
REDUCTION = "reduction"


def picture(rows: Sequence[Row], kind: str | None = None, form: str = "png") -> bytes:
    """Return a picture of the rows.

    Args:
        rows: of a comparison.
        kind: ``depth`` (accuracy by layer), ``C`` (a curve), ``reduction`` (accuracy against
            the dimension left, one line for each kind of reduction), any other axis such as
            ``weights`` or ``class_weight`` (its values beside one another), ``cost`` (accuracy
            against milliseconds, with the Pareto front), ``dimension`` (accuracy against
            dimension) or ``rows`` (a point for each row); None for the first of these that
            the rows can give.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: unknown kind or form, or the rows do not hold what it shows.
    """
    kind = kind or available(rows)[0]
    if kind not in _DRAW:
        hint = did_you_mean(kind, _DRAW)
        raise OffshelfError(f"unknown picture {kind!r}: use {', '.join(_DRAW)}.{hint}")
    return _DRAW[kind]([row for row in rows if row.score and row.cost], form)


def available(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the pictures that the rows can give."""
    scored = [row for row in rows if row.score and row.cost]
    kinds = ["depth"] if _layers(scored) else []
    kinds += [kind_of(axis) for axis in varied(scored) if axis.name != LAYER]
    costs = {row.cost.ms_per_image for row in scored if row.cost and row.cost.ms_per_image}
    widths = {_width(row) for row in scored}
    # Rows that all stand above one another say nothing of what they cost.
    for kind, places in (("cost", costs), ("dimension", widths)):
        if len(places) > 1 or (places and len(scored) == 1):
            kinds.append(kind)
    return (*kinds, "rows")


def kind_of(axis: Axis) -> str:
    """Return the name of the picture of an axis."""
    return axis.name.replace(" ", "_")


def _by_axis(axis: Axis) -> Draw:
    """Return what draws the values of an axis."""

    def draw(rows: Sequence[Row], form: str) -> bytes:
        if axis not in varied(rows):
            raise OffshelfError(f"the picture {kind_of(axis)!r} needs two values of it")
        return c_chart(rows, axis, form) if axis.name == C else axis_chart(rows, axis, form)

    return draw


def _layers(rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    """Return for each backbone the best row at each depth, where there are several depths."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        if len(row.view.parts) == 1:
            found.setdefault(row.view.backbone, {}).setdefault(row.depth, row)
    return {name: depths for name, depths in found.items() if len(depths) > 1}


def _depth(rows: Sequence[Row], form: str) -> bytes:
    """Draw a line for each kind of features that has several layers, under their best head."""
    if not _layers(rows):
        raise OffshelfError("the picture 'depth' needs two layers of a backbone: --layers all")
    axes = [axis for axis in varied(rows) if axis.name in _OF_FEATURES]
    lines: dict[str, dict[int, Row]] = {}
    for row in rows:
        if len(row.view.parts) == 1:
            name = name_of(row, axes) if axes else row.view.backbone
            lines.setdefault(name, {}).setdefault(row.depth, row)
    several = {name: depths for name, depths in lines.items() if len(depths) > 1}
    kept = dict(list(several.items())[:MOST_CURVES])
    layers = {row.depth: row.view.layer for depths in kept.values() for row in depths.values()}
    one = len({row.view.backbone for depths in kept.values() for row in depths.values()}) == 1
    last = max(layers)
    series = [
        Series(
            name=name if len(kept) > 1 else "",
            dots=tuple(
                dot_of(row, *((place, "") if one else (place / max(depths), row.view.layer)))
                for place, row in sorted(depths.items())
            ),
        )
        for name, depths in kept.items()
    ]
    names = tuple(layers.get(place, "") for place in range(last + 1)) if one else ()
    x = Scale(name="depth: from the first layer to the last", ticks=one, names=names)
    more = f" ({len(kept)} of {len(several)} lines)" if len(several) > len(kept) else ""
    whose = f", {rows[0].view.backbone}" if one else ""
    return chart(f"Accuracy by depth{whose}{more}", x, ACCURACY, series, form)


def _cost(rows: Sequence[Row], form: str) -> bytes:
    known = [row for row in rows if row.cost and row.cost.ms_per_image]
    if not known:
        raise OffshelfError("the picture 'cost' needs the speed of the networks")
    series = _by_backbone(known, lambda row: (row.cost and row.cost.ms_per_image) or 0.0)
    front: list[Dot] = []
    for dot in sorted((dot for one in series for dot in one.dots), key=lambda d: (d.x, -d.y)):
        if not front or dot.y > front[-1].y:
            front.append(Dot(dot.x, dot.y, None, ""))
    series.append(Series(name="best for its cost", dots=tuple(front), markers=False))
    x = Scale(name="milliseconds for an image, files to features", logarithmic=True)
    return chart("Accuracy against cost", x, ACCURACY, series, form)


def _dimension(rows: Sequence[Row], form: str) -> bytes:
    series = _by_backbone(rows, _width)
    x = Scale(name="dimensions that the head sees", logarithmic=True)
    return chart("Accuracy against dimension", x, ACCURACY, series, form)


def _reduction(rows: Sequence[Row], form: str) -> bytes:
    """Draw the reductions of the best features that were reduced, under their best head."""
    reduced = [row for row in rows if row.recipe.reduction != "none"]
    if not reduced:
        raise OffshelfError("the picture 'reduction' needs reductions, for example pca:64")
    best = reduced[0]
    plain = dataclasses.replace(best.recipe, reduction="none")
    groups: dict[str, list[Dot]] = {}
    for row in rows:
        same = dataclasses.replace(row.recipe, reduction="none") == plain
        if row.view == best.view and same:
            kind = row.recipe.reduction.partition(":")[0]
            name = "no reduction" if kind == "none" else kind
            groups.setdefault(name, []).append(dot_of(row, _width(row)))
    series = [
        Series(name=n, dots=tuple(sorted(d, key=lambda dot: dot.x))) for n, d in groups.items()
    ]
    x = Scale(name="dimensions that are left", logarithmic=True)
    title = f"Accuracy against dimensions left: {best.view.layer}, {best.recipe.head}"
    return chart(title, x, ACCURACY, series, form)


def _width(row: Row) -> int:
    return row.cost.dimension if row.cost else 0


def _by_backbone(rows: Sequence[Row], x: Callable[[Row], float]) -> list[Series]:
    axes = [axis for axis in varied(rows) if axis.name != BACKBONE]
    found: dict[str, list[Dot]] = {}
    for row in rows:
        dots = found.setdefault(row.view.backbone, [])
        # Of rows above one another the best is named; the picture of rows names them all.
        named = axes and x(row) not in {dot.x for dot in dots}
        dots.append(dot_of(row, x(row), name_of(row, axes) if named else ""))
    return [Series(name=name, dots=tuple(dots), line=False) for name, dots in found.items()]


_DRAW: dict[str, Draw] = {
    "depth": _depth,
    **{kind_of(axis): _by_axis(axis) for axis in AXES if axis.name not in (LAYER, REDUCTION)},
    REDUCTION: _reduction,
    "cost": _cost,
    "dimension": _dimension,
    "rows": rows_chart,
}
