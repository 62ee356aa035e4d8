"""Findings as rows, as a table, as lines, and as a page that loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from offshelf.report import findings_page as pages
from offshelf.report.findings import (
    TITLES,
    Finding,
    ImageRef,
    Severity,
    by_kind,
    finding_line,
    short_names,
    summary_table,
)
from offshelf.report.findings_page import Page, findings_page, pictured

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def made(kind: str, severity: Severity = "note", *names: str) -> Finding:
    images = tuple(ImageRef(f"/data/{name}", "a class", "train") for name in names)
    return Finding(
        kind=kind, severity=severity, reason="a reason", images=images, figures={"n": len(names)}
    )


def page_of(*findings: Finding, thumbnails: dict[str, str] | None = None) -> str:
    sentences = dict.fromkeys(TITLES, "a sentence")
    return findings_page(
        Page(
            title="Audit",
            facts=("a fact",),
            findings=findings,
            sentences=sentences,
            thumbnails=thumbnails or {},
            made=("x",),
        )
    )


class Tags(HTMLParser):
    """Collects tags and addresses, and checks that tags close in order."""

    VOID = frozenset({"meta", "img", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(("kind", "severity"), [("drak", "note"), ("dark", "bad")])
def test_kinds_and_severities_are_known(kind: str, severity: Severity) -> None:
    with pytest.raises(ValueError, match=f"no finding is a '{severity}' of kind '{kind}'"):
        Finding(kind=kind, severity=severity, reason="x")


def test_a_finding_as_json() -> None:
    assert made("dark", "note", "a.png").to_json() == {
        "kind": "dark",
        "severity": "note",
        "reason": "a reason",
        "images": [{"path": "/data/a.png", "label": "a class", "split": "train"}],
        "figures": {"n": 1},
    }


def test_kinds_keep_their_order_and_their_rows_theirs() -> None:
    first, second, third = made("dark"), made("identical", "error"), made("dark", "note", "b")
    found = by_kind([first, second, third])
    assert list(found) == list(TITLES)
    assert found["dark"] == (first, third)
    assert found["identical"] == (second,)
    assert found["blurred"] == ()


def test_the_summary_counts_severities() -> None:
    rows = summary_table([made("identical", "error"), made("identical", "warning")]).rows
    assert len(rows) == len(TITLES)
    assert rows[1] == ("Byte-identical images", 2, 1, 1, 0)
    assert rows[2][1:] == (0, 0, 0, 0)


NAMES = {f"/data/{n}": n for n in "abcdef"}
LINES = [
    (made("identical", "error", *"abcdef"), "error    a = b = c = d = e = f: a reason"),
    (made("near_duplicate", "warning", *"abcdef"), "warning  a, b, c, d and 2 more: a reason"),
    (made("dark", "note", "a"), "note     a: a reason"),
    (made("small_class", "warning"), "warning  a reason"),
]


@pytest.mark.parametrize(("finding", "line"), LINES)
def test_lines(finding: Finding, line: str) -> None:
    assert finding_line(finding, NAMES) == line


def test_a_name_cannot_steer_the_terminal() -> None:
    line = finding_line(made("dark", "note", "\x1b[2J"), {})
    assert line == "note     /data/\\x1b[2J: a reason"


SHORT = [
    (["/d/train/a.png", "/d/test/b.png"], "/d", ["train/a.png", "test/b.png"]),
    (["/d/a.png"], "/d", ["a.png"]),
    (["d/x/a.png", "d/x/b.png"], "d/x", ["a.png", "b.png"]),
    (["a.png", "b.png"], "", ["a.png", "b.png"]),
    (["/d/a.png", "b.png"], "", ["/d/a.png", "b.png"]),
    ([], "", []),
]


@pytest.mark.parametrize(("paths", "folder", "expected"), SHORT)
def test_short_names(paths: list[str], folder: str, expected: list[str]) -> None:
    found, names = short_names(paths)
    assert (found, [names[path] for path in paths]) == (folder, expected)


def test_the_page_is_whole_and_loads_nothing() -> None:
    findings = (made("identical", "error", "a", "b"), made("small_class", "warning"))
    text = page_of(*findings, thumbnails={"/data/a": PIXEL, "/data/b": PIXEL})
    tags = Tags(text)
    assert tags.seen.count("img") == 2
    assert tags.seen.count("section") == 2
    assert set(tags.addresses) == {PIXEL, "#identical", "#small_class"}
    assert "script" not in tags.seen
    assert not re.search(r"https?:|//|@import|url\(", text.replace(PIXEL, ""))
    assert "default-src 'none'; img-src data:" in text
    for said in ("a fact", "a sentence", "a reason", "Byte-identical images: 1"):
        assert said in text


def test_names_are_text_on_the_page() -> None:
    image = ImageRef('/data/"><script>\udc80é\x1b.png', "<b>cat</b>", "train")
    finding = Finding(kind="dark", severity="note", reason="<i>dark</i> & cold", images=(image,))
    text = page_of(finding)
    assert text.isascii()
    Tags(text)
    assert "<script>" not in text
    assert "<b>cat" not in text
    assert "&lt;i&gt;dark&lt;/i&gt; &amp; cold" in text
    assert "\\x80&#233;\\x1b.png" in text


def test_a_missing_picture_has_a_place() -> None:
    assert '<div class="none">no picture</div>' in page_of(made("unreadable", "error", "a"))


def test_a_page_of_nothing() -> None:
    text = page_of()
    Tags(text)
    assert "Nothing was found." in text
    assert "<section" not in text


def test_the_page_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FINDINGS_PER_KIND", 2)
    monkeypatch.setattr(pages, "IMAGES_PER_FINDING", 3)
    findings = [made("identical", "error", *"abcde"), *(made("dark", "note", n) for n in "acx")]
    assert pictured(findings) == ["/data/a", "/data/b", "/data/c"]
    text = page_of(*findings)
    assert text.count("<figure") == 3 + 2
    assert "And 2 more images." in text
    flat = text.replace("\n", "")
    assert "And 1 more, not pictured.</summary><ul><li>note     x: a reason</li></ul>" in flat
    assert "<li>train a class d</li><li>train a class e</li>" in flat
