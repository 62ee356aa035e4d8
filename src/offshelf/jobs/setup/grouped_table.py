"""Groups of images of a job: where they come from, and a split that keeps them together."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.folders.image_files import TABLE_SUFFIXES
from offshelf.data.tables.columns import split_column
from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.sources import existing
from offshelf.errors import DataError
from offshelf.jobs.setup.settings import RunSettings
from offshelf.measurement.splits.group_split import group_split
from offshelf.measurement.splits.image_groups import (
    column_cells,
    column_names,
    crossing_groups,
    groups_by_column,
    groups_by_pattern,
    image_names,
)
from offshelf.text import counted, listed, shown

NONE, LEAKS = "none", "leaks"
# The column that is used unasked, and others that are likely to hold groups.
_COLUMN = "group"
_LIKELY = frozenset({"groups", "group_id", "patient", "patient_id", "subject", "subject_id"})


def grouped(table: ImageTable, data: Path, run: RunSettings) -> ImageTable:
    """Return the table with the groups that *run* names; a split made here keeps them together.

    Raises:
        DataError: the groups cannot be found, or leave nothing to test.
    """
    groups, note = groups_of(table, data, run.groups)
    if groups is None:
        return dataclasses.replace(table, warnings=(*table.warnings, *note))
    table = dataclasses.replace(table, groups=groups)
    if table.split_made:
        table = _split_again(table, data, run)
    lines = [f"{name}: {text}" for name, text in group_facts(table)]
    return dataclasses.replace(table, warnings=(*table.warnings, *lines))


def groups_of(
    table: ImageTable, data: Path, text: str | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the group of each image, None where there are none, and what a person should know.

    Raises:
        DataError: an image has no group, or what *text* names is not there.
    """
    columns = _columns(data)
    if text is None:
        return _unasked(table, data, columns)
    if text == NONE:
        return None, ()
    if text.strip().lower() in [name.lower() for name in columns]:
        return groups_by_column(table, data, text), ()
    if not text.strip():
        raise DataError(
            "groups: name a column, FILE:COLUMN or a regular expression; --groups none has none"
        )
    file, colon, column = text.rpartition(":")
    if colon and (Path(file).is_file() or Path(file).suffix.lower() in TABLE_SUFFIXES):
        return groups_by_column(table, existing(file), column), ()
    if columns and re.fullmatch(r"[\w -]+", text):
        # A name, and no pattern: the error lists the columns.
        return groups_by_column(table, data, text), ()
    return groups_by_pattern(table, text), ()


def _columns(data: Path) -> tuple[str, ...]:
    is_table = data.suffix.lower() in TABLE_SUFFIXES and data.is_file()
    return column_names(data) if is_table else ()


def _unasked(
    table: ImageTable, data: Path, columns: tuple[str, ...]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    lower = [name.lower() for name in columns]
    if _COLUMN in lower and not split_column(data, {_COLUMN: column_cells(data, _COLUMN)}, []):
        try:
            return groups_by_column(table, data, _COLUMN), ()
        except DataError as error:
            raise DataError(
                f"{error}; name every image's group, or ignore the column with --groups none"
            ) from None
    likely = [name for name in columns if name.lower() in _LIKELY]
    if not likely:
        return None, ()
    name = shown(likely[0])
    return None, (
        f"{shown(data)}: its column '{name}' is not used; --groups {name} keeps images of a group "
        "together in every split",
    )


def _split_again(table: ImageTable, data: Path, run: RunSettings) -> ImageTable:
    """Return the table with a split of whole groups, its rows in the usual order."""
    groups = np.array(table.groups, np.str_)
    if len(np.unique(groups)) < 2:
        raise DataError(
            f"{shown(data)}: all images are of one group, {listed(table.groups[:1])}; to train and "
            "to test, at least two are needed, or --groups none"
        )
    tested = group_split(table.labels, groups, test_size=run.test_size, seed=run.seed)
    if not tested.any():
        raise DataError(
            f"{shown(data)}: no group can be tested without leaving a class without training "
            "images; classes need images of at least two groups, or --groups none"
        )
    names, labels = image_names(table.paths), np.array(table.labels, np.str_)
    order = sorted(range(len(table)), key=lambda k: (tested[k], table.labels[k], names[k]))
    single = set(np.unique(labels[~tested]).tolist()) - set(labels[tested].tolist())
    several = sorted(name for name in single if table.labels.count(name) > 1)
    note = f"{shown(data)}: no group to spare, learned but never tested: {listed(several)}"
    return dataclasses.replace(
        table,
        paths=tuple(table.paths[k] for k in order),
        labels=tuple(table.labels[k] for k in order),
        splits=tuple(TEST if tested[k] else TRAIN for k in order),
        groups=tuple(table.groups[k] for k in order),
        warnings=(*table.warnings, note) if several else table.warnings,
    )


def group_numbers_of(table: ImageTable, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the numbers of the groups of *rows*; None where images are independent."""
    if not table.groups:
        return None
    return np.unique(np.array(table.groups, np.str_)[rows], return_inverse=True)[1].astype(np.int64)


def groups_in_both(table: ImageTable) -> tuple[str, ...]:
    """Return the groups with images to train and to test."""
    groups = np.array(table.groups, np.str_)
    return crossing_groups(groups, table.rows(TRAIN), table.rows(TEST)) if table.groups else ()


def group_facts(table: ImageTable) -> Iterator[tuple[str, str]]:
    """Yield how many groups there are, and how many stand in both splits; nothing without."""
    if not table.groups:
        return
    n = len(set(table.groups))
    if n == len(table):
        yield "groups", f"{n:,}, one for each image, so none keeps images together"
        return
    several = counted(n, "group")
    where = "every split" if table.split_made else "every split that is made here"
    yield "groups", f"{several} of {counted(len(table), 'image')}, kept together in {where}"
    if both := groups_in_both(table):
        stand = "group stands" if len(both) == 1 else "groups stand"
        yield LEAKS, f"{len(both):,} {stand} in both splits, which flatters the accuracy"


def describe_groups(table: ImageTable) -> dict[str, Any] | None:
    """Return the same as JSON values; None without groups."""
    if not table.groups:
        return None
    return {"n": len(set(table.groups)), "in_both_splits": len(groups_in_both(table))}
