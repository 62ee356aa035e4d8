"""Pictures of a comparison: from rows to series of points, drawn by the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from offshelf.errors import OffshelfError, did_you_mean
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.report.pictures.charts import Axis, Dot, Series, chart

ACCURACY = Axis(name="accuracy", percent=True)


def picture(rows: Sequence[Row], kind: str | None = None, form: str = "png") -> bytes:
    """Return a picture of the rows.

    Args:
        rows: of a comparison.
        kind: ``depth`` (accuracy by layer), ``cost`` (accuracy against milliseconds, with
            the Pareto front), ``dimension`` (accuracy against dimension) or ``reduction``
            (accuracy against the dimension left, one line for each kind of reduction); None
            for the first of these that the rows can give.
        form: ``png`` or ``svg``.

    Raises:
        OffshelfError: unknown kind or form, or the rows do not hold what it shows.
    """
    draw = {"depth": _depth, "cost": _cost, "dimension": _dimension, "reduction": _reduction}
    kind = kind or available(rows)[0]
    if kind not in draw:
        hint = did_you_mean(kind, draw)
        raise OffshelfError(f"unknown picture {kind!r}: use {', '.join(draw)}.{hint}")
    return draw[kind]([row for row in rows if row.score and row.cost], form)


def available(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the pictures that the rows can give."""
    scored = [row for row in rows if row.score and row.cost]
    kinds = []
    if _layers(scored):
        kinds.append("depth")
    if any(row.cost and row.cost.ms_per_image for row in scored):
        kinds.append("cost")
    kinds.append("dimension")
    if any(row.recipe.reduction != "none" for row in scored):
        kinds.append("reduction")
    return tuple(kinds)


def _dot(row: Row, x: float, label: str = "") -> Dot:
    if row.score is None:
        raise OffshelfError("a row without a score cannot be drawn")
    return Dot(x, row.score.accuracy, row.score.interval, label)


def _layers(rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    """Return for each backbone the best row at each depth, where there are several depths."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        if len(row.view.parts) == 1:
            found.setdefault(row.view.backbone, {}).setdefault(row.depth, row)
    return {name: depths for name, depths in found.items() if len(depths) > 1}


def _depth(rows: Sequence[Row], form: str) -> bytes:
    layers = _layers(rows)
    if not layers:
        raise OffshelfError("the picture 'depth' needs two layers of a backbone: --layers all")
    series = [
        Series(
            name=name,
            dots=tuple(
                _dot(row, place / (len(depths) - 1), row.view.layer)
                for place, (_, row) in enumerate(sorted(depths.items()))
            ),
        )
        for name, depths in layers.items()
    ]
    x = Axis(name="depth: from the first stage to the last", ticks=False)
    return chart("Accuracy by depth", x, ACCURACY, series, form)


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
    x = Axis(name="milliseconds for an image, files to features", logarithmic=True)
    return chart("Accuracy against cost", x, ACCURACY, series, form)


def _dimension(rows: Sequence[Row], form: str) -> bytes:
    series = _by_backbone(rows, _width)
    x = Axis(name="dimensions that the head sees", logarithmic=True)
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
            groups.setdefault(name, []).append(_dot(row, _width(row)))
    series = [
        Series(name=n, dots=tuple(sorted(d, key=lambda dot: dot.x))) for n, d in groups.items()
    ]
    x = Axis(name="dimensions that are left", logarithmic=True)
    title = f"Accuracy against dimensions left: {best.view.layer}, {best.recipe.head}"
    return chart(title, x, ACCURACY, series, form)


def _width(row: Row) -> int:
    return row.cost.dimension if row.cost else 0


def _by_backbone(rows: Sequence[Row], x: Callable[[Row], float]) -> list[Series]:
    found: dict[str, list[Dot]] = {}
    for row in rows:
        found.setdefault(row.view.backbone, []).append(_dot(row, x(row), row.view.layer))
    return [Series(name=name, dots=tuple(dots), line=False) for name, dots in found.items()]
