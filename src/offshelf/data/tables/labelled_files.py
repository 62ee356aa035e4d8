"""CSV and Parquet files of images: what their rows mean as paths, classes and splits."""

from __future__ import annotations

import os
from pathlib import Path

from offshelf.data.folders.class_folders import Reading, Row
from offshelf.data.folders.class_names import HELD_OUT, TEST, TRAIN, VAL, composed, split_word
from offshelf.data.folders.image_files import SUFFIXES, Tree
from offshelf.data.tables.columns import Cells, read_cells
from offshelf.data.tables.path_lists import check_no_address, located
from offshelf.errors import DataError, did_you_mean
from offshelf.text import counted, listed, shown

# As spreadsheets, databases and libraries write a cell without a value.
_OFTEN_MISSING = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil"})


def read_tabular(file: Path, *, labelled: bool = True) -> Reading:
    """Read the images of a CSV or Parquet file.

    Paths are relative to the folder of *file*. A few images that do not exist are the
    business of the row ledger; if none exists, the paths are wrong.

    Args:
        file: a file whose name ends in one of ``TABLE_SUFFIXES``.
        labelled: whether the column ``label`` is needed; ``label`` and ``split`` are
            ignored when it is not.

    Raises:
        DataError: the file cannot be read, lacks a column or has no rows; a row has an
            empty path or label or an unknown split; or not one of its images exists.
    """
    needed = ("path", "label") if labelled else ("path",)
    warnings: list[str] = []
    cells = read_cells(file, needed, warnings if labelled else None)
    if not cells:
        raise DataError(f"{shown(file)}: has no rows; it needs one row per image")
    _check_filled(file, cells, needed)
    if not labelled:
        cells = [cell._replace(label="", split="") for cell in cells]
    cells = _with_splits(file, cells, warnings)
    _note_missing(cells, warnings)
    rows = _without_repeats(_rows(file.parent, cells, warnings), warnings)
    _check_exist(file, rows)
    return Reading(rows, tuple(f"{shown(file)}: {warning}" for warning in warnings))


def _rows(base: Path, cells: list[Cells], warnings: list[str]) -> list[Row]:
    """Return a row for each cell; say once what was changed to find the images."""
    places = [located(base, cell.path) for cell in cells]
    warnings += sorted({how for _, how in places if how})
    return [
        Row(str(place), cell.path.replace("\\", "/"), cell.label, cell.split)
        for cell, (place, _) in zip(cells, places, strict=True)
    ]


def _note_missing(cells: list[Cells], warnings: list[str]) -> None:
    words = sorted({cell.label for cell in cells if cell.label.lower() in _OFTEN_MISSING})
    if words:
        warnings.append(
            f"taken as classes although they often mean a missing label: {listed(words)}"
        )


def _check_filled(file: Path, cells: list[Cells], needed: tuple[str, ...]) -> None:
    for column in needed:
        empty = [cell.number for cell in cells if not getattr(cell, column)]
        if empty:
            more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
            raise DataError(f"{shown(file)}: row {empty[0]}{more} has an empty {column}")


def _check_exist(file: Path, rows: tuple[Row, ...]) -> None:
    if any(os.path.exists(row.path) for row in rows):  # noqa: PTH110 (never raises)
        return
    first = rows[0]
    check_no_address(shown(file), first.name)
    beside = Tree().folders(file.parent)
    folders = [name for name in beside if os.path.lexists(file.parent / name / first.name)]
    where = f"; it lies in {listed(folders)}, which its path has to name" if folders else ""
    endings = [end for end in sorted(SUFFIXES) if os.path.lexists(first.path + end)]
    if endings:
        where = f"; '{shown(first.name + endings[0])}' exists: write paths with their endings"
    raise DataError(
        f"{shown(file)}: none of its {counted(len(rows), 'image')} exists; paths are relative to "
        f"the folder of the file, the first is '{shown(first.path)}'{where}"
    )


def _with_splits(file: Path, cells: list[Cells], warnings: list[str]) -> list[Cells]:
    """Turn split words into ``train`` and ``test``; a column of blanks is no column."""
    if not any(cell.split for cell in cells):
        return cells
    words = [_split_of(file, cell) for cell in cells]
    held_out = VAL if TEST in words else TEST
    words = [held_out if word == HELD_OUT else word for word in words]
    unused = words.count(VAL) if TEST in words else 0
    if unused:
        warnings.append(f"test rows are the test split; {counted(unused, 'val row')} left out")
    return [
        cell._replace(split=TRAIN if word == TRAIN else TEST)
        for cell, word in zip(cells, words, strict=True)
        if not (unused and word == VAL)
    ]


def _split_of(file: Path, cell: Cells) -> str:
    word = split_word(cell.split)
    if not word:
        what = f"an unknown split '{shown(cell.split)}'" if cell.split else "an empty split"
        hint = did_you_mean(cell.split, (TRAIN, TEST, VAL), limit=1)
        raise DataError(
            f"{shown(file)}: row {cell.number} has {what}; use train, test or val.{hint}"
        )
    return word


def _without_repeats(rows: list[Row], warnings: list[str]) -> tuple[Row, ...]:
    """Take equal rows once; say which images have two labels or are in both splits."""
    first: dict[tuple[str, str, str], Row] = {}
    labels: dict[str, set[str]] = {}
    splits: dict[str, set[str]] = {}
    for row in rows:
        # a.png, ./a.png and x/../a.png are one file
        place, label = os.path.normpath(row.path), composed(row.label)
        first.setdefault((place, label, row.split), row)
        labels.setdefault(place, set()).add(label)
        splits.setdefault(place, set()).add(row.split)
    names = {os.path.normpath(row.path): row.name for row in reversed(rows)}
    repeats = len(rows) - len(first)
    torn = [names[place] for place, found in labels.items() if len(found) > 1]
    leaked = [names[place] for place, found in splits.items() if len(found) > 1]
    if repeats:
        warnings.append(f"{counted(repeats, 'repeated row')} left out")
    if torn:
        warnings.append(f"images with more than one label: {listed(torn)}")
    if leaked:
        warnings.append(f"images both in train and in test (accuracy too high): {listed(leaked)}")
    return tuple(first.values())
