"""Classes: spellings of one class, classes that cannot be predicted, and labels beside images."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_folders import Reading, Row
from offshelf.data.folders.class_names import TEST, TRAIN, composed, same_class_key
from offshelf.data.folders.image_files import Tree
from offshelf.errors import DataError, did_you_mean
from offshelf.text import counted, listed, shown


def merge_classes(data: Path, reading: Reading, known: Collection[str] = ()) -> Reading:
    """Make one class of labels that differ only in case, spaces or Unicode composition.

    The class is called as most of its training images are, in composed form. Single
    letters are the exception: ``A`` and ``a`` are two classes where both are trained on. A label
    that is one of the *known* classes of a model stays as it is. Warnings say which were merged.

    Raises:
        DataError: two classes look the same on a screen.
    """
    renamed, notes = dict[str, str](), list[str]()
    for group in _alike(reading.rows):
        names, note = _one_class(group)
        renamed |= {label: name for label, name in names.items() if label not in known}
        notes += [note] if note else []
    rows = tuple(
        dataclasses.replace(row, label=renamed[row.label])
        if renamed.get(row.label, row.label) != row.label
        else row
        for row in reading.rows
    )
    _check_distinct(data, {row.label for row in rows})
    notes += _tested_as(reading.rows, renamed)
    return Reading(rows, (*reading.warnings, *(f"{shown(data)}: {note}" for note in notes)))


def _alike(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of labels that are nearly the same, group by group."""
    labels: dict[str, list[Row]] = {}
    for row in rows:
        labels.setdefault(row.label, []).append(row)
    groups: dict[str, list[Row]] = {}
    for label, members in labels.items():
        groups.setdefault(same_class_key(label), []).extend(members)
    return list(groups.values())


def _one_class(rows: list[Row]) -> tuple[dict[str, str], str]:
    """Return label -> name of the class, and what to say where labels of one split merge."""
    trained = [row for row in rows if row.split != TEST] or rows
    found = sorted({row.label for row in trained})
    counts = Counter[str]()
    for label, count in Counter(row.label for row in trained).items():
        counts[composed(label)] += count
    if len(counts) > 1 and all(len(name.strip()) == 1 for name in counts):
        names = {row.label: composed(row.label) for row in rows}
        both = listed(sorted(counts))
        return names, f"single letters that differ in case are classes of their own: {both}"
    name = min(counts, key=lambda one: (-counts[one], one))
    names = dict.fromkeys((row.label for row in rows), name)
    if len(found) < 2:
        return names, ""
    how = "in case or spaces" if len(counts) > 1 else "in Unicode composition"
    return names, (
        f"one class, as the names differ only {how}: {listed(found)} as {listed([name])}; "
        "rename them if they are several"
    )


def _tested_as(rows: Iterable[Row], renamed: Mapping[str, str]) -> list[str]:
    """Say which labels that are only in test were taken as a class of another name."""
    trained = {row.label for row in rows if row.split != TEST}
    tested = {row.label for row in rows if row.split == TEST} - trained
    names = {renamed.get(label, label) for label in trained}
    pairs = [
        f"{label} as {renamed[label]}"
        for label in sorted(tested & renamed.keys())
        if renamed[label] != label and renamed[label] in names
    ]
    if not pairs:
        return []
    number = counted(len(pairs), "test class", "test classes")
    return [f"{number} taken as the train class of nearly the same name: {listed(pairs)}"]


