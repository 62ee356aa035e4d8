"""The DATA argument: which reader a path is for, and the errors for what is no data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from offshelf.data.folders.class_folders import Reading, Row, read_folder
from offshelf.data.folders.folder_layout import Question
from offshelf.data.folders.image_files import TABLE_SUFFIXES, LeftOut, images_under, is_image_name
from offshelf.data.tables.labelled_files import read_tabular
from offshelf.data.tables.path_lists import STANDARD_INPUT, expanded, is_list, is_pattern, read_list
from offshelf.errors import DataError, did_you_mean
from offshelf.text import listed, shown

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
        raise DataError(f"standard input: is no labelled images; {NEEDED}")
    if is_pattern(data):
        return _only_match(data)
    place = Path(os.path.expanduser(data))  # noqa: PTH111 (never raises)
    if "\0" in str(place) or not os.path.lexists(place):
        hint = did_you_mean(place.name, _names_beside(place))
        raise DataError(f"{shown(data)}: no such file or folder.{hint}")
    return place


def read_labelled_source(place: Path, question: Question | None = None) -> Reading:
    """Read *place* with labels: a folder, or a CSV or Parquet file.

    *question* says how to read folders where more than one way is right.

    Raises:
        DataError: it is another kind of file, or what its reader says.
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
    raise DataError(f"{shown(place)}: is not labelled images; {NEEDED}")


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

    ``-`` is a list on standard input.

    Raises:
        DataError: a source is missing, or a table or list cannot be read.
    """
    readings = [reading for source in sources for reading in _readings(source)]
    return Reading(
        tuple(row for reading in readings for row in reading.rows),
        tuple(dict.fromkeys(warning for reading in readings for warning in reading.warnings)),
    )


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
    names = listed(_said(source) for source in sources)
    return DataError(f"{names}: no images (.jpg, .png, .tif, .webp, ...) found")


def _said(source: str | Path) -> str:
    return "standard input" if str(source) == STANDARD_INPUT else str(source)


def _is_folder(place: Path) -> bool:
    return os.path.isdir(place)  # noqa: PTH112 (never raises, as for a link to a name too long)


def _names_beside(place: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(place.parent)]
    except (OSError, ValueError):
        return []
