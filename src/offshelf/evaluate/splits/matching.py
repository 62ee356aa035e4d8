"""Images of a file found again in an image table: by name, else by content, else refused."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.evaluate.splits.image_names import image_names
from offshelf.text import (
    counted,
    listed,
    shown,
)


class Listed(NamedTuple):
    """One image as a file names it; "" for what the file does not say."""

    path: str
    sha256: str
    label: str
    sides: tuple[str, ...]


def match_rows(
    file: Path, listings: Sequence[Listed], table: ImageTable, digests: Sequence[str]
) -> NDArray[np.int64]:
    """Return the row of the table that each image of the file is.

    Args:
        file: the file; its paths may also be relative to its folder.
        listings: the images of the file.
        table: the images at hand.
        digests: the sha256 of each, "" where it is not known.

    Raises:
        DataError: images of the file that are not in the table, or the other way round;
            an image whose content or label is another one than the file says.
    """
    rows = _by_name(file.parent, listings, table.paths)
    _by_content(listings, rows, digests)
    known = set(rows)
    _refuse(file, [a.path for a, row in zip(listings, rows, strict=True) if row < 0], True)
    _refuse(file, [path for row, path in enumerate(table.paths) if row not in known], False)
    for listing, row in zip(listings, rows, strict=True):
        if listing.sha256 and digests[row] and listing.sha256 != digests[row]:
            raise DataError(
                f"{shown(file)}: '{shown(listing.path)}' has changed since the splits were "
                "written: write them again"
            )
        if listing.label and listing.label != table.labels[row]:
            raise DataError(
                f"{shown(file)}: '{shown(listing.path)}' is of class '{shown(listing.label)}' "
                f"there and '{shown(table.labels[row])}' here: use the data the splits were made "
                "from"
            )
    return np.array(rows, np.int64)


def _by_name(folder: Path, listings: Sequence[Listed], paths: Sequence[str]) -> list[int]:
    """Return rows by name, -1 for none; an image that is there twice is its first two rows."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(image_names(paths)):
        places[name].append(row)
    full: defaultdict[str, list[int]] = defaultdict(list)
    for row, path in enumerate(paths):
        full[os.path.abspath(path)].append(row)  # noqa: PTH100 - links stay as they are
    seen: Counter[str] = Counter()
    rows = []
    for path in (listing.path for listing in listings):
        found = places.get(path) or full.get(os.path.abspath(folder / path), [])  # noqa: PTH100
        rows.append(found[seen[path]] if seen[path] < len(found) else -1)
        seen[path] += 1
    return rows


def _by_content(listings: Sequence[Listed], rows: list[int], digests: Sequence[str]) -> None:
    """Give images without a row one of the rows left over that has their content."""
    taken = set(rows)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for row in reversed(range(len(digests))):
        if row not in taken and digests[row]:
            places[digests[row]].append(row)
    for number, listing in enumerate(listings):
        if rows[number] < 0 and places.get(listing.sha256):
            rows[number] = places[listing.sha256].pop()


def _refuse(file: Path, names: Sequence[str], listed_there: bool) -> None:
    if not names:
        return
    verb = "is" if len(names) == 1 else "are"
    there, here = ("splits", "data") if listed_there else ("data", "splits")
    raise DataError(
        f"{shown(file)}: {counted(len(names), 'image')} of the {there} {verb} not in the {here}: "
        f"{listed(names)}; use the data the splits were made from"
    )