def _check_distinct(data: Path, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in sorted(names):
        other = seen.setdefault(shown(name), name)
        if other != name:
            raise DataError(
                f"{shown(data)}: two classes both print as {listed([name])}; rename one"
            )


def check_two_classes(data: Path, rows: Iterable[Row]) -> None:
    """Refuse fewer than two classes."""
    names = sorted({row.label for row in rows})
    if len(names) < 2:
        inner = data / names[0]
        is_folder = data.is_dir() and inner.is_dir()
        deeper = is_folder and any(entry.is_dir() for entry in inner.iterdir())
        hint = f" Did you mean '{shown(inner)}'?" if deeper else ""
        tables = Tree().tables(data) if data.is_dir() else []
        if tables:
            hint = f" {listed(tables)} lies there: if it has the labels, give it as DATA"
        raise DataError(
            f"{shown(data)}: holds one class only, {listed(names)}; a classifier needs at least "
            f"two.{hint}"
        )


def check_given_split(data: Path, rows: Iterable[Row]) -> tuple[str, ...]:
    """Check a split that *data* gives; return the warnings."""
    rows = list(rows)
    train, test = images_by_class(rows, TRAIN), images_by_class(rows, TEST)
    for split, images in ((TRAIN, train), (TEST, test)):
        if not images:
            raise DataError(f"{shown(data)}: {_no_images_for(split)}")
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        hint = did_you_mean(unknown[0], train)
        verb = "is" if len(unknown) == 1 else "are"
        number = counted(len(unknown), "class", "classes")
        raise DataError(
            f"{shown(data)}: {number} {verb} only in test, where none can be predicted: "
            f"{listed(unknown)}; add training images or leave the test images out.{hint}"
        )
    untested = sorted(train.keys() - test.keys())
    if not untested:
        return ()
    return (f"{shown(data)}: learned but never tested, only in train: {listed(untested)}",)


def check_seeded_split(data: Path, rows: Iterable[Row]) -> tuple[str, ...]:
    """Check that classes can be split; return the warnings."""
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


def _no_images_for(split: str) -> str:
    if split == TRAIN:
        return "no images to train on; add a train/ folder (or rows of the split 'train')"
    return (
        "no images to test with; add a test/ folder (or rows of the split 'test'), or give the "
        "train/ folder alone, and a part of it is held out"
    )


def sorted_classes(labels: Any, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted classes among *count* labels, and each label's place in them.

    Raises:
        DataError: the labels are too few or many, missing, of several kinds, continuous
            numbers, or two of them print alike.

    >>> sorted_classes(["b", "a", "b"], 3)
    (array(['a', 'b'], dtype='<U1'), array([1, 0, 1]))
    >>> sorted_classes(["b", None], 2)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: 1 of 2 labels is missing, the first at position 1 (counted from 0)
    """
    if hasattr(labels, "to_numpy"):
        labels = labels.to_numpy()
    array = np.asarray(labels) if isinstance(labels, np.ndarray) else _array(labels)
    if array.ndim != 1 or len(array) != count:
        raise DataError(f"{count} images but labels of shape {array.shape}")
    values = array.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if isinstance(labels, np.ma.MaskedArray):
        values = labels.tolist()
    _check_present(values)
    _check_one_kind(values)
    if array.dtype.kind == "c" or (array.dtype.kind == "f" and not _whole(array)):
        raise DataError("labels are continuous numbers; a classifier needs classes")
    try:
        classes, targets = np.unique(array, return_inverse=True)
    except TypeError as error:
        kind = type(values[0]).__name__
        raise DataError(f"labels of type {kind} have no order; make them text") from error
    _check_compositions([str(label) for label in classes])
    return classes, targets.astype(np.int64)


def _whole(numbers: NDArray[Any]) -> bool:
    return bool((np.isfinite(numbers) & (np.floor(numbers) == numbers)).all())


def _array(labels: Any) -> NDArray[Any]:
    try:
        return np.asarray(labels)
    except ValueError as error:  # rows of several lengths
        raise DataError("labels are lists of several lengths; give one label for each") from error


def _check_present(values: Sequence[Any]) -> None:
    missing = [place for place, value in enumerate(values) if _is_missing(value)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{len(missing)} of {len(values)} labels {verb} missing, the first at position "
            f"{missing[0]} (counted from 0)"
        )


def _is_missing(value: Any) -> bool:
    """Return whether *value* stands for no label: None, NaN, NaT, pandas' NA, empty text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    if isinstance(value, str | bytes):
        return not value.strip()
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _check_one_kind(values: Sequence[Any]) -> None:
    """Refuse labels that numpy would turn into one kind: 1 and "1" are not one class."""
    first: dict[str, Any] = {}
    for value in values:
        first.setdefault(_kind(value), value)
    if len(first) > 1:
        kinds = ", ".join(sorted({type(value).__name__ for value in first.values()}))
        examples = " and ".join(repr(value) for value in list(first.values())[:2])
        raise DataError(
            f"labels of several kinds ({kinds}), such as {examples}; make them all text"
        )


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | float | np.integer | np.floating):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _check_compositions(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(composed(name), name)
        if other != name:
            raise DataError(
                f"labels {listed([other, name])} differ only in Unicode composition; make them one"
            )
