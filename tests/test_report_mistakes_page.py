"""The contact sheet of wrong images: what it shows, and that it runs and loads nothing."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from command_run import Run
from offshelf.measurement.metrics import evaluate
from offshelf.prediction import Prediction
from offshelf.report import mistakes_page as pages
from offshelf.report.mistakes import Mistake, mistakes_among
from offshelf.report.mistakes_page import Sheet, mistakes_page, sheet_pictures

HOSTILE = '<script>alert(1)</script>"\x1b&'


class Tags(HTMLParser):
    """The tags of a page, each of which must be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in {"meta", "img", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def mistakes(n: int, names: tuple[str, str] = ("cat", "dog"), share: bool = True) -> list[Mistake]:
    rows = [
        Prediction(
            path=f"/data/{names[1]}/{number}.png",
            status="ok",
            reason="",
            label=names[0],
            scores={names[0]: 1.0, names[1]: 0.0},
            probabilities={names[0]: 0.75, names[1]: 0.25} if share else {},
        )
        for number in range(n)
    ]
    return list(mistakes_among(rows, [names[1]] * n))


def page_of(found: list[Mistake], names: tuple[str, str] = ("cat", "dog")) -> str:
    wrong = len(found)
    targets, said = np.array([1] * wrong + [0]), np.array([0] * (wrong + 1))
    return mistakes_page(
        Sheet(
            title=f"Wrong images of {names[1]}",
            mistakes=found,
            evaluation=evaluate(targets, said, names),
            thumbnails={one.path: "data:image/jpeg;base64,AAAA" for one in found[1:]},
            made=("made",),
        )
    )


def test_every_mistake_is_a_picture_with_both_labels() -> None:
    page = page_of(mistakes(3))
    tags = Tags(page)
    assert (tags.seen.count("figure"), tags.seen.count("img")) == (3, 2)
    assert page.count("no picture") == 1
    assert '<b class="said">cat 75.00&#160;%</b><br>not dog 25.00&#160;%<br>1.png' in page
    assert (
        '<td><a href="#class-1">dog</a></td><td>3</td><td>3</td><td><span>cat 3</span></td>' in page
    )
    assert '<section id="class-1"><h2>dog: 3 of 3 wrong</h2>' in page
    assert "<p>3 of 4 images are wrong; accuracy 25.00&#160;%" in page
    assert "<p>1 of 2 images is wrong; accuracy 50.00&#160;%" in page_of(mistakes(1))


def test_without_probabilities_there_are_none() -> None:
    assert '<b class="said">cat</b><br>not dog<br>' in page_of(mistakes(2, share=False))


def test_names_are_escaped() -> None:
    names = (HOSTILE, f"{HOSTILE} b")
    page = page_of(mistakes(1, names), names)
    assert "script" not in Tags(page).seen
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.isascii()


def test_what_is_not_shown_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PICTURES", 2)
    found = mistakes(5)
    assert len(sheet_pictures(found)) == 2
    page = page_of(found)
    assert "<p>The 2 surest are shown; <span>--errors</span> FILE.csv has 3 more.</p>" in page
    assert page.count("<figure ") == 2
    assert "<h2>dog: 5 of 5 wrong</h2>" in page


def test_without_a_mistake_it_says_so() -> None:
    page = page_of([])
    assert "<p>No image is wrong.</p>" in page
    assert "table" not in Tags(page).seen


def test_it_loads_nothing_and_is_light_and_dark_and_narrow() -> None:
    page = page_of(mistakes(1))
    assert re.findall(r"https?:|url\(|@import|<script|<link", page) == []
    assert "default-src 'none'; img-src data:" in page
    assert "color-scheme: light dark" in page
    assert "width=device-width" in page


def test_on_a_narrow_page_no_name_is_broken_and_the_table_scrolls() -> None:
    page = page_of(mistakes(1, ("tall building", "x" * 41)), ("tall building", "x" * 41))
    assert page.count("<table") == page.count('<div class="wide"><table') == 1
    assert ".wide { overflow-x: auto; " in page
    assert re.search(r"\nth, td \{[^}]*white-space: nowrap", page)
    assert not re.search(r"\btd[^{}]*\{[^}]*overflow-wrap", page)
    assert "<td><span>tall building 1</span></td>" in page
    assert f'<td class="long"><a href="#class-1">{"x" * 40}<wbr>x</a></td>' in page


def test_the_commands_write_it(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = tmp_path / "a & b", tmp_path / "m.offshelf"
    shutil.copytree(scenes, data)
    shutil.move(data / "test" / "noise" / "0.png", data / "test" / "checks" / "n.png")
    for name, command in (("a", ("fit", data, "--out", model)), ("b", ("evaluate", model, data))):
        page = tmp_path / f"{name}.html"
        run = Run(capsys, *command, "--errors-page", page, "--quiet")
        assert (run.code, run.err) == (0, "")
        assert run.out.endswith(f"page written to {page}\n")
        text = page.read_text(encoding="ascii")
        assert "<h1>Wrong images of a &amp; b</h1>" in text
        assert text.count('src="data:image/jpeg;base64,') == 1
        assert "Model: m.offshelf: efficientnet_lite0 penultimate, avg, svm." in text


def test_another_file_is_refused_before_any_work(
    tmp_path: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "notes.html"
    other.write_text("my notes")
    for command in (("fit", scenes), ("evaluate", "none.offshelf", scenes)):
        run = Run(capsys, *command, "--errors-page", other)
        assert run.code == 2
        assert run.err == (
            f"error: {other}: exists and is no HTML page, so it is not replaced; choose another "
            "name\n"
        )


def test_one_file_is_not_written_for_two_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, again = tmp_path / "e.csv", f"{tmp_path}/./e.csv"
    for command in (
        ("fit", "none", "--errors", file, "--errors-page", again),
        ("fit", "none", "--out", file, "--errors-page", again),
        ("evaluate", "none.offshelf", "none", "--errors", file, "--errors-page", again),
        ("audit", "none", "--html", file, "--corrections", again),
        ("audit", "none", "--out", file, "--corrections", again),
    ):
        run = Run(capsys, *command)
        assert run.code == 2
        assert run.err == (f"error: {again}: is to hold two things; give each a file of its own\n")
