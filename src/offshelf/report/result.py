r"""Results: what a job returns, and how it is looked at.

A result lists its blocks, as a person reads them: tables, facts and lines. Its text
(that of its command), its page in a notebook and its frame are made of them here.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offshelf.card import Card, boxed, facts_html, fragment
from offshelf.errors import DataError, MissingExtraError
from offshelf.report.pictures.picture import Picture
from offshelf.report.summary import facts_text
from offshelf.report.tables.result_rows import Table
from offshelf.report.tables.table_formats import html_table, render
from offshelf.text import flowing, shown

if TYPE_CHECKING:
    import pandas

# Of a table or of lines that follow one another, in a notebook.
MOST_ROWS = 40


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and a text, one below the other."""

    pairs: tuple[tuple[str, str], ...]


# A text is one line; "" is an empty one between blocks.
Block = str | Facts | Table


class Result(Card):
    r"""What a job returns: ``print`` shows what its command prints.

    >>> class Count(Result):
    ...     def facts(self):
    ...         return [("images", "12")]
    ...     def blocks(self):
    ...         return [Facts(tuple(self.facts())), "", "that is all"]
    ...     def to_json(self):
    ...         return {"n": 12}
    >>> print(Count())
    images  12
    <BLANKLINE>
    that is all
    """

    @abc.abstractmethod
    def blocks(self) -> Iterable[Block]:
        """Return what a person reads, from the top."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document, that of ``--json``."""

    def data_table(self) -> Table | None:
        """Return the table of :meth:`to_frame`, by default the first table; None without any."""
        return next((block for block in self.blocks() if isinstance(block, Table)), None)

    def to_frame(self) -> pandas.DataFrame:
        """Return the rows as a pandas frame, numbers as they are.

        Raises:
            MissingExtraError: pandas is not installed.
            DataError: the result has no rows.
        """
        table = self.data_table()
        if table is None:
            raise DataError(f"{type(self).__name__}: has no rows for a frame; to_json() has all")
        return frame([column.name for column in table.columns], table.rows)

    def pictures(self) -> Sequence[Picture]:
        """Return the pictures that a notebook shows above the blocks."""
        return ()

    def __str__(self) -> str:
        return blocks_text(self.blocks())

    def _repr_html_(self) -> str:
        images = (picture.image() for picture in self.pictures())
        return fragment([*images, *_parts(self.blocks())])


class Charted(Result):
    """A result that can be drawn: a notebook shows its chart below its text."""

    @abc.abstractmethod
    def plot(self) -> Picture:
        """Return the chart."""

    def _repr_html_(self) -> str:
        return fragment([*_parts(self.blocks()), *self._chart()])

    def _chart(self) -> list[str]:
        # What cannot be drawn must not hide the text; plot() says why.
        try:
            return [self.plot().image("svg")]
        except Exception:
            return []


class Drawn(Result):
    """A result that is a picture before all, and shows it in a notebook."""

    @abc.abstractmethod
    def plot(self) -> Picture:
        """Return the picture."""

    def pictures(self) -> Sequence[Picture]:
        """Return the picture, or several."""
        return [self.plot()]

    def _repr_png_(self) -> bytes:
        return self.plot().to_bytes()


def frame(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> pandas.DataFrame:
    """Return rows as a pandas frame.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    require_pandas()
    import pandas

    return pandas.DataFrame(list(rows), columns=list(names))


def require_pandas() -> None:
    """Raise MissingExtraError unless pandas is installed."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise MissingExtraError("to_frame (pandas)", "frames") from None


def blocks_text(blocks: Iterable[Block]) -> str:
    r"""Return blocks as text for a person.

    What could steer a terminal is shown as escapes.

    >>> blocks_text(["one", "", "two\x1b"])
    'one\n\ntwo\\x1b'
    """
    text = "\n".join(map(_text, blocks))
    return "\n".join(map(shown, text.split("\n")))


def _text(block: Block) -> str:
    if isinstance(block, str):
        return block
    return facts_text(block.pairs) if isinstance(block, Facts) else render(block)


def _parts(blocks: Iterable[Block]) -> Iterator[str]:
    for is_text, group in itertools.groupby(blocks, lambda block: isinstance(block, str)):
        if is_text:
            yield from _paragraphs([str(line) for line in group])
            continue
        for block in group:
            if isinstance(block, Table):
                yield _table(block)
            elif isinstance(block, Facts):
                yield facts_html(block.pairs)


def _table(table: Table) -> str:
    left = len(table.rows) - MOST_ROWS
    if left <= 0:
        return boxed(html_table(table))
    head = dataclasses.replace(table, rows=table.rows[:MOST_ROWS])
    more = f"<p>... {left:,} more rows; to_frame() and to_json() have all</p>"
    return f"{boxed(html_table(head))}\n{more}"


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    room = MOST_ROWS
    for blank, group in itertools.groupby(lines, lambda line: not line):
        kept = [] if blank else list(itertools.islice(group, room))
        room -= len(kept)
        if kept:
            yield f"<p>{'<br>'.join(flowing(shown(line)) for line in kept)}</p>"
    left = sum(map(bool, lines)) - (MOST_ROWS - room)
    if left:
        yield f"<p>... {left:,} more lines; print() shows all</p>"
