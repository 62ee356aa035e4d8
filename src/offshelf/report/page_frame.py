"""The frame of every HTML page: one file with its style, which loads and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from offshelf.text import flowing, html_text, shown

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .2rem; font-size: 1.2rem; border-top: 1px solid var(--line);
  padding-top: 1rem; overflow-wrap: anywhere; }
p { margin: .3rem 0 .8rem; max-width: 60rem; }
.wide { overflow-x: auto; scrollbar-width: thin; }
span { white-space: nowrap; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.long { white-space: normal; min-width: 14rem; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 0; width: 160px; }
figure img, figure .none { width: 160px; height: 160px; object-fit: contain; display: block;
  background: #8882; }
figure .none { line-height: 160px; text-align: center; font-size: .85rem; opacity: .7; }
figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .2rem; }
@media (max-width: 34rem) {
  body { padding: 1rem; }
  th, td { padding-right: .5rem; }
}
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); font-size: .85rem; opacity: .8; }
"""


@dataclass(frozen=True)
class Frame:
    """What stands around the body of a page.

    Attributes:
        title: what the page is about.
        facts: lines under the title.
        made: lines at the foot: with what it was made.
        style: CSS in addition to that of every page.
    """

    title: str
    facts: Sequence[str] = ()
    made: Sequence[str] = ()
    style: str = ""


def framed(frame: Frame, body: Iterable[str]) -> str:
    r"""Return a page as HTML, pure ASCII; *body* is HTML, everything else plain text.

    >>> page = framed(Frame("a<b"), ["<p>body</p>"])
    >>> "<title>a&lt;b</title>" in page, "<main>\n<p>body</p>\n</main>" in page
    (True, True)
    """
    title = plain(frame.title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}{frame.style}</style></head><body>",
            f"<header><h1>{title}</h1>",
            *(f"<p>{prose(fact)}</p>" for fact in frame.facts),
            "</header>",
            "<main>",
            *body,
            "</main>",
            "<footer>",
            *(f"<p>{prose(line)}</p>" for line in frame.made),
            "</footer></body></html>\n",
        ]
    )


def picture(thumbnail: str | None) -> str:
    """Return the picture at a ``data:`` address, or what stands in its place.

    >>> picture(None)
    '<div class="none">no picture</div>'
    """
    if thumbnail is None:
        return '<div class="none">no picture</div>'
    return f'<img alt="" src="{plain(thumbnail)}">'


def plain(text: str) -> str:
    """Return any text for the inside of an element or an attribute."""
    return html_text(shown(text))


def prose(text: str) -> str:
    """Return any text for a line that is read: see :func:`offshelf.text.flowing`."""
    return flowing(shown(text))


def place(name: str) -> str:
    """Return a path that may be broken after a folder, and within a long name.

    >>> place("train/a.png")
    'train/<wbr>a.png'
    >>> place("test/kitchens_of_our_friends.png")
    'test/<wbr>kitchens_<wbr>of_<wbr>our_<wbr>friends.png'
    """
    return "/<wbr>".join(map(prose, name.split("/")))
