"""Splits in a file: written whole, read back only when they fit the images at hand.

JSON holds the protocol and one entry per image; CSV holds one row per image and one column
per fold (``fold_1``, ``fold_2``, ...) with ``train``, ``test`` or nothing. Both name every
image of the table, those that take no part too, so that a changed table is noticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from offshelf import files
from offshelf.checks import same_length
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.delimited import (
    csv_bytes,
    read_csv,
    read_text,
)
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.evaluate.splits.image_names import image_names
from offshelf.evaluate.splits.matching import Listed, match_rows
from offshelf.evaluate.splits.protocol import Fold
from offshelf.text import (
    counted,
    listed,
    shown,
    spelled,
)

FORMAT, VERSION = "offshelf splits", 1
_SIDES = ("", TRAIN, TEST)
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class Splits:
    """Folds and where they came from.

    Attributes:
        folds: at least one.
        protocol: how they were made, JSON values; {} when the file does not say.
    """

    folds: tuple[Fold, ...]
    protocol: Mapping[str, Any] = field(default_factory=dict)


def write_splits(
    file: str | Path, table: ImageTable, splits: Splits, *, sha256: Sequence[str] | None = None
) -> None:
    """Write folds to a ``.json`` or ``.csv`` file, atomically.

    Args:
        file: where to; CSV does not keep the protocol.
        table: the images whose rows the folds number.
        splits: what to write.
        sha256: 64 hexadecimal digits per image, or "" for one that cannot be read; None
            leaves them out. With them, moved images are found and changed ones noticed.

    Raises:
        DataError: another ending, no folds, folds of a larger table, or no sha256.
    """
    file = Path(file)
    suffix = _suffix(file)
    digests = _checked_digests(sha256, len(table))
    entries = list(
        zip(image_names(table.paths), digests, table.labels, _sides(splits, table), strict=True)
    )
    if suffix == ".csv":
        columns = [f"fold_{number}" for number in range(1, len(splits.folds) + 1)]
        body = [[path, digest, label, *sides] for path, digest, label, sides in entries]
        files.write_bytes(file, csv_bytes([["path", "sha256", "label", *columns], *body]))
        return
    images = [
        {"path": path, "sha256": digest, "label": label, "folds": list(sides)}
        for path, digest, label, sides in entries
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


def read_splits(
    file: str | Path, table: ImageTable, *, sha256: Sequence[str] | None = None
) -> Splits:
    """Read folds that :func:`write_splits` wrote, or a person, for the images of *table*.

    Images are found by name (or by path, relative to the folder of *file*), or, where
    file and *sha256* both know their content, by content. In a CSV file only ``path``
    and one ``fold`` column are needed.

    Args:
        file: a ``.json`` or ``.csv`` file.
        table: the images at hand.
        sha256: content of each image as 64 hexadecimal digits, "" for none; None when
            not known.

    Raises:
        DataError: the file is missing, damaged or of another format; it names images
            that are not in the table or lacks some that are; a label or the content of
            an image differs; or a fold has an empty side.
    """
    file = Path(file)
    read = _read_csv if _suffix(file) == ".csv" else _read_json
    listings, protocol = read(file)
    rows = match_rows(file, listings, table, _checked_digests(sha256, len(table)))
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


def _checked_digests(sha256: Sequence[str] | None, n: int) -> tuple[str, ...]:
    if sha256 is None:
        return ("",) * n
    same_length("sha256", len(sha256), "images", n)
    for digest in sha256:
        if digest and not _DIGEST.fullmatch(digest):
            raise DataError(f"'{shown(str(digest))}' is no sha256: need 64 hexadecimal digits")
    return tuple(sha256)


def _read_json(file: Path) -> tuple[list[Listed], Mapping[str, Any]]:
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


def _entry(file: Path, number: int, image: Any) -> Listed:
    values = image if isinstance(image, dict) else {}
    texts = [values.get(key, "") for key in ("path", "sha256", "label")]
    sides = values.get("folds")
    if not all(isinstance(text, str) for text in texts) or not isinstance(sides, list):
        raise DataError(f"{shown(file)}: damaged: image {number} is not what it should be")
    return _listed(file, number, texts, sides)


def _read_csv(file: Path) -> tuple[list[Listed], Mapping[str, Any]]:
    header, rows = read_csv(file)
    names = [name.strip().lower() for name in header]
    places = [place for place, name in enumerate(names) if name.startswith("fold")]
    if "path" not in names or not places or not rows:
        raise DataError(
            f"{shown(file)}: splits need a column 'path', columns 'fold_1', 'fold_2', ... "
            f"and a row per image; its columns are {listed(header)}"
        )
    keys = [names.index(key) if key in names else None for key in ("path", "sha256", "label")]
    return [
        _listed(
            file,
            number,
            ["" if key is None else row[key] for key in keys],
            [row[place].strip().lower() for place in places],
        )
        for number, row in enumerate(rows, 1)
    ], {}


def _listed(file: Path, number: int, texts: Sequence[str], sides: Sequence[Any]) -> Listed:
    path, digest, label = map(spelled, texts)
    if not path:
        raise DataError(f"{shown(file)}: image {number} has no path")
    if digest and not _DIGEST.fullmatch(digest):
        raise DataError(f"{shown(file)}: image {number} has a sha256 that is none")
    for side in sides:
        if side not in _SIDES:
            raise DataError(
                f"{shown(file)}: image {number} is '{shown(str(side))}' in a fold; "
                "use train, test or nothing"
            )
    return Listed(path, digest, label, tuple(sides))


def _uniform(file: Path, listings: list[Listed]) -> list[Listed]:
    widths = {len(listing.sides) for listing in listings}
    if len(widths) > 1 or widths == {0}:
        raise DataError(f"{shown(file)}: damaged: its images do not have the same folds")
    return listings
