"""The page of a comparison: all in one file, escaped, and a table that sorts by style alone."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import offshelf
from command_run import Run
from made_comparisons import grid, judged, made_row, said_of
from offshelf.jobs.compare.comparison_page import MOST_ROWS, Page, comparison_page
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.fit_command import FitCommand, fit_command
from offshelf.jobs.compare.grid import ProtocolSettings
from offshelf.jobs.setup.settings import RunSettings
from offshelf.report.sortable_table import sortable_table
from offshelf.report.tables.result_rows import Column, Table

pytestmark = pytest.mark.slow


def page_of(rows: tuple[Row, ...], **changes: Any) -> str:
    page = Page(
        data="photos/<b>",
        protocol="given split: 100 images to train, 200 to test",
        test="mcnemar",
        rows=rows,
        findings=("best: <i>: 90.00 %", *said_of(tuple(row for row in rows if row.score))),
        fit=fit_command(rows, "photos/<b>", RunSettings(), ProtocolSettings()),
        failures=({"path": "a&b.jpg", "status": "empty", "reason": "no bytes"},),
        seconds={"total": 2.0},
    )
    return comparison_page(dataclasses.replace(page, **changes))


class Tags(HTMLParser):
    """The elements of a page, of which every one is closed."""

    VOID = frozenset({"meta", "img", "input", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_says_what_came_out_and_how() -> None:
    text = page_of(grid(190, 60, head=("svm", "ridge")))
    for part in (
        "<h1>Comparison of &lt;b&gt;</h1>",
        "<p>2 rows, given split: 100 images to train, 200 to test.</p>",
        "<p>All rows: efficientnet_lite0 penultimate, avg pooling, l2 normalisation, "
        "C&#160;=&#160;1, ",
        '<p class="headline">Best: &lt;i&gt;: 90.00&#160;%</p>',
        "<li>svm against ridge: +30 points, a real difference</li>",
        "<h2>A model of the best row</h2>",
        "offshelf fit &#x27;photos/&lt;b&gt;&#x27; <span>--backbone</span> efficientnet_lite0 ",
        "&lt; 0.001",
        "McNemar's exact test on the test images",
        "left out: a&amp;b.jpg: empty, no bytes",
        "<p>Time: 2.0&#160;s.</p>",
        "This page loads nothing from anywhere and runs nothing.",
    ):
        assert part in text, part


def test_the_page_loads_and_runs_nothing() -> None:
    text = page_of(grid(190, 6, head=("svm", "ridge"), weights=("trained", "random")))
    assert text.isascii()
    found = Tags(text).found
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found}
    addresses = [attrs[name] for _, attrs in found for name in ("src", "href") if name in attrs]
    assert len(addresses) == 3
    assert all(str(one).startswith("data:image/png;base64,") for one in addresses)
    assert not re.search(r"https?:|url\(|@import|\bon\w+=", text)
    policy = next(attrs for _, attrs in found if "http-equiv" in attrs)
    assert str(policy["content"]).startswith("default-src 'none'")


def test_columns_are_what_varies() -> None:
    text = page_of(grid(190, 6, head=("svm", "ridge"), weights=("trained", "random")))
    heads = re.findall(r'<label for="by\d+">([^<]*)</label>', text)
    assert heads[:5] == ["weights", "head", "accuracy", "95 % interval", "balanced"]
    assert "backbone" not in heads
    names = [attrs.get("aria-label") for tag, attrs in Tags(text).found if tag == "input"]
    assert names == [f"sort by {head}" for head in heads]


def orders(table: Table, falling: list[str]) -> list[list[int]]:
    """Return for each column the rows in the order that a click gives."""
    text = "\n".join(sortable_table(table, falling, [False] * len(table.rows)))
    styles = re.findall(r'<tr style="([^"]*)"', text)
    ranks = [[int(one.partition(":")[2]) for one in style.split(";")] for style in styles]
    return [
        sorted(range(len(ranks)), key=lambda row, place=place: ranks[row][place])
        for place in range(len(table.columns))
    ]


def test_a_click_sorts_the_best_first_and_what_is_missing_last() -> None:
    columns = Column("name"), Column("accuracy", "percent"), Column("fit", "seconds")
    rows = (("b", 0.5, 3.0), ("A", 0.9, None), ("c", None, 1.0), ("a", 0.9, 2.0))
    assert orders(Table("", columns, rows), ["accuracy"]) == [
        [1, 3, 0, 2],
        [1, 3, 0, 2],
        [2, 3, 0, 1],
    ]


def test_style_gives_the_order_of_the_choice() -> None:
    text = page_of(grid(190, 6, head=("svm", "ridge")))
    assert "#by0:checked~.wide tbody tr{order:var(--o0)}" in text
    assert text.count('type="radio" name="by"') == text.count("<label for=")


def test_rows_that_cannot_be_told_from_the_best_are_set_off() -> None:
    text = page_of(grid(190, 60, head=("svm", "ridge", "lda")))
    assert text.count('<tr class="best"') == 1


def test_a_row_without_a_head_keeps_its_reason() -> None:
    good = judged([made_row(180)])
    bad = dataclasses.replace(made_row(1, head="lda"), score=None, cost=None, problem="no <head>")
    assert ">no &lt;head&gt;</td>" in page_of((*good, bad))


def test_very_many_rows_are_counted() -> None:
    rows = grid(199, 0, c=tuple(float(n) for n in range(1, MOST_ROWS + 8)))
    text = page_of(rows, fit=FitCommand("", ("no row can be made by fit: a reason",)))
    assert text.count("<tr ") == MOST_ROWS
    assert "<p>7 more rows; a file of --out that ends in .csv has all.</p>" in text
    assert "<p>no row can be made by fit: a reason</p>" in text
    assert "<pre>" not in text


def test_the_command_writes_the_page(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.html"
    run = Run(capsys, "compare", scenes, "--heads", "svm,ridge", "--out", out, "--quiet")
    assert run.code == 0
    assert f"written: {out}" in run.out
    text = out.read_text()
    Tags(text)
    assert text.startswith("<!doctype html>")
    for line in offshelf.compare(scenes, heads=["svm", "ridge"]).findings[1:]:
        assert line.partition("(")[0].replace("'", "&#x27;").replace("<", "&lt;") in text


def test_another_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.html"
    out.write_text("not a page")
    run = Run(capsys, "compare", tmp_path, "--out", out, "--quiet")
    assert run.code == 2
    assert run.err == (
        f"error: {out}: exists and is no HTML page, so it is not replaced; choose another name\n"
    )
    assert out.read_text() == "not a page"
