"""A table on a page that is sorted by a click on a heading, without a script.

Each heading is the label of a hidden choice, and style gives the rows the order of the choice
that is made. A browser that does not know subgrids shows the order of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offshelf.report.page_frame import plain, prose
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import cells_of, heading
from offshelf.text import is_long

STYLE = """
.sortable { position: relative; }
.sortable > input { position: absolute; opacity: 0; pointer-events: none; }
.wide table { margin: .5rem 0 1rem; }
.wide th, .wide td { padding: .25rem .9rem .25rem .2rem; text-align: right; }
.wide th.text, .wide td.text { text-align: left; }
.wide th label { cursor: pointer; }
.wide th label:hover { text-decoration: underline; }
.wide tbody tr.best { font-weight: 600; }
.wide tbody tr:hover { background: var(--soft); }
@supports (grid-template-columns: subgrid) {
  .wide table { display: grid; width: max-content; max-width: none; }
  .wide thead, .wide tbody, .wide tr { display: grid; grid-column: 1 / -1;
    grid-template-columns: subgrid; }
  .wide td.long { max-width: 22rem; }
}
"""


def sortable_table(table: Table, falling: Sequence[str], marked: Sequence[bool]) -> Iterator[str]:
    r"""Yield the table as HTML, with the style of its own.

    Args:
        table: its title is not shown.
        falling: names of the columns of which the largest value comes first.
        marked: for each row whether it is set off.

    >>> rows = Table("", (Column("name"), Column("n", "integer")), (("b", 2), ("a<", 1)))
    >>> text = "".join(sortable_table(rows, ["n"], [True, False]))
    >>> 'style="--o0:2;--o1:1"' in text, "<td class=\"text\">a&lt;</td>" in text
    (True, True)
    """
    columns = table.columns
    orders = [
        _order([row[place] for row in table.rows], column.name in falling)
        for place, column in enumerate(columns)
    ]
    yield f"<style>{''.join(_rules(len(columns)))}</style>"
    yield '<div class="sortable">'
    for place, column in enumerate(columns):
        name = plain(heading(column))
        yield f'<input type="radio" name="by" id="by{place}" aria-label="sort by {name}">'
    yield f'<div class="wide"><table style="grid-template-columns:repeat({len(columns)},auto)">'
    heads = (
        f'<th scope="col"{_side(column)}><label for="by{place}">{plain(heading(column))}</label>'
        "</th>"
        for place, column in enumerate(columns)
    )
    yield f"<thead><tr>{''.join(heads)}</tr></thead><tbody>"
    for number, texts in enumerate(cells_of(table)):
        order = ";".join(f"--o{place}:{ranks[number]}" for place, ranks in enumerate(orders))
        cells = zip(texts, columns, strict=True)
        inside = "".join(f"<td{_side(column, text)}>{prose(text)}</td>" for text, column in cells)
        best = ' class="best"' if marked[number] else ""
        yield f'<tr{best} style="{order}">{inside}</tr>'
    yield "</tbody></table></div></div>"


def _side(column: Column, text: str = "") -> str:
    if column.kind != "text":
        return ""
    return ' class="text long"' if is_long(text) else ' class="text"'


def _rules(count: int) -> Iterator[str]:
    for place in range(count):
        chosen, head = f"#by{place}", f"~.wide th:nth-child({place + 1}) label"
        yield f"{chosen}:checked~.wide tbody tr{{order:var(--o{place})}}"
        yield f"{chosen}:checked{head}{{text-decoration:underline;text-decoration-thickness:2px}}"
        yield f"{chosen}:focus-visible{head}{{outline:2px solid;outline-offset:2px}}"


def _order(cells: Sequence[Cell], falling: bool) -> list[int]:
    """Return the rank of each cell; equal ones in their order, what is missing last."""
    known = [place for place, cell in enumerate(cells) if cell is not None]
    known.sort(key=lambda place: _key(cells[place]), reverse=False)
    if falling:
        known.sort(key=lambda place: _key(cells[place]), reverse=True)
    missing = [place for place, cell in enumerate(cells) if cell is None]
    ranks = {place: rank for rank, place in enumerate([*known, *missing], start=1)}
    return [ranks[place] for place in range(len(cells))]


def _key(cell: Cell) -> tuple[float, str]:
    return (0.0, cell.casefold()) if isinstance(cell, str) else (float(cell or 0), "")
