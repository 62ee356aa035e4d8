"""What a person names as DATA: which reader it is for, and what to say when it is none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from offshelf.data.columns import TABLE_SUFFIXES
from offshelf.data.folders import read_folder
from offshelf.data.layout import Question
from offshelf.data.names import listed, shown
from offshelf.data.rows import Reading, Row
from offshelf.data.tabular import read_tabular
from offshelf.data.walk import LeftOut, images_under, is_image_name
from offshelf.errors import DataError, did_you_mean


def existing(data: str | Path) -> Path:
    """Return *data* as a path, ``~`` expanded, after checking that it exists.

    Raises:
        DataError: it is missing (with the names nearby that are like it) or no path.
    """
    if not isinstance(data, str | Path) or not str(data):
        raise DataError(f"a path of a folder or file is needed, not {data!r}")
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
    if place.is_dir():
        return read_folder(place, question)
    if place.suffix.lower() in TABLE_SUFFIXES:
        return read_tabular(place)
    needed = "DATA is a folder of class folders, or a .csv or .parquet file of path,label"
    if is_image_name(place.name):
        raise DataError(
            f"{shown(place)}: is one image; {needed} (to classify it: offshelf predict MODEL IMAGE)"
        )
    raise DataError(f"{shown(place)}: is not labelled images; {needed}")


def read_unlabelled_sources(sources: Sequence[str | Path]) -> Reading:
    """Read the images of files, folders and tables, in the order of *sources*.

    Raises:
        DataError: a source is missing, or a table cannot be read.
    """
    readings = [_images_of(existing(source)) for source in sources]
    return Reading(
        tuple(row for reading in readings for row in reading.rows),
        tuple(warning for reading in readings for warning in reading.warnings),
    )


def _images_of(place: Path) -> Reading:
    if place.suffix.lower() in TABLE_SUFFIXES and not place.is_dir():
        return read_tabular(place, labelled=False)
    if not place.is_dir():
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
    names = listed(str(source) for source in sources)
    return DataError(f"{names}: no images (.jpg, .png, .tif, .webp, ...) found")


def _names_beside(place: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(place.parent)]
    except (OSError, ValueError):
        return []
