"""The folds of a protocol, and its description on one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.evaluate.splits.image_groups import groups_by_column, groups_by_pattern
from offshelf.evaluate.splits.protocol import Fold, given_split, k_fold, repeats
from offshelf.evaluate.splits.split_file import Splits, read_splits, write_splits
from offshelf.jobs.compare.grid import ProtocolSettings

Rows = NDArray[np.int64]


def folds_of(
    table: ImageTable, settings: ProtocolSettings, seed: int, rows: Rows | None = None
) -> tuple[Fold, ...]:
    """Return the folds.

    Args:
        table: labelled images.
        settings: the protocol.
        seed: of random splits.
        rows: the rows that have features; None for all, to check before any work.

    Raises:
        DataError: the protocol does not fit the data; one line says why.
    """
    groups = _groups(table, settings.groups)
    if settings.splits_from is not None:
        folds = read_splits(settings.splits_from, table).folds
    elif settings.kind == "k-fold":
        return k_fold(table, settings.folds, seed=seed, groups=groups, rows=rows)
    elif settings.kind == "repeats":
        return repeats(
            table, settings.per_class, settings.repeats, seed=seed, groups=groups, rows=rows
        )
    else:
        folds = given_split(table, groups=groups)
    return folds if rows is None else tuple(_restricted(fold, rows) for fold in folds)


def keep_splits(
    table: ImageTable, folds: tuple[Fold, ...], settings: ProtocolSettings, seed: int
) -> None:
    """Write the folds where the settings say."""
    if settings.splits_to is None:
        return
    document = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(settings).items()
        if not name.startswith("splits")
    }
    write_splits(settings.splits_to, table, Splits(folds, document | {"seed": seed}))


def described(settings: ProtocolSettings, folds: Sequence[Fold]) -> str:
    """Return the protocol on one line.

    >>> fold = Fold(np.arange(4), np.arange(4, 6))
    >>> described(ProtocolSettings(), [fold])
    'given split: 4 images to train, 2 to test'
    """
    if settings.splits_from is not None:
        name = f"splits of {settings.splits_from}"
    elif settings.kind == "k-fold":
        name = f"{settings.folds}-fold cross-validation"
    elif settings.kind == "repeats":
        name = f"{settings.repeats} repeats of {settings.per_class} training images per class"
    else:
        name = "given split"
    train, test = (_range([len(getattr(f, side)) for f in folds]) for side in ("train", "test"))
    return f"{name}: {train} images to train, {test} to test"


def _groups(table: ImageTable, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    file, colon, column = text.rpartition(":")
    if colon and Path(file).is_file():
        return groups_by_column(table, file, column)
    return groups_by_pattern(table, text)


def _restricted(fold: Fold, rows: Rows) -> Fold:
    train, test = np.intersect1d(fold.train, rows), np.intersect1d(fold.test, rows)
    for side, left in (("training", train), ("test", test)):
        if not len(left):
            raise DataError(f"none of the {side} images can be used; 'offshelf audit' says why")
    return Fold(train, test)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
