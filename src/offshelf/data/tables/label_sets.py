"""Label sets: several labels of one image, in one cell of a table."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from offshelf.data.folders.class_folders import Row
from offshelf.data.tables.columns import SEPARATORS
from offshelf.text import counted, listed

_BETWEEN = re.compile(f"[{re.escape(SEPARATORS)}]")


def label_set(text: str) -> tuple[str, ...]:
    """Return the labels of a cell, sorted; () for an image without one.

    >>> label_set("sea; beach |sea;"), label_set(" ")
    (('beach', 'sea'), ())
    """
    parts = (part.strip() for part in _BETWEEN.split(text))
    return tuple(sorted({part for part in parts if part}))


def label_text(labels: Iterable[str]) -> str:
    """Return several labels as one cell.

    >>> label_text(["beach", "sea"])
    'beach; sea'
    """
    return f"{SEPARATORS[0]} ".join(labels)


def united(rows: Sequence[Row], warnings: list[str]) -> tuple[Row, ...]:
    """Return a row for each image and split, with the labels of all its rows.

    *warnings* get a line where an image stands in several rows, or in both splits.
    """
    sets: dict[tuple[str, str], set[str]] = {}
    first: dict[tuple[str, str], Row] = {}
    repeated = dict[str, str]()
    for row in rows:
        key = os.path.normpath(row.path), row.split
        if key in first:
            repeated[key[0]] = row.name
        first.setdefault(key, row)
        sets.setdefault(key, set()).update(label_set(row.label))
    if repeated:
        stand = "image stands" if len(repeated) == 1 else "images stand"
        warnings.append(
            f"{len(repeated)} {stand} in several rows, whose labels are taken together: "
            f"{listed(repeated.values())}"
        )
    sides = Counter(place for place, _ in first)
    leaked = {place: row.name for (place, _), row in first.items() if sides[place] > 1}
    if leaked:
        warnings.append(
            f"images both in train and in test (figures too high): {listed(leaked.values())}"
        )
    return tuple(
        dataclasses.replace(row, label=label_text(sorted(sets[key]))) for key, row in first.items()
    )


def whole_commas(sets: Iterable[Sequence[str]]) -> str:
    """Return a line about labels with commas where no image has two labels, "" without.

    >>> whole_commas([["beach, sea"], ["wood"]])
    "commas do not separate labels, ; and | do: 1 label has one, such as 'beach, sea'"
    """
    kept = list(sets)
    commas = sorted({label for labels in kept for label in labels if "," in label})
    if not commas or any(len(labels) > 1 for labels in kept):
        return ""
    has = "has" if len(commas) == 1 else "have"
    return (
        f"commas do not separate labels, ; and | do: {counted(len(commas), 'label')} {has} one, "
        f"such as {listed(commas[:1])}"
    )
