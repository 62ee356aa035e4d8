"""Cards: how a result or a record shows itself, in a prompt and in a notebook.

A subclass says what it is in a few pairs of a name and a text, and has a short ``__repr__`` and
an ``_repr_html_`` from here. A dataclass needs ``repr=False`` to keep them.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from offshelf.text import aligned, flowing, html_text, shown

MOST_LINES, MOST_CHARACTERS = 10, 160
MOST_ITEMS, MOST_OF_A_VALUE = 8, 60

# Text keeps the colour of the page around it, which a notebook's own theme decides.
_STYLE = (
    ".offshelf{font-size:.95em;line-height:1.45}"
    ".offshelf .wide{overflow-x:auto;scrollbar-width:thin;scrollbar-color:#8888 transparent}"
    ".offshelf table{border-collapse:collapse;margin:.4em 0 .8em;color:inherit;border:0}"
    ".offshelf caption,.offshelf h4{font-weight:600;text-align:left;margin:0;padding:.2em 0;"
    "color:inherit}"
    ".offshelf th,.offshelf td{padding:.15em 1em .15em 0;text-align:left;vertical-align:top;"
    "border:0;border-bottom:1px solid #8886;background:none;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
    ".offshelf .facts th{font-weight:400;color:inherit;opacity:.75}"
    ".offshelf .facts th,.offshelf .facts td{border:0}"
    ".offshelf .long,.offshelf .facts td{white-space:normal}"
    ".offshelf .long{min-width:16em}"
    ".offshelf p{margin:.4em 0;overflow-wrap:anywhere;white-space:pre-wrap}"
    ".offshelf span{white-space:nowrap}"
    ".offshelf img{max-width:max(100%,48em);height:auto}"
)


class Card(abc.ABC):
    """An object that shows itself as a few facts.

    >>> class Sum(Card):
    ...     def facts(self):
    ...         return [("images", "12"), ("file", "a<b")]
    >>> Sum()
    Sum
    images  12
    file    a<b
    >>> "<td>a&lt;b</td>" in Sum()._repr_html_()
    True
    """

    @abc.abstractmethod
    def facts(self) -> Iterable[tuple[str, str]]:
        """Return what a person wants to know first, each with its name."""

    def __repr__(self) -> str:
        return "\n".join(cut([type(self).__name__, *aligned(self.facts())]))

    def _repr_html_(self) -> str:
        return fragment([f"<h4>{type(self).__name__}</h4>", facts_html(self.facts())])


class Line:
    """A record that ``str`` tells on one line, and that shows itself so."""

    def __repr__(self) -> str:
        return cut([f"<{type(self).__name__} {shown(str(self))}>"])[0]


class Brief:
    """A dataclass that shows its fields on one line: arrays by their shape, the rest cut.

    >>> import dataclasses
    >>> @dataclasses.dataclass(repr=False)
    ... class Digest(Brief):
    ...     content: bytes
    ...     numbers: tuple
    >>> Digest(b"1234", tuple(range(100)))
    Digest(content=4 bytes, numbers=100 items)
    """

    def __repr__(self) -> str:
        values = vars(self)
        fields = (f"{name}={brief(value)}" for name, value in values.items())
        return cut([shown(f"{type(self).__name__}({', '.join(fields)})")])[0]


def brief(value: Any) -> str:
    """Return a value in a few words.

    >>> brief({"weight": b"12"}), brief("x" * 100)[-6:]
    ("{'weight': 2 bytes}", 'xxx...')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {' x '.join(map(str, value.shape)) or 'number'}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, Mapping | tuple | list):
        if len(value) > MOST_ITEMS:
            return f"{len(value):,} items"
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{key!r}: {brief(one)}' for key, one in value.items())}}}"
        return f"({', '.join(map(brief, value))})"
    text = repr(value)
    return text if len(text) <= MOST_OF_A_VALUE else f"{text[: MOST_OF_A_VALUE - 3]}..."


def cut(lines: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """Return at most so many lines, none of them long, and how many more there are.

    >>> cut(["a", "b", "c", "d"], most=3)
    ['a', 'b', '... 2 more lines; print() shows all']
    """
    kept = list(lines) if len(lines) <= most else list(lines[: most - 1])
    if len(kept) < len(lines):
        kept.append(f"... {len(lines) - len(kept):,} more lines; print() shows all")
    return [
        line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 3]}..."
        for line in kept
    ]


def facts_html(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and texts as a table without a head."""
    rows = (
        f'<tr><th scope="row">{html_text(shown(name))}</th><td>{flowing(shown(text))}</td></tr>'
        for name, text in pairs
    )
    return boxed(f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>')


def boxed(content: str) -> str:
    """Return a table or picture in a box of its own, which scrolls where the page is narrower.

    >>> boxed("<table></table>")
    '<div class="wide"><table></table></div>'
    """
    return f'<div class="wide">{content}</div>'


def fragment(parts: Iterable[str]) -> str:
    """Return parts of HTML as one block that brings its style, for light and dark pages."""
    return "\n".join([f'<div class="offshelf"><style>{_STYLE}</style>', *parts, "</div>"])
