"""The column of splits in a table that calls it something else: set, subset, usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from offshelf.data.folders.folder_words import split_mark
from offshelf.data.tables.class_names import TRAIN, split_word
from offshelf.errors import DataError
from offshelf.text import listed, shown

_TRUTHS = frozenset({"0", "1", "true", "false", "yes", "no", "t", "f", "y", "n"})


def split_column(file: Path, columns: Mapping[str, Sequence[str]], notes: list[str]) -> str:
    """Return which of the columns that nobody knows holds the splits, "" for none.

    It is the one whose every cell is a word for a split, ``train`` and another among them.

    Args:
        file: is named in the error.
        columns: name -> cells.
        notes: gets a line about what was taken for what, or looks like a split and is not.

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
    alike = [name for name, cells in columns.items() if split_mark(name) and _are_truths(cells)]
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


def _are_truths(cells: Sequence[str]) -> bool:
    return {cell.strip().lower() for cell in cells} <= _TRUTHS
