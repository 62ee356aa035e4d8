"""Tables as text, markdown, csv, json, html or latex: rounded for people, raw for programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

from offshelf.errors import OffshelfError, did_you_mean
from offshelf.report.tables import markup
from offshelf.report.tables.cells import (
    cells_of,
    format_cell,
    heading,
)
from offshelf.report.tables.result_rows import Cell, Table
from offshelf.text import json_text, shown, spelled

__all__ = ["FORMS", "format_cell", "render", "to_json"]


def render(table: Table, form: str = "text") -> str:
    r"""Return *table* in one form; no trailing line end.

    ``text`` and ``markdown`` round numbers (92.73 %, 14,714,688, 58.9 MB, 2 min 05 s), show
    a missing value as ``-`` and control characters as escapes, so that a name cannot steer
    a terminal or break a row. ``csv`` and ``json`` hold raw values: shares from 0 to 1,
    bytes, seconds; a missing value is an empty field or null. Names are left as they are
    in both, also those that begin with ``=``, ``+``, ``-`` or ``@``: whoever opens the csv
    of unknown names in a spreadsheet should import those columns as text.

    Args:
        table: the rows.
        form: ``text``, ``markdown``, ``csv``, ``json``, ``html`` or ``latex``.

    Raises:
        OffshelfError: unknown form.

    >>> from offshelf.report.tables.result_rows import Column
    >>> table = Table("Sizes", (Column("part"), Column("size", "bytes")), (("fc6", 411058176),))
    >>> print(render(table))
    Sizes
    part      size
    ----  --------
    fc6   411.1 MB
    >>> render(table, "csv")
    'part,size\nfc6,411058176'
    """
    if form not in FORMS:
        hint = did_you_mean(form, FORMS)
        raise OffshelfError(f"unknown form {form!r}: the forms are {', '.join(FORMS)}.{hint}")
    return FORMS[form](table)


def _text(table: Table) -> str:
    from rich.cells import cell_len

    headings, cells = [heading(column) for column in table.columns], cells_of(table)
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]

    def line(row: list[str]) -> str:
        parts = []
        for text, width, column in zip(row, widths, table.columns, strict=True):
            gap = " " * (width - cell_len(text))
            parts.append(text + gap if column.kind == "text" else gap + text)
        return "  ".join(parts).rstrip()

    rule = ["-" * width for width in widths]
    title = [shown(table.title)] if table.title else []
    return "\n".join([*title, *(line(row) for row in [headings, rule, *cells])])


def _markdown(table: Table) -> str:
    def line(row: list[str]) -> str:
        return f"| {' | '.join(row)} |"

    headings = [_escaped(heading(column)) for column in table.columns]
    rule = ["---" if column.kind == "text" else "---:" for column in table.columns]
    body = [[_escaped(cell) for cell in row] for row in cells_of(table)]
    title = [f"**{_escaped(shown(table.title))}**", ""] if table.title else []
    return "\n".join([*title, *(line(row) for row in [headings, rule, *body])])


def _escaped(text: str) -> str:
    text = re.sub(r"([\\|`*<>\[\]&~])", r"\\\1", text)
    # An underscore inside a word is no emphasis, and living_room should stay readable.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def _csv(table: Table) -> str:
    rows = [tuple(column.name for column in table.columns), *table.rows]
    return "\n".join(_csv_line(row) for row in rows)


def _csv_line(row: tuple[Cell, ...]) -> str:
    buffer = io.StringIO()
    # Written with \r\n, so that csv quotes a field that holds either of the two.
    csv.writer(buffer, lineterminator="\r\n").writerow(row)
    return spelled(buffer.getvalue().removesuffix("\r\n"))


def _json(table: Table) -> str:
    return json_text(to_json(table), indent=2)


def to_json(table: Table) -> dict[str, Any]:
    """Return *table* as JSON values, one object per row.

    >>> from offshelf.report.tables.result_rows import Column
    >>> to_json(Table("Sizes", (Column("part"),), (("fc6",),)))["rows"]
    [{'part': 'fc6'}]
    """
    names = [column.name for column in table.columns]
    return {
        "title": table.title,
        "columns": [
            {"name": column.name, "kind": column.kind, "unit": column.unit}
            for column in table.columns
        ],
        "rows": [dict(zip(names, row, strict=True)) for row in table.rows],
    }


FORMS: Mapping[str, Callable[[Table], str]] = {
    "text": _text,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
    "html": markup.html_table,
    "latex": markup.latex_table,
}
