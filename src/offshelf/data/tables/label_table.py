"""Image tables with several labels for each image: how they are read, split and checked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_folders import Reading, Row
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.folders.image_files import TABLE_SUFFIXES
from offshelf.data.tables.classes import merge_classes
from offshelf.data.tables.columns import label_columns
from offshelf.data.tables.image_table import ImageTable, check_split_settings
from offshelf.data.tables.label_sets import label_set, label_text, whole_commas
from offshelf.data.tables.label_stratification import label_split
from offshelf.data.tables.sources import existing, read_tabular
from offshelf.errors import DataError
from offshelf.text import counted, listed, shown

_SEPARATED = "with ; or | between the labels of an image"


def has_label_sets(data: str | Path) -> bool:
    """Return whether *data* is a table with a column ``labels``, as far as a glance shows.

    What cannot be read is the business of whoever reads it, so it is no such table.

    >>> has_label_sets("no/such.csv")
    False
    """
    try:
        place = existing(data)
        is_table = place.suffix.lower() in TABLE_SUFFIXES and place.is_file()
        return is_table and "labels" in label_columns(place)
    except DataError:
        return False


def read_label_table(
    data: str | Path,
    *,
    test_size: float = 0.25,
    seed: int = 0,
    with_groups: Callable[[ImageTable], ImageTable] | None = None,
) -> ImageTable:
    """Read images with several labels to train on and to test with.

    *data* is a CSV or Parquet file with the columns ``path``, ``labels`` and perhaps ``split``. A
    cell of ``labels`` holds labels with ``;`` or ``|`` between them (in Parquet it may be a list);
    an empty one is an image without a label. Without a given split, each label is split, see
    :mod:`.label_stratification`. Labels whose names differ only in case, spaces or Unicode
    composition are one, with a warning.

    Args:
        data: the file.
        test_size: share to test with where no split is given, in (0, 1).
        seed: of that split, 0 or more.
        with_groups: returns the table with groups, which the split then keeps together.

    Returns:
        The table: ``label_sets`` has the labels of each image, ``classes`` are all labels, and
        ``labels`` the text of each set.

    Raises:
        DataError: the file cannot be read, has no label or one only, or a split without images.
    """
    check_split_settings(test_size, seed)
    place = existing(data)
    table = _read(place)
    _check_labels(place, table.classes)
    if with_groups is not None:
        table = with_groups(table)
    if not any(table.splits):
        table = split_by_labels(
            dataclasses.replace(table, split_made=True), test_size=test_size, seed=seed
        )
    notes = check_label_splits(place, table)
    return dataclasses.replace(table, warnings=(*table.warnings, *notes))


def read_label_sets(data: str | Path, known: Collection[str] = ()) -> ImageTable:
    """Read images with several labels to evaluate a model with; nothing is split off.

    Rows of a given split keep it; where none is given, every row is ``test``. Labels that are
    *known* to the model stay as they are.

    Raises:
        DataError: the file cannot be read, or has no column ``labels``.
    """
    place = existing(data)
    if not (place.suffix.lower() in TABLE_SUFFIXES and place.is_file()):
        raise DataError(
            f"{shown(data)}: is no table; several labels for each image are read from a .csv or "
            f".parquet file with the columns path and labels, {_SEPARATED}"
        )
    table = _read(place, known)
    splits = tuple(split or TEST for split in table.splits)
    return in_order(dataclasses.replace(table, splits=splits))


def _read(place: Path, known: Collection[str] = ()) -> ImageTable:
    reading = read_tabular(place, several=True)
    sets = [label_set(row.label) for row in reading.rows]
    single = tuple(
        dataclasses.replace(row, label=label)
        for row, labels in zip(reading.rows, sets, strict=True)
        for label in labels
    )
    merged = merge_classes(place, Reading(single, reading.warnings), known)
    names = {row.label: one.label for row, one in zip(single, merged.rows, strict=True)}
    renamed = tuple(tuple(sorted({names[label] for label in labels})) for labels in sets)
    commas = whole_commas(renamed)
    more = (f"{shown(place)}: {commas}",) if commas else ()
    return in_order(_table(reading.rows, renamed, (*merged.warnings, *more)))


def _table(
    rows: Sequence[Row], sets: Sequence[tuple[str, ...]], warnings: tuple[str, ...]
) -> ImageTable:
    return ImageTable(
        paths=tuple(row.path for row in rows),
        labels=tuple(map(label_text, sets)),
        splits=tuple(row.split for row in rows),
        classes=tuple(sorted({label for labels in sets for label in labels})),
        warnings=warnings,
        label_sets=tuple(sets),
    )


def in_order(table: ImageTable) -> ImageTable:
    """Return the table with its rows by split (train, test), labels and path."""
    keys = zip(table.splits, table.labels, table.paths, strict=True)
    ranked = [(split != TRAIN, labels, path) for split, labels, path in keys]
    order = sorted(range(len(table)), key=ranked.__getitem__)
    return dataclasses.replace(
        table,
        paths=tuple(table.paths[k] for k in order),
        labels=tuple(table.labels[k] for k in order),
        splits=tuple(table.splits[k] for k in order),
        label_sets=tuple(table.label_sets[k] for k in order),
        groups=tuple(table.groups[k] for k in order) if table.groups else (),
    )


def split_by_labels(table: ImageTable, *, test_size: float, seed: int) -> ImageTable:
    """Return the table with a split of its own, which keeps its groups together."""
    tested = label_split(
        table.membership(),
        _names(table.paths),
        test_size=test_size,
        seed=seed,
        groups=table.groups,
    )
    splits = tuple(TEST if one else TRAIN for one in tested.tolist())
    return in_order(dataclasses.replace(table, splits=splits))


def _names(paths: Sequence[str]) -> list[str]:
    """Return paths below the folder of them all, so that a moved data set is split the same."""
    plain = [path.replace(os.sep, "/") for path in paths]
    # What is cut at the last "/" ends with a whole folder, so characters are enough.
    start = os.path.commonprefix(plain).rpartition("/")[0]  # noqa: RUF071
    return [path[len(start) :] for path in plain]


def _check_labels(place: Path, labels: Sequence[str]) -> None:
    if not labels:
        raise DataError(
            f"{shown(place)}: its column 'labels' is empty in every row; write the labels of each "
            f"image there, {_SEPARATED}"
        )
    if len(labels) == 1:
        raise DataError(
            f"{shown(place)}: holds one label only, {listed(labels)}; two or more are needed (for "
            "a yes or no, write it into a column 'label')"
        )


def check_label_splits(place: Path, table: ImageTable) -> tuple[str, ...]:
    """Check that each label can be learned; return what a person should know.

    Raises:
        DataError: a split has no images, a label has none to train on, or every image to train on
            has it.
    """
    for split in (TRAIN, TEST):
        if not len(table.rows(split)):
            why = "" if table.split_made else f"; it needs rows of the split '{split}'"
            if table.split_made and table.groups:
                why = "; each label needs images of at least two groups, or --groups none"
            doing = "train on" if split == TRAIN else "test with"
            raise DataError(f"{shown(place)}: no images to {doing}{why}")
    counts = table.membership()[table.rows(TRAIN)].sum(axis=0)
    tested = table.membership()[table.rows(TEST)].sum(axis=0)
    _check_learned(place, table, counts)
    untested = [name for name, n in zip(table.classes, tested, strict=True) if not n]
    if not untested:
        return ()
    return (f"{shown(place)}: learned but never tested, only in train: {listed(untested)}",)


def _check_learned(place: Path, table: ImageTable, counts: NDArray[np.int64]) -> None:
    never = [name for name, n in zip(table.classes, counts, strict=True) if not n]
    if never:
        is_only = "label is" if len(never) == 1 else "labels are"
        raise DataError(
            f"{shown(place)}: {len(never)} {is_only} only in test, where none can be learned: "
            f"{listed(never)}; add training images with it or leave it out"
        )
    images = len(table.rows(TRAIN))
    always = [name for name, n in zip(table.classes, counts, strict=True) if n == images]
    if always:
        stand = "label stands" if len(always) == 1 else "labels stand"
        raise DataError(
            f"{shown(place)}: {len(always)} {stand} in every training image, so what lacks it "
            f"cannot be learned: {listed(always)}; add images without it or leave it out"
        )


def label_facts(table: ImageTable) -> Iterator[tuple[str, str]]:
    """Yield how many labels images have."""
    sizes = [len(labels) for labels in table.label_sets]
    mean = sum(sizes) / max(1, len(sizes))
    none = sizes.count(0)
    without = f", {counted(none, 'image')} without a label" if none else ""
    yield "labels", f"{len(table.classes)}, {mean:.2f} of an image{without}"
