"""The cells of a CSV or Parquet file: three columns as text, with the numbers of the rows."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from offshelf.data.names import counted, listed, shown
from offshelf.errors import DataError, did_you_mean

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
TABLE_SUFFIXES = CSV_SUFFIXES | PARQUET_SUFFIXES
COLUMNS = ("path", "label", "split")


class Cells(NamedTuple):
    """One row of the file as text, "" for what it does not have.

    ``number`` is what a person finds the row by: the header of a CSV file is row 1, as
    in an editor or a spreadsheet; the first row of a Parquet file is row 1.
    """

    number: int
    path: str
    label: str
    split: str


def read_cells(file: Path, needed: Sequence[str]) -> list[Cells]:
    """Read the columns ``path``, ``label`` and ``split`` of *file*.

    A CSV file is UTF-8 (or UTF-16 with its mark), separated by commas, semicolons or
    tabs. Column names may be in any case and order; other columns are ignored.

    Raises:
        DataError: the file cannot be read, is empty, is damaged, or lacks one of the
            *needed* columns.
    """
    try:
        if file.stat().st_size == 0:
            raise DataError(f"{shown(file)}: the file is empty; it needs the columns path,label")
        if file.suffix.lower() in PARQUET_SUFFIXES:
            return list(_parquet_cells(file, needed))
        return list(_csv_cells(file, needed))
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror}") from error


def _csv_cells(file: Path, needed: Sequence[str]) -> Iterator[Cells]:
    lines = _csv_rows(file)
    try:
        _, header = next(lines)
    except StopIteration:
        return
    places = _places(file, header, needed)
    for number, values in lines:
        if len(values) != len(header):
            raise DataError(
                f"{shown(file)}: row {number} has {counted(len(values), 'cell')} and the header "
                f"{len(header)}; put a path that holds the separator in double quotes"
            )
        yield Cells(number, *(_word(values[places[c]]) if c in places else "" for c in COLUMNS))


def _csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row that is not blank, and its values."""
    text = _text(file)
    first = text.lstrip().partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if "path" in _folded(first.split(mark))), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield number, values
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{shown(file)}: row {number} is not valid CSV: {error}") from error


def _text(file: Path) -> str:
    content = file.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(file)}: is not UTF-8 text; save it as CSV UTF-8") from error


def _parquet_cells(file: Path, needed: Sequence[str]) -> Iterator[Cells]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            places = _places(file, names, needed)
            table = parquet.read(columns=[names[place] for place in places.values()])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{shown(file)}: is not a Parquet file, or it is damaged") from error
    blank = [""] * len(table)
    columns = [
        table.column(names[places[c]]).to_pylist() if c in places else blank for c in COLUMNS
    ]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        yield Cells(number, *map(_word, values))


def _places(file: Path, header: Sequence[str], needed: Sequence[str]) -> dict[str, int]:
    """Return where each known column stands; an error names one that is missing."""
    names = _folded(header)
    for column in needed:
        if column not in names:
            raise DataError(
                f"{shown(file)}: has no column '{column}'; its columns are {listed(header)}."
                f"{did_you_mean(column, header)}"
            )
    for column in COLUMNS:
        if names.count(column) > 1:
            raise DataError(f"{shown(file)}: has {names.count(column)} columns '{column}'")
    return {column: names.index(column) for column in COLUMNS if column in names}


def _folded(header: Iterable[str]) -> list[str]:
    return [name.strip().strip('"').lower() for name in header]


def _word(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return os.fsdecode(value).strip() if isinstance(value, bytes) else str(value).strip()
