"""The seeded stratified split: who is tested does not depend on the order of the files."""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Sequence

from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.errors import DataError
from offshelf.text import spelled


def check_split_settings(test_size: float, seed: int) -> None:
    """Refuse a share outside (0, 1) and a seed that is no whole number >= 0.

    Raises:
        DataError: naming the setting and its value.
    """
    if not isinstance(test_size, numbers.Real) or not 0 < test_size < 1:
        raise DataError(f"test_size is a share between 0 and 1 such as 0.25, not {test_size!r}")
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise DataError(f"seed is a whole number of 0 or more, not {seed!r}")


def stratified_split(
    labels: Sequence[str], names: Sequence[str], *, test_size: float = 0.25, seed: int = 0
) -> tuple[str, ...]:
    """Return ``train`` or ``test`` for each row, class by class.

    In a class of n >= 2 images, round(n x test_size) of them are tested, at least one
    and at most n - 1; a single image is for training. Within a class the images are
    ranked by the sha256 of seed, label and name and the first ones are tested. So one
    class never moves another, the order of the rows is of no account, and most images
    keep their side when a class grows.

    Args:
        labels: class of each row.
        names: name of each row inside the data set, the same wherever that is stored.
        test_size: share of each class to test, in (0, 1).
        seed: another seed is another split; 0 or more.

    Raises:
        DataError: *test_size* or *seed* is out of range.

    >>> stratified_split(["a"] * 4 + ["b"] * 2, ["1", "2", "3", "4", "5", "6"]).count("test")
    2
    """
    check_split_settings(test_size, seed)
    members: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        members.setdefault(label, []).append(row)
    splits = [TRAIN] * len(labels)
    for label, rows in members.items():
        ranked = sorted(rows, key=lambda row: _rank(int(seed), label, names[row]))
        for row in ranked[: _tested(len(rows), test_size)]:
            splits[row] = TEST
    return tuple(splits)


def _tested(images: int, test_size: float) -> int:
    return min(max(math.floor(images * test_size + 0.5), 1), images - 1)


def _rank(seed: int, label: str, name: str) -> bytes:
    text = f"{seed}\0{label}\0{name}"
    return hashlib.sha256(spelled(text).encode()).digest()
