"""Delimited text: CSV as spreadsheets, editors and programs write it.

The standard library's reader has one limit on the length of a cell for the whole process,
which a caption can pass; to raise it would change what other code of the process reads.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from offshelf.errors import DataError
from offshelf.text import counted, shown, spelled

MARKS = ",;\t|"
_LINE = re.compile(r'([^"\r\n]*)(?:\r\n|\n|\r|\Z)')
_END = re.compile(r"\r\n|\n|\r")
# The first line that names the separator to a spreadsheet.
_DECLARED = re.compile(r'"?sep=([^\r\n"])"?[,;\t ]*(?:\r\n|\n|\r)', re.IGNORECASE)


def csv_text(file: Path, *, strict: bool = True) -> str:
    """Return the text of a CSV file: UTF-8 with or without its mark, or UTF-16 with it.

    Where bytes that are not UTF-8 are no error (not *strict*), they survive as Python's
    surrogates, which file names may need.

    Raises:
        DataError: it is no such text.
        OSError: it cannot be read.
    """
    content = file.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding, "strict" if strict else "surrogateescape")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{shown(file)}: row {row} is not UTF-8 text; save it as CSV UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(
            f"{shown(file)}: holds NUL characters, as UTF-16 without its mark does; save it as CSV "
            "UTF-8"
        )
    return text


def csv_rows(file: Path, text: str, column: str = "path") -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row that is not blank, as an editor counts, and its cells.

    The separator is what a line ``sep=;`` says, or else the one that makes *column* a
    cell of the header, or else the most frequent of that line.
    """
    declared = _DECLARED.match(text)
    mark = declared[1] if declared else _separator(text, column)
    for number, cells in _rows(file, text, declared.end() if declared else 0, mark):
        if any(cell.strip() for cell in cells):
            yield number, cells


def _separator(text: str, column: str) -> str:
    first = _END.split(text.lstrip(), maxsplit=1)[0]
    for mark in MARKS:
        if column in [cell.strip().strip('"').lower() for cell in first.split(mark)]:
            return mark
    return max(MARKS, key=first.count)


def _rows(file: Path, text: str, place: int, mark: str) -> Iterator[tuple[int, list[str]]]:
    quoted = re.compile(
        rf'(?:"([^"]*(?:""[^"]*)*)"|((?!")[^{re.escape(mark)}\r\n]*))'
        rf"({re.escape(mark)}|\r\n|\n|\r|\Z)"
    )
    number = 1 + len(_END.findall(text, 0, place))
    while place < len(text):
        line = _LINE.match(text, place)
        if line:
            yield number, line[1].split(mark)
            number, place = number + 1, line.end()
            continue
        cells, start, ended = list[str](), place, False
        while not ended:
            cell = quoted.match(text, place)
            if cell is None:
                closed = re.compile(r'"[^"]*(?:""[^"]*)*"').match(text, place)
                fault = "text follows a closing quote" if closed else "a quote is not closed"
                raise DataError(f"{shown(file)}: row {number} is not valid CSV: {fault}")
            cells.append(cell[2] if cell[1] is None else cell[1].replace('""', '"'))
            place, ended = cell.end(), cell[3] != mark
        yield number, cells
        number += len(_END.findall(text, start, place))


def read_csv(file: Path) -> tuple[list[str], list[Sequence[str]]]:
    """Return the header of *file* and its rows; each row has one cell per column.

    The text is UTF-8; commas, semicolons, tabs or bars separate its cells; blank lines are
    left out. Names with bytes that are not UTF-8 survive as Python's surrogates.

    Raises:
        DataError: the file cannot be read, is empty, or a row is not valid.
    """
    header, rows = numbered_csv(file)
    return header, [row for _, row in rows]


def numbered_csv(file: Path) -> tuple[list[str], list[tuple[int, Sequence[str]]]]:
    """Return the same, each row with its number as an editor counts.

    Raises:
        DataError: as for :func:`read_csv`.
    """
    try:
        found = list(csv_rows(file, csv_text(file, strict=False)))
    except (OSError, ValueError) as error:  # a name that no file can have
        why = getattr(error, "strerror", error)
        raise DataError(f"{shown(file)}: cannot be read: {why}") from error
    if not found:
        raise DataError(f"{shown(file)}: the file is empty")
    (_, header), *rows = found
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{shown(file)}: row {number} has {counted(len(row), 'cell')}, the header has "
                f"{len(header)}"
            )
    return header, [(number, row) for number, row in rows]


def read_text(file: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # a name that no file can have
        why = getattr(error, "strerror", error)
        raise DataError(f"{shown(file)}: cannot be read: {why}") from error
    return content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def csv_bytes(rows: Sequence[Sequence[str]]) -> bytes:
    r"""Return rows as the bytes of a CSV file.

    >>> csv_bytes([["path", "fold_1"], ["a, b.png", "train"]])
    b'path,fold_1\n"a, b.png",train\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return spelled(text.getvalue()).encode()
