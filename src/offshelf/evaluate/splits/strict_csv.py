"""CSV files as a header and rows: strict, so that a damaged file is not half understood."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from offshelf.data.tables.delimited import csv_rows, csv_text
from offshelf.errors import DataError
from offshelf.text import counted, shown, spelled


def read_csv(file: Path) -> tuple[list[str], list[Sequence[str]]]:
    """Return the header of *file* and its rows; each row has one cell per column.

    The text is UTF-8; commas, semicolons, tabs or bars separate its cells; blank lines are
    left out. Names with bytes that are not UTF-8 survive as Python's surrogates.

    Raises:
        DataError: the file cannot be read, is empty, or a row is not valid.
    """
    try:
        found = list(csv_rows(file, csv_text(file, strict=False)))
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror}") from error
    if not found:
        raise DataError(f"{shown(file)}: the file is empty")
    (_, header), *rows = found
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{shown(file)}: row {number} has {counted(len(row), 'cell')}, the header has "
                f"{len(header)}"
            )
    return header, [row for _, row in rows]


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
    return spelled(text.getvalue()).encode()
