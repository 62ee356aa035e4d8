"""The DATA argument: which reader a path is for, and the errors for what is no data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from offshelf.data.folders.class_folders import Question, Reading, Row, read_folder
from offshelf.data.folders.class_names import HELD_OUT, TEST, TRAIN, VAL, composed, split_word
from offshelf.data.folders.image_files import (
    SUFFIXES,
    TABLE_SUFFIXES,
    LeftOut,
    Tree,
    images_under,
    is_image_name,
)
from offshelf.data.tables.columns import Cells, read_cells
from offshelf.data.tables.label_sets import label_set, united
from offshelf.data.tables.path_lists import (
    STANDARD_INPUT,
    check_no_address,
    expanded,
    is_list,
    is_pattern,
    located,
    read_list,
)
from offshelf.errors import DataError, MissingPathError, did_you_mean
from offshelf.text import counted, listed, shown

NEEDED = "DATA is a folder of class folders, or a .csv or .parquet file of path,label"


def existing(data: str | Path) -> Path:
    """Return *data* as a path, ``~`` expanded, after checking that it exists.

    A pattern that matches one file or folder is that one.

    Raises:
        DataError: it is missing (with the names nearby that are like it), no path, or a
            pattern that matches none or several.
    """
    if not isinstance(data, str | Path) or not str(data):
        raise DataError(f"a path of a folder or file is needed, not {data!r}")
    if str(data) == STANDARD_INPUT:
        raise DataError(f"standard input: is not a set of labelled images; {NEEDED}")
    if is_pattern(data):
        return _only_match(data)
    place = Path(os.path.expanduser(data))  # noqa: PTH111 (never raises)
    if "\0" in str(place) or not os.path.lexists(place):
        hint = did_you_mean(place.name, _names_beside(place))
        raise MissingPathError(f"{shown(data)}: no such file or folder.{hint}", [str(place)])
    return place


def read_labelled_source(place: Path, question: Question | None = None) -> Reading:
    """Read *place* with labels: a folder, or a CSV or Parquet file.

    *question* says how to read folders where more than one way is right.
    """
    if _is_folder(place):
        return read_folder(place, question)
    if place.suffix.lower() in TABLE_SUFFIXES:
        return read_tabular(place)
    if is_image_name(place.name):
        raise DataError(
            f"{shown(place)}: is one image; {NEEDED} (to classify it: offshelf predict MODEL IMAGE)"
        )
    if is_list(place):
        raise DataError(f"{shown(place)}: is a list of paths without labels; {NEEDED}")
    raise DataError(f"{shown(place)}: is not a set of labelled images; {NEEDED}")


def _only_match(pattern: str | Path) -> Path:
    found, _ = expanded(pattern)
    if len(found) > 1:
        raise DataError(
            f"{shown(pattern)}: matches {len(found)} files and folders, where one is needed; "
            f"{NEEDED}"
        )
    return found[0]


def is_several(source: str | Path) -> bool:
    """Return whether *source* names images one by one: a list, or a pattern."""
    return is_list(source) or is_pattern(source)


def read_unlabelled_sources(sources: Sequence[str | Path]) -> Reading:
    """Read the images of files, folders, tables, lists and patterns, in their order.

    ``-`` is a list on standard input. What does not exist is the business of the row ledger, and
    said in one line; if nothing else is left, the names are wrong.

    Raises:
        DataError: a source cannot be read, or there is none of them.
    """
    readings: list[Reading] = []
    missing: list[MissingPathError] = []
    for source in sources:
        try:
            readings += _readings(source)
        except MissingPathError as error:
            missing.append(error)
            readings.append(Reading(tuple(Row(path, path) for path in error.paths), ()))
    rows = tuple(row for reading in readings for row in reading.rows)
    if missing and len(rows) == sum(len(error.paths) for error in missing):
        raise missing[0]
    warnings = [warning for reading in readings for warning in reading.warnings]
    return Reading(rows, tuple(dict.fromkeys([*_said(missing), *warnings])))


def _said(missing: list[MissingPathError]) -> list[str]:
    several = f"{len(missing)} of the names lead nowhere, the first is " if missing[1:] else ""
    return [f"{several}{missing[0]}"] if missing else []


def _readings(source: str | Path) -> Iterator[Reading]:
    if is_list(source):
        places, notes = read_list(source)
    elif is_pattern(source):
        places, notes = expanded(source)
    else:
        places, notes = [existing(source)], ()
    yield Reading((), notes)
    yield from map(_images_of, places)


def _images_of(place: Path) -> Reading:
    if place.suffix.lower() in TABLE_SUFFIXES and not _is_folder(place):
        return read_tabular(place, labelled=False)
    if not _is_folder(place):
        return Reading((Row(str(place), place.name),))
    left_out = LeftOut()
    images = images_under(place, left_out)
    warnings = left_out.warnings(place)
    if not images:
        warnings = (f"{shown(place)}: no images found", *warnings)
    return Reading(tuple(Row(str(place / image), image) for image in images), warnings)


def none_found(sources: Sequence[str | Path]) -> DataError:
    """Return the error for sources that hold not one image."""
    if not sources:
        return DataError("no images: name files or folders")
    words = map(str, sources)
    names = listed("standard input" if word == STANDARD_INPUT else word for word in words)
    return DataError(f"{names}: no images (.jpg, .png, .tif, .webp, ...) found")


def _is_folder(place: Path) -> bool:
    return os.path.isdir(place)  # noqa: PTH112 (never raises, as for a link to a name too long)


def _names_beside(place: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(place.parent)]
    except (OSError, ValueError):
        return []


# As spreadsheets, databases and libraries write a cell without a value.
_OFTEN_MISSING = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil"})


def read_tabular(file: Path, *, labelled: bool = True, several: bool = False) -> Reading:
    """Read the images of a CSV or Parquet file.

    Paths are relative to the folder of *file*. A few images that do not exist are the
    business of the row ledger; if none exists, the paths are wrong. Without *labelled* the columns
    ``label`` and ``split`` are ignored. With *several* a label is a cell of the column ``labels``,
    which may be empty.
    """
    needed = ("path", "labels" if several else "label") if labelled else ("path",)
    warnings: list[str] = []
    cells = read_cells(file, needed, warnings if labelled else None)
    if not cells:
        raise DataError(f"{shown(file)}: has no rows; it needs one row per image")
    _check_filled(file, cells, needed[:1] if several else needed)
    if not labelled:
        cells = [cell._replace(label="", split="") for cell in cells]
    cells = _with_splits(file, cells, warnings)
    _note_missing(cells, warnings)
    found = _rows(file.parent, cells, warnings)
    rows = united(found, warnings) if several else _without_repeats(found, warnings)
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
    found = {word for cell in cells for word in (cell.label, *label_set(cell.label))}
    words = sorted(word for word in found if word.lower() in _OFTEN_MISSING)
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
    contradicting = [names[place] for place, found in labels.items() if len(found) > 1]
    leaked = [names[place] for place, found in splits.items() if len(found) > 1]
    if repeats:
        warnings.append(f"{counted(repeats, 'repeated row')} left out")
    if contradicting:
        warnings.append(f"images with more than one label: {listed(contradicting)}")
    if leaked:
        warnings.append(f"images both in train and in test (accuracy too high): {listed(leaked)}")
    return tuple(first.values())
