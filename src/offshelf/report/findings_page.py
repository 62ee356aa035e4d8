"""Findings as one self-contained HTML page with pictures."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from offshelf.report.findings import SEVERITIES, TITLES, Finding, ImageRef, by_kind, short_names
from offshelf.text import html_text, shown

FINDINGS_PER_KIND = 100
IMAGES_PER_FINDING = 12

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .2rem; font-size: 1.2rem; border-top: 1px solid var(--line);
  padding-top: 1rem; }
p { margin: .3rem 0 .8rem; max-width: 60rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; }
.card { border: 1px solid var(--line); border-top-width: 3px; border-radius: 6px;
  padding: .5rem; background: var(--soft); max-width: 100%; box-sizing: border-box; }
.card.error { border-top-color: #c62828; }
.card.warning { border-top-color: #e08600; }
.card.note { border-top-color: #4a7fb5; }
/* The pictures decide how wide a card is; its text wraps within that. */
.reason { margin: .4rem 0 0; font-size: .85rem; overflow-wrap: anywhere; width: 0;
  min-width: 100%; }
.images { display: flex; flex-wrap: wrap; gap: .5rem; }
.card { display: flex; flex-direction: column; width: min-content; min-width: 168px; }
.card.wide { width: auto; }
figure { margin: 0; width: 160px; }
figure img, figure .none { width: 160px; height: 160px; object-fit: contain; display: block;
  background: #8882; }
figure .none { line-height: 160px; text-align: center; font-size: .85rem; opacity: .7; }
figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .2rem; }
b.train, b.test { padding: 0 .35em; border-radius: 3px; color: #fff; font-weight: 600; }
b.train { background: #2e6f40; }
b.test { background: #6a4c93; }
b.error { color: #c62828; color: light-dark(#b71c1c, #ff8a80); }
b.warning { color: #b26a00; color: light-dark(#9a5b00, #ffb74d); }
b.note { color: #4a7fb5; color: light-dark(#2f6299, #90caf9); }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); font-size: .85rem; opacity: .8; }
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
    title = _text(page.title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<header><h1>{title}</h1>",
            *(f"<p>{_text(fact)}</p>" for fact in page.facts),
            "</header><main>",
            *(_summary(page.findings) if page.findings else ["<p>Nothing was found.</p>"]),
            *(line for kind in TITLES for line in _section(page, kind, names)),
            "</main><footer>",
            *(f"<p>{_text(line)}</p>" for line in page.made),
            "</footer></body></html>\n",
        ]
    )


def _summary(findings: Sequence[Finding]) -> Iterator[str]:
    yield "<table><thead><tr><th>looked for</th>"
    yield "".join(f"<th>{severity}s</th>" for severity in SEVERITIES) + "</tr></thead><tbody>"
    for kind, found in by_kind(findings).items():
        title = TITLES[kind]
        name = f'<a href="#{kind}">{title}</a>' if found else title
        counts = [sum(f.severity == severity for f in found) for severity in SEVERITIES]
        pairs = zip(SEVERITIES, counts, strict=True)
        cells = [f'<td><b class="{s}">{n:,}</b></td>' if n else "<td>0</td>" for s, n in pairs]
        yield f"<tr><td>{name}</td>{''.join(cells)}</tr>"
    yield "</tbody></table>"


def _section(page: Page, kind: str, names: Mapping[str, str]) -> Iterator[str]:
    found = by_kind(page.findings)[kind]
    if not found:
        return
    yield f'<section id="{kind}"><h2>{TITLES[kind]}: {len(found):,}</h2>'
    yield f'<p>{_text(page.sentences.get(kind, ""))}</p><div class="cards">'
    for finding in found[:FINDINGS_PER_KIND]:
        yield from _card(finding, page.thumbnails, names)
    yield "</div>"
    if len(found) > FINDINGS_PER_KIND:
        yield f"<p>And {len(found) - FINDINGS_PER_KIND:,} more, not pictured.</p>"
    yield "</section>"


def _card(
    finding: Finding, thumbnails: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[str]:
    wide = " wide" if len(finding.images) != 1 else ""
    yield f'<article class="card {finding.severity}{wide}"><div class="images">'
    for image in finding.images[:IMAGES_PER_FINDING]:
        yield _figure(image, thumbnails.get(image.path), names[image.path])
    more = len(finding.images) - IMAGES_PER_FINDING
    extra = f" And {more:,} more images." if more > 0 else ""
    reason = f'<b class="{finding.severity}">{finding.severity}</b> {_text(finding.reason)}{extra}'
    yield f'</div><p class="reason">{reason}</p></article>'


def _figure(image: ImageRef, thumbnail: str | None, name: str) -> str:
    picture = '<div class="none">no picture</div>'
    if thumbnail is not None:
        picture = f'<img alt="" src="{html.escape(thumbnail)}">'
    split, label = html.escape(image.split), _text(image.label)
    # A long name breaks after a folder, where it can.
    place = _text(name).replace("/", "/<wbr>")
    return (
        f'<figure title="{_text(image.path)}">{picture}'
        f'<figcaption><b class="{split}">{split}</b> {label}<br>{place}</figcaption></figure>'
    )


def _text(text: str) -> str:
    return html_text(shown(text))
