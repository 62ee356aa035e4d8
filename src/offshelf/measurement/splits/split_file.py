"""Splits in a file: written whole, read back only when they fit the images at hand.

JSON holds the protocol and one entry per image; CSV holds one row per image and one column
per fold (``fold_1``, ``fold_2``, ...) with ``train``, ``test`` or nothing. Both name every
image of the table, those that take no part too, so that a changed table is noticed.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.delimited import csv_bytes, read_csv, read_text
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.measurement.splits.image_groups import image_names
from offshelf.measurement.splits.protocol import Fold
from offshelf.text import counted, listed, shown, spelled

FORMAT, VERSION = "offshelf splits", 1
_SIDES = ("", TRAIN, TEST)


@dataclass(frozen=True, eq=False)
class Splits:
    """Folds and where they came from.

    Attributes:
        folds: at least one.
        protocol: how they were made, JSON values; {} when the file does not say.
    """

    folds: tuple[Fold, ...]
    protocol: Mapping[str, Any] = field(default_factory=dict)


class _Listed(NamedTuple):
    """One image as a file names it; the label is "" where the file does not say."""

    path: str
    label: str
    sides: tuple[str, ...]


def write_splits(file: str | Path, table: ImageTable, splits: Splits) -> None:
    """Write folds of the rows of *table* to a ``.json`` or ``.csv`` file, atomically.

    CSV does not keep the protocol. DataError for another ending, no folds, or folds of a
    larger table.
    """
    file = Path(file)
    suffix = _suffix(file)
    entries = list(zip(image_names(table.paths), table.labels, _sides(splits, table), strict=True))
    if suffix == ".csv":
        columns = [f"fold_{number}" for number in range(1, len(splits.folds) + 1)]
        body = [[path, label, *sides] for path, label, sides in entries]
        files.write_bytes(file, csv_bytes([["path", "label", *columns], *body]))
        return
    images = [
        {"path": path, "label": label, "folds": list(sides)} for path, label, sides in entries
    ]
    files.write_json(
        file,
        {
            "format": FORMAT,
            "version": VERSION,
            "protocol": dict(splits.protocol),
            "images": images,
        },
    )


def read_splits(file: str | Path, table: ImageTable) -> Splits:
    """Read folds that :func:`write_splits` wrote, or a person, for the images of *table*.

    Images are found by name, or by path relative to the folder of *file*. In a CSV file
    only ``path`` and one ``fold`` column are needed.

    Raises:
        DataError: the file is missing, damaged or of another format; it names images
            that are not in the table or lacks some that are; the label of an image
            differs; or a fold has an empty side.
    """
    file = Path(file)
    read = _read_csv if _suffix(file) == ".csv" else _read_json
    listings, protocol = read(file)
    rows = _matched(file, listings, table)
    sides = np.array([listing.sides for listing in listings], np.str_)
    folds = []
    for number in range(sides.shape[1]):
        pair = [rows[sides[:, number] == side] for side in (TRAIN, TEST)]
        for side, chosen in zip((TRAIN, TEST), pair, strict=True):
            if not len(chosen):
                raise DataError(f"{shown(file)}: fold {number + 1} has no {side} images")
        folds.append(Fold(*pair))
    return Splits(tuple(folds), protocol)


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in {".json", ".csv"}:
        raise DataError(f"{shown(file)}: splits are a .json or a .csv file")
    return suffix


def _sides(splits: Splits, table: ImageTable) -> list[tuple[str, ...]]:
    if not splits.folds:
        raise DataError("no splits to write: there are no folds")
    columns = []
    for fold in splits.folds:
        last = max(fold.train.max(initial=-1), fold.test.max(initial=-1))
        if last >= len(table):
            raise DataError(
                f"these folds belong to another table: row {last}, but there are "
                f"{counted(len(table), 'image')}"
            )
        column = [""] * len(table)
        for side, rows in ((TRAIN, fold.train), (TEST, fold.test)):
            for row in rows:
                column[row] = side
        columns.append(column)
    return list(zip(*columns, strict=True))


def _matched(file: Path, listings: Sequence[_Listed], table: ImageTable) -> NDArray[np.int64]:
    """Return the row of the table that each image of the file is."""
    rows = _rows_by_name(file.parent, listings, table.paths)
    known = set(rows)
    _refuse(file, [a.path for a, row in zip(listings, rows, strict=True) if row < 0], True)
    _refuse(file, [path for row, path in enumerate(table.paths) if row not in known], False)
    for listing, row in zip(listings, rows, strict=True):
        if listing.label and listing.label != table.labels[row]:
            raise DataError(
                f"{shown(file)}: '{shown(listing.path)}' is of class '{shown(listing.label)}' "
                f"there and '{shown(table.labels[row])}' here: use the data the splits were made "
                "from"
            )
    return np.array(rows, np.int64)


def _rows_by_name(folder: Path, listings: Sequence[_Listed], paths: Sequence[str]) -> list[int]:
    """Return rows by name, -1 for none; an image that is there twice is its first two rows."""
    by_name: defaultdict[str, list[int]] = defaultdict(list)
    by_path: defaultdict[str, list[int]] = defaultdict(list)
    for row, (name, path) in enumerate(zip(image_names(paths), paths, strict=True)):
        by_name[name].append(row)
        by_path[os.path.abspath(path)].append(row)  # noqa: PTH100 - links stay as they are
    seen: Counter[str] = Counter()
    rows = []
    for path in (listing.path for listing in listings):
        found = by_name.get(path) or by_path.get(os.path.abspath(folder / path), [])  # noqa: PTH100
        rows.append(found[seen[path]] if seen[path] < len(found) else -1)
        seen[path] += 1
    return rows


def _refuse(file: Path, names: Sequence[str], listed_there: bool) -> None:
    if not names:
        return
    verb = "is" if len(names) == 1 else "are"
    there, here = ("splits", "data") if listed_there else ("data", "splits")
    raise DataError(
        f"{shown(file)}: {counted(len(names), 'image')} of the {there} {verb} not in the {here}: "
        f"{listed(names)}; use the data the splits were made from"
    )


def _read_json(file: Path) -> tuple[list[_Listed], Mapping[str, Any]]:
    try:
        document = json.loads(read_text(file))
    except (ValueError, RecursionError):
        raise DataError(f"{shown(file)}: is not valid JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{shown(file)}: is not a file of splits")
    if document.get("version") != VERSION:
        raise DataError(
            f"{shown(file)}: splits of version {shown(str(document.get('version')))}, "
            f"this program reads version {VERSION}"
        )
    images, protocol = document.get("images"), document.get("protocol", {})
    if not isinstance(images, list) or not images or not isinstance(protocol, dict):
        raise DataError(f"{shown(file)}: damaged: no list of images")
    return _uniform(file, [_entry(file, n, image) for n, image in enumerate(images, 1)]), protocol


def _entry(file: Path, number: int, image: Any) -> _Listed:
    values = image if isinstance(image, dict) else {}
    texts = [values.get(key, "") for key in ("path", "label")]
    sides = values.get("folds")
    if not all(isinstance(text, str) for text in texts) or not isinstance(sides, list):
        raise DataError(f"{shown(file)}: damaged: image {number} is not what it should be")
    return _listed(file, number, texts, sides)


def _read_csv(file: Path) -> tuple[list[_Listed], Mapping[str, Any]]:
    header, rows = read_csv(file)
    names = [name.strip().lower() for name in header]
    places = [place for place, name in enumerate(names) if name.startswith("fold")]
    if "path" not in names or not places or not rows:
        raise DataError(
            f"{shown(file)}: splits need a column 'path', columns 'fold_1', 'fold_2', ... "
            f"and a row per image; its columns are {listed(header)}"
        )
    keys = [names.index(key) if key in names else None for key in ("path", "label")]
    return [
        _listed(
            file,
            number,
            ["" if key is None else row[key] for key in keys],
            [row[place].strip().lower() for place in places],
        )
        for number, row in enumerate(rows, 1)
    ], {}


def _listed(file: Path, number: int, texts: Sequence[str], sides: Sequence[Any]) -> _Listed:
    path, label = map(spelled, texts)
    if not path:
        raise DataError(f"{shown(file)}: image {number} has no path")
    for side in sides:
        if side not in _SIDES:
            raise DataError(
                f"{shown(file)}: image {number} is '{shown(str(side))}' in a fold; "
                "use train, test or nothing"
            )
    return _Listed(path, label, tuple(sides))


def _uniform(file: Path, listings: list[_Listed]) -> list[_Listed]:
    widths = {len(listing.sides) for listing in listings}
    if len(widths) > 1 or widths == {0}:
        raise DataError(f"{shown(file)}: damaged: its images do not have the same folds")
    return listings
