"""Formatting of table cells: rounded, with units, on one printable line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.text import duration, shown


def format_cell(cell: Cell, kind: str) -> str:
    """Return *cell* as a person reads it.

    >>> format_cell(0.92731, "percent"), format_cell(14714688, "integer"), format_cell(None, "text")
    ('92.73 %', '14,714,688', '-')
    >>> format_cell(125.2, "seconds"), format_cell(411058176, "bytes")
    ('2 min 05 s', '411.1 MB')
    """
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return shown(cell)
    return _NUMBERS[kind](cell)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _bytes(value: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(value) < (1000 if unit == "bytes" else 999.95):
            return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if abs(value) < 9.995 else duration(value)


_NUMBERS: Mapping[str, Callable[[float], str]] = {
    "integer": lambda value: f"{value:,}",
    "number": _number,
    "percent": lambda value: f"{100 * value:.2f} %",
    "bytes": _bytes,
    "seconds": _seconds,
}


def heading(column: Column) -> str:
    """Return the name of a column with its unit.

    >>> heading(Column("speed", "number", "images/s"))
    'speed (images/s)'
    """
    return shown(f"{column.name} ({column.unit})" if column.unit else column.name)


def cells_of(table: Table) -> list[list[str]]:
    """Return the rows of *table* as a person reads them."""
    kinds = [column.kind for column in table.columns]
    return [
        [format_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True)]
        for row in table.rows
    ]
