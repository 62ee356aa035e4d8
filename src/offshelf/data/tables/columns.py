"""The columns of a CSV or Parquet file: path, label or labels, and split, with row numbers."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from offshelf.data.folders.class_names import TRAIN, split_mark, split_word
from offshelf.data.folders.image_files import PARQUET_SUFFIXES
from offshelf.data.tables.delimited import csv_rows, csv_text
from offshelf.errors import DataError, did_you_mean
from offshelf.text import counted, listed, shown

_TRUTHS = frozenset({"0", "1", "true", "false", "yes", "no", "t", "f", "y", "n"})


def split_column(file: Path, columns: Mapping[str, Sequence[str]], notes: list[str]) -> str:
    """Return which of the unknown columns holds the splits, "" for none.

    It is the one whose every cell is a word for a split, ``train`` and another among them. *notes*
    gets a line about what was taken for what, or looks like a split and is not.

    Raises:
        DataError: several columns are like that.

    >>> split_column(Path("a.csv"), {"subset": ["train", "test"], "size": ["1", "2"]}, [])
    'subset'
    """
    found = [name for name, cells in columns.items() if _are_splits(cells)]
    if len(found) > 1:
        raise DataError(
            f"{shown(file)}: its columns {listed(found)} all hold splits; call the right one split"
        )
    if found:
        notes.append(f"the splits are those of its column {listed(found)}")
        return found[0]
    alike = [
        name
        for name, cells in columns.items()
        if split_mark(name) and {cell.strip().lower() for cell in cells} <= _TRUTHS
    ]
    if alike:
        notes.append(
            f"its column {listed(alike[:1])} is not used; for given splits, write train and test "
            "into a column split"
        )
    return ""


def _are_splits(cells: Sequence[str]) -> bool:
    words = set(cells)
    if len(words) > 16:  # many words are no splits, and not worth a look
        return False
    roles = {split_word(word) for word in words}
    return "" not in roles and TRAIN in roles and len(roles) > 1


COLUMNS = ("path", "label", "split")
# What separates several labels in one cell.
SEPARATORS = ";|"


class Cells(NamedTuple):
    """One row of the file as text, "" for what it does not have.

    ``number`` is what a person finds the row by: the header of a CSV file is row 1, as
    in an editor or a spreadsheet; the first row of a Parquet file is row 1.
    """

    number: int
    path: str
    label: str
    split: str


def read_cells(file: Path, needed: Sequence[str], notes: list[str] | None = None) -> list[Cells]:
    """Read the columns ``path``, ``label`` and ``split`` of *file*, or ``labels`` if it is needed.

    A CSV file is UTF-8 (or UTF-16 with its mark), separated by commas, semicolons, tabs
    or bars. Column names may be in any case and order; other columns are ignored. Labels
    of CSV are the text as it stands; whole floating-point numbers of Parquet, which pandas
    makes of whole numbers, are written without a fraction. Lists of ``labels`` in Parquet become
    text with ``;`` between them. *notes* gets a line for what a person should know.

    Raises:
        DataError: the file cannot be read, is empty, is damaged, lacks one of the
            *needed* columns, has both ``label`` and ``labels``, or a column holds no text.
    """
    try:
        if file.stat().st_size == 0:
            raise DataError(f"{shown(file)}: the file is empty; it needs the columns path,label")
        if file.suffix.lower() in PARQUET_SUFFIXES:
            return list(_parquet_cells(file, needed, notes))
        return list(_csv_cells(file, needed, notes))
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror}") from error


def label_columns(file: Path) -> tuple[str, ...]:
    """Return the names of the columns of *file* as they are compared, in lower case.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if file.suffix.lower() in PARQUET_SUFFIXES:
            header = _parquet_header(file)
        else:
            _, header = next(csv_rows(file, csv_text(file)), (0, []))
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read: {error.strerror}") from error
    return tuple(_plain(name) for name in header)


def _parquet_header(file: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(file).names)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{shown(file)}: is not a Parquet file, or it is damaged") from error


def _plain(name: str) -> str:
    return name.strip().strip('"').lower()


def _csv_cells(file: Path, needed: Sequence[str], notes: list[str] | None) -> Iterator[Cells]:
    lines = csv_rows(file, csv_text(file))
    try:
        _, header = next(lines)
    except StopIteration:
        return
    places = _places(file, header, needed)
    rows = [(number, _as_long(file, number, values, len(header))) for number, values in lines]
    kept = [(number, values) for number, values in rows if values != header]
    if notes is not None:
        if len(kept) < len(rows):
            notes.append(f"{counted(len(rows) - len(kept), 'repeated header')} left out")
        columns = {
            name: [values[at] for _, values in kept]
            for at, name in enumerate(header)
            if at not in places.values() and header.index(name) == at
        }
        found = split_column(file, columns, notes) if "split" not in places else ""
        places |= {"split": header.index(found)} if found else {}
    for number, values in kept:
        texts = (_word(values[places[c]]) if c in places else "" for c in _columns(needed))
        yield Cells(number, *texts)


def _as_long(file: Path, number: int, values: list[str], length: int) -> list[str]:
    """Return the cells of a row without blank ones behind the last column."""
    if len(values) < length or any(value.strip() for value in values[length:]):
        raise DataError(
            f"{shown(file)}: row {number} has {counted(len(values), 'cell')} and the header "
            f"{length}; put a path that holds the separator in double quotes"
        )
    return values[:length]


