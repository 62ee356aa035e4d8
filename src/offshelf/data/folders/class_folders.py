"""Labelled images in folders: train/ and test/ with class folders, or class folders alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from offshelf.data.folders.class_depth import ClassFolder
from offshelf.data.folders.folder_layout import Question, layout_of
from offshelf.data.folders.image_files import LeftOut, Tree, images_under, listed_once, subfolders
from offshelf.data.folders.split_folders import no_classes
from offshelf.errors import DataError
from offshelf.text import listed, shown


@dataclass(frozen=True)
class Row:
    """One image of a job.

    Attributes:
        path: as the operating system opens it.
        name: the path inside DATA with ``/`` between its parts; rows are ordered by it.
        label: class name, "" when there is none.
        split: ``train``, ``test``, or "" when DATA does not say.
    """

    path: str
    name: str
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class Reading:
    """The rows of one DATA and what a person should know about them."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()


@listed_once()
def read_folder(data: Path, question: Question | None = None) -> Reading:
    """Read the class folders of *data*, which may lie in splits, batches or a single folder.

    Images may lie at any depth inside a class folder. What was taken for what is a
    warning wherever names alone do not say it.

    Raises:
        DataError: the folder cannot be read, holds no images or none in class folders,
            two folders mean the same split, or its layout is not certain.
    """
    left_out = LeftOut()
    folders, loose = subfolders(data, left_out)
    if str(data) in left_out.locked:
        raise DataError(f"{shown(data)}: the folder cannot be read; check its permissions")
    layout = layout_of(data, question)
    for place in _opened(data, layout.folders):
        subfolders(place, left_out)
    rows, empty = _read(layout.folders, left_out)
    if not rows:
        raise DataError(_nothing_in(data, bool(folders), bool(loose), left_out))
    notes = [*layout.notes, *_empty_notes(data, empty)]
    warnings = [f"{shown(data)}: {note}" for note in notes]
    return Reading(tuple(rows), (*warnings, *left_out.warnings(data)))


def _opened(data: Path, folders: Iterable[ClassFolder]) -> list[Path]:
    """Return the folders between *data* and the class folders."""
    places = dict.fromkeys(
        place
        for one in folders
        for place in reversed(one.path.parents)
        if place != data and place.is_relative_to(data)
    )
    return list(places)


def _read(folders: Iterable[ClassFolder], left_out: LeftOut) -> tuple[list[Row], list[ClassFolder]]:
    rows: list[Row] = []
    empty: list[ClassFolder] = []
    for one in folders:
        images = images_under(one.path, left_out)
        # Many times as fast as a path for each.
        place = str(one.path / "x")[:-1]
        rows += [
            Row(f"{place}{image}", f"{one.name}/{image}", one.label, one.split) for image in images
        ]
        if not images:
            empty.append(one)
    return rows, empty


def _empty_notes(data: Path, empty: Iterable[ClassFolder]) -> list[str]:
    places: dict[str, list[str]] = {}
    for one in empty:
        inside = one.path.parent.relative_to(data).as_posix()
        places.setdefault("" if inside == "." else f"{shown(inside)}/: ", []).append(one.label)
    return [
        f"{where}class folders without images are left out: {listed(names)}"
        for where, names in places.items()
    ]


def _nothing_in(data: Path, folders: bool, loose: bool, left_out: LeftOut) -> str:
    if loose:
        return no_classes(data, "", Tree())
    if not folders and not left_out.suffixes:
        return f"{shown(data)}: the folder is empty; it should hold one folder per class"
    others: Counter[str] = left_out.suffixes
    found = (
        f"; found only {', '.join(shown(s) for s, _ in others.most_common(3))}" if others else ""
    )
    return f"{shown(data)}: holds no images (.jpg, .png, .tif, .webp, ...){found}"
