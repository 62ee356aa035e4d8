"""CSV files as a header and rows: strict, so that a damaged file is not half understood."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from offshelf.data.names import counted, shown
from offshelf.errors import DataError


def read_csv(file: Path) -> tuple[list[str], list[Sequence[str]]]:
    """Return the header of *file* and its rows; each row has one cell per column.

    The text is UTF-8; commas, semicolons or tabs separate its cells; blank lines are
    left out. Names with bytes that are not UTF-8 survive as Python's surrogates.

    Raises:
        DataError: the file cannot be read, is empty, or a row is not valid.
    """
    text = read_text(file)
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(
            f"{shown(file)}: line {reader.line_num} is not valid CSV: {error}"
        ) from error
    if not rows:
        raise DataError(f"{shown(file)}: the file is empty")
    header = rows[0]
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise DataError(
                f"{shown(file)}: row {number} below the header has {counted(len(row), 'cell')}, "
                f"the header has {len(header)}"
            )
    return header, list(rows[1:])


def read_text(file: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror}") from error
    return content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def csv_bytes(rows: Sequence[Sequence[str]]) -> bytes:
    r"""Return rows as the bytes of a CSV file.

    >>> csv_bytes([["path", "fold_1"], ["a, b.png", "train"]])
    b'path,fold_1\n"a, b.png",train\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