def _parquet_cells(file: Path, needed: Sequence[str], notes: list[str] | None) -> Iterator[Cells]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            places = _places(file, names, needed)
            if notes is not None and "split" not in places:
                others = set(names) - set(_columns(needed))
                found = split_column(file, _texts(parquet, others), notes)
                places |= {"split": names.index(found)} if found else {}
            table = parquet.read(columns=[names[place] for place in places.values()])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{shown(file)}: is not a Parquet file, or it is damaged") from error
    blank = [""] * len(table)
    cells = {column: table.column(names[place]) for column, place in places.items()}
    if "labels" in cells:
        cells["labels"] = _separated(file, cells["labels"])
    for column in needed:
        _check_text(file, column, cells[column].type)
    if "label" in cells:
        cells["label"] = _whole_numbers(cells["label"], notes if notes is not None else [])
    columns = [cells[c].to_pylist() if c in cells else blank for c in _columns(needed)]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        yield Cells(number, *map(_word, values))


def _texts(parquet: Any, names: Collection[str]) -> dict[str, list[str]]:
    """Return the columns of short words and truth values among *names*, as text."""
    import pyarrow.types as kinds

    found = {}
    for field in parquet.schema_arrow:
        kind = field.type.value_type if kinds.is_dictionary(field.type) else field.type
        text = kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_boolean(kind)
        if field.name in names and text:
            column = parquet.read(columns=[field.name]).column(0)
            found[field.name] = [_word(value) for value in column.to_pylist()]
    return found


def _separated(file: Path, labels: Any) -> Any:
    """Return lists of labels as text with a separator between them; other columns as they are."""
    import pyarrow
    import pyarrow.types as kinds

    kind = labels.type
    if not (kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)):
        return labels
    if kinds.is_nested(kind.value_type):
        _check_text(file, "labels", kind)
    sets = [[_word(one) for one in found or ()] for found in labels.to_pylist()]
    unfit = next((one for found in sets for one in found if set(one) & set(SEPARATORS)), None)
    if unfit is not None:
        raise DataError(
            f"{shown(file)}: its label '{shown(unfit)}' holds ; or |, which separate labels; "
            "rename it"
        )
    return pyarrow.array([SEPARATORS[0].join(found) for found in sets], pyarrow.string())


def _check_text(file: Path, column: str, kind: Any) -> None:
    import pyarrow.types as kinds

    if kinds.is_nested(kind.value_type if kinds.is_dictionary(kind) else kind):
        raise DataError(
            f"{shown(file)}: its column '{column}' holds {kind}, not one text for each row; make "
            "it text"
        )


def _whole_numbers(labels: Any, notes: list[str]) -> Any:
    """Return floating-point labels with whole ones as such; others as they are."""
    import pyarrow
    import pyarrow.types as kinds

    kind = labels.type.value_type if kinds.is_dictionary(labels.type) else labels.type
    if not kinds.is_floating(kind):
        return labels
    values = [None if v is None or math.isnan(v) else float(v) for v in labels.to_pylist()]
    words = [str(int(v)) if v is not None and v.is_integer() else v for v in values]
    whole = next((word for word in words if isinstance(word, str)), None)
    if whole is not None:
        notes.append(
            "labels are floating-point numbers; whole ones are written without a fraction, such as "
            f"'{whole}'"
        )
    return pyarrow.array([None if word is None else str(word) for word in words], pyarrow.string())


def _places(file: Path, header: Sequence[str], needed: Sequence[str]) -> dict[str, int]:
    """Return where each known column stands; an error names one that is missing."""
    names = [_plain(name) for name in header]
    _check_label_columns(file, names, needed)
    for column in needed:
        if column not in names:
            raise DataError(
                f"{shown(file)}: has no column '{column}'; its columns are {listed(header)}."
                f"{did_you_mean(column, header) or f' Rename the one that holds it to {column}.'}"
            )
    columns = _columns(needed)
    for column in columns:
        if names.count(column) > 1:
            raise DataError(f"{shown(file)}: has {names.count(column)} columns '{column}'")
    return {column: names.index(column) for column in columns if column in names}


def _columns(needed: Sequence[str]) -> tuple[str, ...]:
    return tuple("labels" if c == "label" and "labels" in needed else c for c in COLUMNS)


def _check_label_columns(file: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    """Refuse a file of one label for each image where several are needed, the reverse, and both."""
    wanted = next((column for column in needed if column in ("label", "labels")), None)
    if wanted is None:
        return
    if {"label", "labels"} <= set(names):
        raise DataError(
            f"{shown(file)}: has the columns 'label' and 'labels'; keep label for one label of "
            "each image, or labels for several"
        )
    if wanted == "label" and "labels" in names:
        raise DataError(
            f"{shown(file)}: has several labels for each image (its column 'labels'), and this "
            "takes one; fit, evaluate and predict take several"
        )
    if wanted == "labels" and "label" in names:
        raise DataError(
            f"{shown(file)}: has one label for each image (its column 'label'), and this takes "
            "several: a column 'labels', with ; or | between the labels of an image"
        )


def _word(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return os.fsdecode(value).strip() if isinstance(value, bytes) else str(value).strip()
