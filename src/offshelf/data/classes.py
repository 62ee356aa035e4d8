"""Classes across the two splits: which are one, and which a head could never predict."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from offshelf.data.names import TEST, TRAIN, counted, listed, same_class_key, shown
from offshelf.data.rows import Reading, Row
from offshelf.errors import DataError, did_you_mean


def merge_classes(data: Path, reading: Reading) -> Reading:
    """Give test classes the name of the train class that differs only in case or spaces.

    An exact name wins. A test class that is like several train classes is left alone.

    Returns:
        The rows with their final labels, and one more warning if any was renamed.
    """
    train, test = images_by_class(reading.rows, TRAIN), images_by_class(reading.rows, TEST)
    alike: dict[str, list[str]] = {}
    for name in train:
        alike.setdefault(same_class_key(name), []).append(name)
    renamed = {}
    for name in test:
        candidates = alike.get(same_class_key(name), [])
        if name not in train and len(candidates) == 1:
            renamed[name] = candidates[0]
    if not renamed:
        return reading
    rows = tuple(_renamed(row, renamed) for row in reading.rows)
    return Reading(rows, (*reading.warnings, f"{shown(data)}: {_merged(renamed)}"))


def check_two_classes(data: Path, rows: Iterable[Row]) -> None:
    """Refuse fewer than two classes.

    Raises:
        DataError: naming the one class, and the folder that was perhaps meant.
    """
    names = sorted({row.label for row in rows})
    if len(names) < 2:
        inner = data / names[0]
        is_folder = data.is_dir() and inner.is_dir()
        deeper = is_folder and any(entry.is_dir() for entry in inner.iterdir())
        hint = f" Did you mean '{shown(inner)}'?" if deeper else ""
        raise DataError(
            f"{shown(data)}: holds one class only, {listed(names)}; a classifier needs at least "
            f"two.{hint}"
        )


def check_given_split(data: Path, rows: Iterable[Row]) -> tuple[str, ...]:
    """Check a split that *data* gives; return the warnings.

    Raises:
        DataError: a split is empty, or a class is only in test.
    """
    rows = list(rows)
    train, test = images_by_class(rows, TRAIN), images_by_class(rows, TEST)
    for split, images in ((TRAIN, train), (TEST, test)):
        if not images:
            raise DataError(f"{shown(data)}: {_no_images_for(split)}")
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        hint = did_you_mean(unknown[0], train)
        raise DataError(
            f"{shown(data)}: {_class_word(unknown)} only in test, where none can be predicted: "
            f"{listed(unknown)}; add training images or leave the test images out.{hint}"
        )
    untested = sorted(train.keys() - test.keys())
    if not untested:
        return ()
    return (f"{shown(data)}: learned but never tested, only in train: {listed(untested)}",)


def check_seeded_split(data: Path, rows: Iterable[Row]) -> tuple[str, ...]:
    """Check that classes can be split; return the warnings.

    Raises:
        DataError: every class has one image, so nothing could be tested.
    """
    images = images_by_class(rows)
    single = sorted(name for name, number in images.items() if number == 1)
    if len(single) == len(images):
        raise DataError(
            f"{shown(data)}: every class has one image only; to train and to test, a class needs "
            "at least two"
        )
    if not single:
        return ()
    return (f"{shown(data)}: one image only, learned but never tested: {listed(single)}",)


def images_by_class(rows: Iterable[Row], split: str | None = None) -> Counter[str]:
    """Return class name -> number of images, of one split or of all rows."""
    return Counter(row.label for row in rows if split is None or row.split == split)


def _renamed(row: Row, renamed: Mapping[str, str]) -> Row:
    if row.split != TEST or row.label not in renamed:
        return row
    return dataclasses.replace(row, label=renamed[row.label])


def _merged(renamed: Mapping[str, str]) -> str:
    pairs = [f"{test} as {train}" for test, train in sorted(renamed.items())]
    number = counted(len(pairs), "test class", "test classes")
    return f"{number} taken as the train class of nearly the same name: {listed(pairs)}"


def _class_word(names: list[str]) -> str:
    return f"{counted(len(names), 'class', 'classes')} {'is' if len(names) == 1 else 'are'}"


def _no_images_for(split: str) -> str:
    if split == TRAIN:
        return "no images to train on; add a train/ folder (or rows of the split 'train')"
    return (
        "no images to test with; add a test/ folder (or rows of the split 'test'), or give the "
        "train/ folder alone, and a part of it is held out"
    )
