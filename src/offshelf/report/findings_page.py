"""Findings as one self-contained HTML page with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offshelf.report.findings import (
    SEVERITIES,
    TITLES,
    Finding,
    ImageRef,
    by_kind,
    finding_line,
    short_names,
)
from offshelf.report.page_frame import Frame, framed, picture, place, plain, prose

FINDINGS_PER_KIND = 100
IMAGES_PER_FINDING = 12

_STYLE = """
.cards { display: flex; flex-wrap: wrap; gap: .8rem; }
.card { border: 1px solid var(--line); border-top-width: 3px; border-radius: 6px;
  padding: .5rem; background: var(--soft); max-width: 100%; box-sizing: border-box; }
.card.error { border-top-color: #c62828; }
.card.warning { border-top-color: #e08600; }
.card.note { border-top-color: #4a7fb5; }
/* The pictures decide how wide a card is; its text wraps within that. */
.reason { margin: .4rem 0 0; font-size: .85rem; overflow-wrap: anywhere; width: 0;
  min-width: 100%; }
.summary td:first-child { white-space: normal; }
.images { display: flex; flex-wrap: wrap; gap: .5rem; }
.card { display: flex; flex-direction: column; width: min-content; min-width: 168px; }
.card.wide { width: auto; }
b.train, b.test { padding: 0 .35em; border-radius: 3px; color: #fff; font-weight: 600; }
b.train { background: #2e6f40; }
b.test { background: #6a4c93; }
b.error { color: #c62828; color: light-dark(#b71c1c, #ff8a80); }
b.warning { color: #b26a00; color: light-dark(#9a5b00, #ffb74d); }
b.note { color: #4a7fb5; color: light-dark(#2f6299, #90caf9); }
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page says.

    Attributes:
        title: what was looked at.
        facts: lines under the title.
        findings: what was found.
        sentences: for every kind of finding, what it is.
        thumbnails: path -> ``data:`` address of a small picture; a path may be missing.
        made: lines at the foot: with what it was made.
    """

    title: str
    facts: Sequence[str]
    findings: Sequence[Finding]
    sentences: Mapping[str, str]
    thumbnails: Mapping[str, str]
    made: Sequence[str]


def pictured(findings: Sequence[Finding]) -> list[str]:
    """Return the paths of the images that the page shows, each once."""
    return list(
        dict.fromkeys(
            image.path
            for found in by_kind(findings).values()
            for finding in found[:FINDINGS_PER_KIND]
            for image in finding.images[:IMAGES_PER_FINDING]
        )
    )


def findings_page(page: Page) -> str:
    """Return the page as HTML, pure ASCII.

    >>> page = Page(title="a<b", facts=(), findings=(), sentences={}, thumbnails={}, made=())
    >>> text = findings_page(page)
    >>> "<title>a&lt;b</title>" in text, "Nothing was found." in text
    (True, True)
    """
    names = short_names([image.path for finding in page.findings for image in finding.images])[1]
    body = [
        *(_summary(page.findings) if page.findings else ["<p>Nothing was found.</p>"]),
        *(line for kind in TITLES for line in _section(page, kind, names)),
    ]
    return framed(Frame(page.title, page.facts, page.made, _STYLE), body)


def _summary(findings: Sequence[Finding]) -> Iterator[str]:
    yield '<div class="wide"><table class="summary"><thead><tr><th>looked for</th>'
    yield "".join(f"<th>{severity}s</th>" for severity in SEVERITIES) + "</tr></thead><tbody>"
    for kind, found in by_kind(findings).items():
        title = TITLES[kind]
        name = f'<a href="#{kind}">{title}</a>' if found else title
        counts = [sum(f.severity == severity for f in found) for severity in SEVERITIES]
        pairs = zip(SEVERITIES, counts, strict=True)
        cells = [f'<td><b class="{s}">{n:,}</b></td>' if n else "<td>0</td>" for s, n in pairs]
        yield f"<tr><td>{name}</td>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _section(page: Page, kind: str, names: Mapping[str, str]) -> Iterator[str]:
    found = by_kind(page.findings)[kind]
    if not found:
        return
    yield f'<section id="{kind}"><h2>{TITLES[kind]}: {len(found):,}</h2>'
    yield f'<p>{prose(page.sentences.get(kind, ""))}</p><div class="cards">'
    for finding in found[:FINDINGS_PER_KIND]:
        yield from _card(finding, page.thumbnails, names)
    yield "</div>"
    if len(found) > FINDINGS_PER_KIND:
        lines = [finding_line(one, names) for one in found[FINDINGS_PER_KIND:]]
        yield from _folded(f"And {len(lines):,} more, not pictured.", lines)
    yield "</section>"


def _folded(summary: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"<details><summary>{prose(summary)}</summary><ul>"
    yield from (f"<li>{prose(line)}</li>" for line in lines)
    yield "</ul></details>"


def _card(
    finding: Finding, thumbnails: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[str]:
    wide = " wide" if len(finding.images) != 1 else ""
    yield f'<article class="card {finding.severity}{wide}"><div class="images">'
    for image in finding.images[:IMAGES_PER_FINDING]:
        yield _figure(image, thumbnails.get(image.path), names[image.path])
    reason = f'<b class="{finding.severity}">{finding.severity}</b> {prose(finding.reason)}'
    yield f'</div><p class="reason">{reason}</p>'
    if more := finding.images[IMAGES_PER_FINDING:]:
        lines = [f"{one.split} {one.label} {names[one.path]}" for one in more]
        yield from _folded(f"And {len(more):,} more images.", lines)
    yield "</article>"


def _figure(image: ImageRef, thumbnail: str | None, name: str) -> str:
    split, label = plain(image.split), prose(image.label)
    return (
        f'<figure title="{plain(image.path)}">{picture(thumbnail)}'
        f'<figcaption><b class="{split}">{split}</b> {label}<br>{place(name)}</figcaption></figure>'
    )
