"""Tables as text, markdown, csv, json, html or latex: rounded for people, raw for programs."""

from __future__ import annotations

import csv
import io
import itertools
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from offshelf.errors import OffshelfError, did_you_mean
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.text import duration, flowing, html_text, is_long, json_text, p_text, shown, spelled

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}

# No column of text is broken into less.
_NARROWEST = 4


def format_cell(cell: Cell, kind: str) -> str:
    """Return *cell* as a person reads it.

    >>> format_cell(0.92731, "percent"), format_cell(14714688, "integer"), format_cell(None, "text")
    ('92.73 %', '14,714,688', '-')
    >>> format_cell(125.2, "seconds"), format_cell(411058176, "bytes")
    ('2 min 05 s', '411.1 MB')
    >>> [format_cell(value, "milliseconds") for value in (0.0021834, 14.2857, 1234.5)]
    ['0.0022', '14.3', '1,234']
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


def _milliseconds(value: float) -> str:
    # More digits than these are another in the next run.
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.{3 if value >= 1 else 2}g}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if abs(value) < 9.995 else duration(value)


_NUMBERS: Mapping[str, Callable[[float], str]] = {
    "integer": lambda value: f"{value:,}",
    "number": _number,
    "percent": lambda value: f"{100 * value:.2f} %",
    "bytes": _bytes,
    "seconds": _seconds,
    "milliseconds": _milliseconds,
    "p value": p_text,
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
    widths = text_widths(table)

    def line(row: Sequence[str]) -> str:
        parts = []
        for text, width, column in zip(row, widths, table.columns, strict=True):
            gap = " " * (width - cell_len(text))
            parts.append(text + gap if column.kind == "text" else gap + text)
        return "  ".join(parts).rstrip()

    rule = ["-" * width for width in widths]
    title = [shown(table.title)] if table.title else []
    broken = (_broken(row, widths) for row in [headings, rule, *cells])
    return "\n".join([*title, *(line(row) for rows in broken for row in rows)])


def text_widths(table: Table) -> list[int]:
    """Return how wide each column is as text: as its longest cell, within the table's width.

    Columns of text give way, the widest first; numbers are never broken.

    >>> text_widths(Table("", (Column("name"), Column("n", "integer")), (("a b c d", 1),), width=6))
    [4, 1]
    """
    from rich.cells import cell_len

    lines = [[heading(column) for column in table.columns], *cells_of(table)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    gaps = 2 * (len(widths) - 1)
    texts = [place for place, column in enumerate(table.columns) if column.kind == "text"]
    while table.width and texts and sum(widths) + gaps > table.width:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _broken(row: Sequence[str], widths: Sequence[int]) -> list[tuple[str, ...]]:
    """Return the lines of one row, whose cells are broken at their column's width."""
    parts = [_wrapped(text, width) for text, width in zip(row, widths, strict=True)]
    return list(itertools.zip_longest(*parts, fillvalue=""))


def _wrapped(text: str, width: int) -> list[str]:
    from rich.cells import cell_len, chop_cells

    if cell_len(text) <= width:
        return [text]
    words = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [part for word in words for part in chop_cells(word, width)]


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


def html_table(table: Table) -> str:
    """Return *table* as a ``<table>`` with caption, head and body; numbers to the right.

    >>> print(html_table(Table("Sizes", (Column("part"),), (("fc6",),))))
    <table>
    <caption>Sizes</caption>
    <thead>
    <tr><th scope="col">part</th></tr>
    </thead>
    <tbody>
    <tr><td>fc6</td></tr>
    </tbody>
    </table>
    """
    head = [heading(column) for column in table.columns]
    caption = [f"<caption>{html_text(shown(table.title))}</caption>"] if table.title else []
    body = [_html_row("td", "", row, table.columns) for row in cells_of(table)]
    lines = [
        "<table>",
        *caption,
        "<thead>",
        _html_row("th", ' scope="col"', head, table.columns),
        "</thead>",
        "<tbody>",
        *body,
        "</tbody>",
        "</table>",
    ]
    return "\n".join(lines)


def latex_table(table: Table) -> str:
    r"""Return *table* as a ``tabular``, with its title as caption of a ``table``.

    >>> print(latex_table(Table("", (Column("share", "percent"),), ((0.5,),))))
    \begin{tabular}{r}
    \hline
    share \\
    \hline
    50.00 \% \\
    \hline
    \end{tabular}
    """
    sides = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    lines = [
        f"\\begin{{tabular}}{{{sides}}}",
        r"\hline",
        _latex_row([heading(column) for column in table.columns]),
        r"\hline",
        *(_latex_row(row) for row in cells_of(table)),
        r"\hline",
        r"\end{tabular}",
    ]
    if table.title:
        title = f"\\caption{{{_plain(shown(table.title))}}}"
        lines = [r"\begin{table}", r"\centering", title, *lines, r"\end{table}"]
    return "\n".join(lines)


def _html_row(tag: str, attributes: str, row: Sequence[str], columns: Sequence[Column]) -> str:
    cells = []
    for text, column in zip(row, columns, strict=True):
        look = ' class="long"' if is_long(text) else ""
        if column.kind != "text":
            look = ' style="text-align: right; white-space: nowrap"'
        inside = flowing(text) if is_long(text) else html_text(text)
        cells.append(f"<{tag}{attributes}{look}>{inside}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def _latex_row(row: Sequence[str]) -> str:
    return f"{' & '.join(map(_plain, row))} \\\\"


def _plain(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


FORMS: Mapping[str, Callable[[Table], str]] = {
    "text": _text,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
    "html": html_table,
    "latex": latex_table,
}
