r"""Tables for documents: an HTML table, and a LaTeX one that needs no package.

Both are pure ASCII where they can be, so that no declaration of an encoding is needed:
other characters are references in HTML; LaTeX reads UTF-8 by itself.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from offshelf.report.tables.cells import cells_of, heading
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import shown

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
    caption = [f"<caption>{_escaped(shown(table.title))}</caption>"] if table.title else []
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
        side = "" if column.kind == "text" else ' style="text-align: right"'
        cells.append(f"<{tag}{attributes}{side}>{_escaped(text)}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def _escaped(text: str) -> str:
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _latex_row(row: Sequence[str]) -> str:
    return f"{' & '.join(map(_plain, row))} \\\\"


def _plain(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)
