"""HTML and LaTeX forms: golden tables, hostile names, and nothing that needs a package."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from offshelf.report.tables.result_rows import Column, Table
from offshelf.report.tables.table_formats import render

TABLE = Table(
    "Layers & shares",
    (Column("layer"), Column("parameters", "integer"), Column("share", "percent")),
    (("conv1_1", 1792, 0.5), ("fc 6", None, 1.0)),
)
HTML = """\
<table>
<caption>Layers &amp; shares</caption>
<thead>
<tr><th scope="col">layer</th>\
<th scope="col" style="text-align: right; white-space: nowrap">parameters</th>\
<th scope="col" style="text-align: right; white-space: nowrap">share</th></tr>
</thead>
<tbody>
<tr><td>conv1_1</td><td style="text-align: right; white-space: nowrap">1,792</td>\
<td style="text-align: right; white-space: nowrap">50.00 %</td></tr>
<tr><td>fc 6</td><td style="text-align: right; white-space: nowrap">-</td>\
<td style="text-align: right; white-space: nowrap">100.00 %</td></tr>
</tbody>
</table>"""
LATEX = r"""\begin{table}
\centering
\caption{Layers \& shares}
\begin{tabular}{lrr}
\hline
layer & parameters & share \\
\hline
conv1\_1 & 1,792 & 50.00 \% \\
fc 6 & - & 100.00 \% \\
\hline
\end{tabular}
\end{table}"""


@pytest.mark.parametrize(("form", "golden"), [("html", HTML), ("latex", LATEX)])
def test_the_forms_are_these(form: str, golden: str):
    assert render(TABLE, form) == golden


class Cells(HTMLParser):
    """Collects the text of the cells and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.tags.add(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and data.strip():
            self.cells[-1] += data


def test_html_keeps_names_and_lets_none_become_markup():
    names = ["<script>alert(1)</script>", 'a" onload="x', "港口 & <b>", "tab\x1b[31m"]
    text = render(Table("", (Column("class"),), tuple((name,) for name in names)), "html")
    reader = Cells()
    reader.feed(text)
    assert text.isascii()
    assert "<caption>" not in text
    assert reader.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert reader.cells == ["class", *names[:3], r"tab\x1b[31m"]


def test_latex_escapes_what_latex_reads():
    text = render(Table("", (Column("class"),), ((r"\a{b}~c^d_e#f$g%h&i<j>k|l",),)), "latex")
    assert text.splitlines()[4] == (
        r"\textbackslash{}a\{b\}\textasciitilde{}c\textasciicircum{}d\_e\#f\$g\%h\&i"
        r"\textless{}j\textgreater{}k\textbar{}l \\"
    )


def test_a_table_without_rows_is_still_whole():
    table = Table("", (Column("class"), Column("images", "integer")), ())
    assert render(table, "html").endswith("<tbody>\n</tbody>\n</table>")
    assert render(table, "latex").splitlines()[-2:] == [r"\hline", r"\end{tabular}"]
