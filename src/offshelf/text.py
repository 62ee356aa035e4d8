r"""Text for messages and files: printable names, lists, counts, durations, JSON.

A file name that is not UTF-8 reaches Python with surrogates in place of its bytes, which no
encoding can write. Everything that is written shows such a byte as ``\xe9``.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]+")
# What never stands for a byte: half of a pair.
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_LISTED = 5
# In HTML: a cell that is longer may be broken at its spaces, a word after "/" and "_".
LONGEST_LINE = 40
_LONG_WORD = re.compile(r"\S{21,}")
_PLACE = re.compile(r"([/_]|[^/_\n]{40})(?=.)")
_UNIT = re.compile(r"(?<=\d) (?=%|(?:[kMGT]B|bytes|ms|min|s|h)\b)|(?<= =) (?=\d)| (?== \d)")
# Its dashes would be broken after.
_OPTION = re.compile(r"(?<!\S)--[a-zA-Z][a-zA-Z-]*")


def spelled(name: str) -> str:
    r"""Return *name* without surrogates, as it is written everywhere.

    Bytes that are UTF-8 after all, as where the locale is C, become what they stand for.

    >>> spelled("caf\udce9.png")
    'caf\\xe9.png'
    >>> spelled("caf\udcc3\udca9.png") == "caf\u00e9.png"
    True
    """
    if not _SURROGATES.search(name):
        return name
    whole = _HALVES.sub(lambda found: f"\\u{ord(found[0]):04x}", name)
    return whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(path: str | Path) -> str:
    r"""Return *path* as one printable line.

    >>> shown("a\nb.jpg")
    'a\\nb.jpg'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in spelled(os.fspath(path)))


def listed(names: Iterable[str]) -> str:
    """Return the first names in quotes, and how many more there are.

    >>> listed(["coast", "forest"])
    "'coast', 'forest'"
    >>> listed("abcdefg")
    "'a', 'b', 'c', 'd', 'e' and 2 more"
    """
    every = list(names)
    head = ", ".join(f"'{shown(name)}'" for name in every[:_LISTED])
    return head if len(every) <= _LISTED else f"{head} and {len(every) - _LISTED} more"


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class", "classes")
    ('1 image', '1200 images', '2 classes')
    """
    return f"{number} {noun(number, one, many)}"


def noun(number: int, one: str, many: str = "") -> str:
    """Return the noun that goes with a number, however the number is written.

    >>> f"{1:,} {noun(1, 'group')}", f"{1200:,} {noun(1200, 'group')}"
    ('1 group', '1,200 groups')
    """
    return one if number == 1 else many or one + "s"


def p_text(p: float) -> str:
    """Return a p-value as it is read: no more digits than say something.

    >>> p_text(5.8e-06), p_text(0.0452), p_text(1.0)
    ('< 0.001', '0.045', '1.000')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def aligned(pairs: Iterable[tuple[str, str]]) -> list[str]:
    r"""Return one printable line for each pair of a name and a text, the texts aligned.

    >>> aligned([("images", "12"), ("file", "a\nb")])
    ['images  12', 'file    a\\nb']
    """
    rows = [(shown(name), shown(text)) for name, text in pairs]
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in rows]


def html_text(text: str) -> str:
    """Return *text* for an HTML page of any encoding: ASCII, with references for the rest.

    >>> html_text("<caf\u00e9>")
    '&lt;caf&#233;&gt;'
    """
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def flowing(text: str) -> str:
    """Return *text* for an HTML page, broken only where it can be read on.

    No line ends between a figure and its unit, or in the name of an option; a long path or
    name may be broken after a slash or an underscore, and a digest, which has none, anywhere.

    >>> flowing("92.73 % of b")
    '92.73&#160;% of b'
    >>> flowing("photographs/of_rooms/1.png")
    'photographs/<wbr>of_<wbr>rooms/<wbr>1.png'
    """
    kept = _UNIT.sub("\N{NO-BREAK SPACE}", text)
    parts = _LONG_WORD.sub(lambda word: _PLACE.sub(r"\1\n", word[0]), kept).split("\n")
    return _OPTION.sub(r"<span>\g<0></span>", "<wbr>".join(map(html_text, parts)))


def is_long(text: str) -> bool:
    """Return whether a cell of a page is so long that it may be broken at its spaces."""
    return len(text) > LONGEST_LINE


def drawable(text: str) -> str:
    """Return *text* with a sign in place of each character that cannot be drawn.

    >>> len(drawable(chr(10)))
    1
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in spelled(text))


def duration(seconds: float) -> str:
    """Return a time in the units that a person would use.

    >>> duration(0.5), duration(75), duration(7300)
    ('0.5 s', '1 min 15 s', '2 h 01 min')
    """
    if abs(seconds) < 59.95:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def json_text(document: Any, **layout: Any) -> str:
    r"""Return *document* as JSON that any encoding can hold: ASCII, names as :func:`spelled`.

    Args:
        document: JSON values.
        layout: of :func:`json.dumps`.

    Raises:
        ValueError: a number is not finite.

    >>> json_text({"caf\udce9": "\u00e9"})
    '{"caf\\\\xe9": "\\u00e9"}'
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, **layout)
    text = _SURROGATES.sub(lambda found: spelled(found[0]).replace("\\", "\\\\"), text)
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
