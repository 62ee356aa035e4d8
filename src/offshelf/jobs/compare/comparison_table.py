"""The rows of a comparison as tables: a narrow one to be read, and one of everything.

In the narrow one a row is named by what varies, and what all rows have in common stands in a
line above.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, cast

from offshelf.jobs.compare.comparison_axes import AXES, common, name_of, naming
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell, heading, text_widths

WIDTH = 110
# An axis is a column of its own where it can have so many characters.
_READABLE = 22

_FIGURES = (
    (Column("dim", "integer"), "cost.dimension"),
    (Column("accuracy", "percent"), "score.accuracy"),
    (Column("low", "percent"), "score.low"),
    (Column("high", "percent"), "score.high"),
    (Column("sd", "percent"), "score.sd"),
    (Column("balanced", "percent"), "score.balanced_accuracy"),
    (Column("balanced sd", "percent"), "score.balanced_sd"),
    (Column("p (Holm)", "p value"), "verdict.adjusted"),
    (Column("verdict"), "conclusion"),
    (Column("image", "milliseconds", "ms"), "cost.ms_per_image"),
    (Column("fit", "seconds"), "cost.fit_seconds"),
    (Column("predict", "milliseconds", "ms"), "cost.predict_ms"),
    (Column("stored", "bytes"), "cost.stored_bytes"),
    (Column("size", "bytes"), "cost.model_bytes"),
    (Column("without leaks", "percent"), "score.without_leaks"),
    (Column("LogME", "number"), "transfer.logme"),
    (Column("H-score", "number"), "transfer.h_score_shrunk"),
    (Column("ridge error", "percent"), "transfer.ridge_error"),
)
# Columns of several folds, and of what was asked for: shown where a row has a value.
_SOMETIMES = ("sd", "balanced sd", "without leaks", "LogME", "H-score", "ridge error")
# What the narrow table always has, and what it has in this order while there is room.
_NEEDED = ("accuracy", "95 % interval", "p (Holm)", "verdict")
_WANTED = (
    *("sd", "LogME", "H-score", "ridge error", "dim", "image", "balanced", "fit"),
    *("balanced sd", "predict", "stored", "size"),
)
# What is the same for all rows where they have one view.
_SHARED = {
    "dim": "{} dimensions",
    "image": "{} ms for an image",
    "LogME": "LogME {}",
    "H-score": "H-score {}",
    "ridge error": "ridge error {}",
}


@dataclasses.dataclass(frozen=True)
class _Filled:
    """A column with its cells."""

    column: Column
    cells: tuple[Cell, ...]

    @property
    def equal(self) -> bool:
        """Whether several rows all read the same."""
        kind = self.column.kind
        return len(self.cells) > 1 and len({format_cell(one, kind) for one in self.cells}) == 1


def full_table(rows: Sequence[Row], protocol: str, commands: bool = False) -> Table:
    """Return every column: all axes, and all figures that a row has; with its ``fit`` command."""
    axes = [_Filled(Column(axis.name), tuple(map(axis.shown, rows))) for axis in AXES]
    made = [_Filled(Column("fit command"), tuple(row.command for row in rows))] if commands else []
    return _table(f"Comparison, {protocol}", [*axes, *_figures(rows), *made])


def narrow_table(rows: Sequence[Row]) -> Table:
    """Return what varies and the figures that fit beside it into 110 characters."""
    figures = {one.column.name: one for one in _readable(rows)}
    needed = [one for name, one in figures.items() if name in _NEEDED]
    names = _names(rows, needed)
    kept = {name: figures[name] for name in _NEEDED}
    for name in _WANTED:
        if name in figures and not (name in _SHARED and figures[name].equal):
            more = {**kept, name: figures[name]}
            if _width([*names, *more.values()]) <= WIDTH:
                kept = more
    ordered = [one for name, one in figures.items() if name in kept]
    return dataclasses.replace(_table("", [*names, *ordered]), width=WIDTH)


def page_table(rows: Sequence[Row]) -> Table:
    """Return what varies and all figures that do, for a page of any width."""
    figures = [one for one in _readable(rows) if not (one.column.name in _SHARED and one.equal)]
    axes = [_Filled(Column(axis.name), tuple(map(axis.shown, rows))) for axis in naming(rows)]
    return _table("", [*axes, *figures])


def common_line(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line with what all rows have in common, where there are several and they do."""
    if len(rows) < 2:
        return
    figures = {one.column.name: one for one in _figures(rows)}
    shared = [
        text.format(format_cell(figures[name].cells[0], figures[name].column.kind))
        for name, text in _SHARED.items()
        if name in figures and figures[name].equal and figures[name].cells[0] is not None
    ]
    parts = [part for part in (common(rows), *shared) if part]
    if parts:
        yield f"all rows: {', '.join(parts)}"


def _names(rows: Sequence[Row], figures: Sequence[_Filled]) -> list[_Filled]:
    """Return a column for each axis that varies; where that is too wide, one of names."""
    axes = naming(rows)
    columns = [_Filled(Column(axis.name), tuple(map(axis.shown, rows))) for axis in axes]
    gaps = 2 * (len(columns) + len(figures) - 1)
    wide = sum(min(_READABLE, width) for width in text_widths(_table("", columns)))
    # Layers of several networks name these, which would stand beside them a second time.
    twice = any(row.view.of_several_backbones for row in rows)
    if not twice and wide + gaps + sum(text_widths(_table("", figures))) <= WIDTH:
        return columns
    return [_Filled(Column("row"), tuple(name_of(row, axes) for row in rows))]


def _width(columns: Sequence[_Filled]) -> int:
    """Return how wide columns are, names of axes at most as wide as they have to be."""
    widths = text_widths(_table("", columns))
    known = {axis.name for axis in AXES} | {"row"}
    return sum(
        min(width, max(_READABLE, len(heading(one.column)))) if one.column.name in known else width
        for width, one in zip(widths, columns, strict=True)
    ) + 2 * (len(widths) - 1)


def _figures(rows: Sequence[Row]) -> list[_Filled]:
    found = [
        _Filled(column, tuple(_figure(row, place) for row in rows)) for column, place in _FIGURES
    ]
    return [one for one in found if one.column.name not in _SOMETIMES or any(_known(one))]


def _readable(rows: Sequence[Row]) -> list[_Filled]:
    """Return the figures with the ends of the interval in one column."""
    figures = [one for one in _figures(rows) if one.column.name not in ("low", "high")]
    place = [one.column.name for one in figures].index("accuracy") + 1
    return [*figures[:place], _interval(rows), *figures[place:]]


def _known(one: _Filled) -> Iterator[bool]:
    return (cell is not None for cell in one.cells)


def _interval(rows: Sequence[Row]) -> _Filled:
    texts = (
        f"{100 * row.score.low:.2f} to {100 * row.score.high:.2f} %" if row.score else None
        for row in rows
    )
    return _Filled(Column("95 % interval"), tuple(texts))


def _figure(row: Row, place: str) -> Cell:
    """Return the figure at *place*, for example ``cost.dimension``; None without that part."""
    value: Any = row
    for name in place.split("."):
        value = None if value is None else getattr(value, name)
    return cast(Cell, value)


def _table(title: str, columns: Sequence[_Filled]) -> Table:
    cells = zip(*(one.cells for one in columns), strict=True)
    return Table(title, tuple(one.column for one in columns), tuple(cells))
