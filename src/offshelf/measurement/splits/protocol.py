"""Evaluation protocols: folds of an image table, the same for the same seed.

Images are ranked by a hash of seed, class and name. So the order of the classes and rows
does not matter, and where no groups are given one class never moves the images of another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import whole
from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.measurement.splits.image_groups import (
    check_groups,
    crossing_groups,
    group_k_fold,
    group_repeat,
    hashed,
    image_names,
)
from offshelf.text import counted, listed, shown

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """One training set and the test set that belongs to it; they share no row.

    Attributes:
        train: row numbers of the image table, int64, ascending, read-only.
        test: the same.

    >>> Fold(np.array([2, 0]), np.array([1]))
    Fold(train=array([0, 2]), test=array([1]))
    """

    train: Rows
    test: Rows

    def __post_init__(self) -> None:
        for side in ("train", "test"):
            rows = np.unique(np.asarray(getattr(self, side), np.int64))
            rows.flags.writeable = False
            object.__setattr__(self, side, rows)


def given_split(table: ImageTable, *, groups: Sequence[str] | None = None) -> tuple[Fold]:
    """Return the split that came with the images, as one fold.

    Groups are one name per row of the table, None where images are independent. DataError where
    a side has no images, or a group is on both sides.

    >>> table = ImageTable(("a", "b", "c"), ("x", "y", "x"), ("train", "train", "test"), (), ())
    >>> given_split(table)
    (Fold(train=array([0, 1]), test=array([2])),)
    """
    fold = Fold(table.rows(TRAIN), table.rows(TEST))
    for side, rows in ((TRAIN, fold.train), (TEST, fold.test)):
        if not len(rows):
            raise DataError(f"the given split has no {side} images: choose k-fold or repeats")
    if groups is not None:
        crossing = crossing_groups(check_groups(groups, len(table)), fold.train, fold.test)
        if crossing:
            raise DataError(
                f"the given split has {counted(len(crossing), 'group')} on both sides: "
                f"{listed(crossing)}; choose k-fold or repeats, which keep groups together"
            )
    return (fold,)


def k_fold(
    table: ImageTable,
    k: int = 5,
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    rows: Rows | None = None,
) -> tuple[Fold, ...]:
    """Return k folds; every image is tested once, every class is in every test set.

    Stratified: within each class the test sets differ by at most one image. With groups,
    whole groups are dealt, the largest first, each to the fold that holds least of its
    classes; then sizes differ as much as the groups force them to.

    Args:
        table: labelled images.
        k: folds, 2 or more.
        seed: another seed is another deal; 0 or more.
        groups: one name per row of the table; images of a group stay on one side.
        rows: the rows that take part, for folds inside a training set; None for all.

    Raises:
        DataError: k is larger than the smallest class, or than the number of groups of
            a class; the groups do not allow k folds; the table has no labels.

    >>> table = ImageTable(tuple("abcd"), tuple("xyxy"), ("train",) * 4, ("x", "y"), ())
    >>> [len(fold.test) for fold in k_fold(table, 2)]
    [2, 2]
    """
    k, seed = whole("k", k, 2), whole("seed", seed)
    rows, labels = _taking_part(table, rows)
    if groups is not None:
        member = check_groups(groups, len(table))[rows]
        deal = group_k_fold(labels, member, k, seed)
    else:
        _check_smallest(labels, k)
        deal = np.empty(len(rows), np.int64)
        for label, ranked in _ranked(table, rows, labels, seed, "k-fold").items():
            # Without the offset every remainder would fall to the first folds.
            offset = int.from_bytes(hashed(seed, label)[:4], "big")
            deal[ranked] = (np.arange(len(ranked)) + offset) % k
    return tuple(Fold(rows[deal != part], rows[deal == part]) for part in range(k))


def repeats(
    table: ImageTable,
    n: int = 100,
    times: int = 10,
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    rows: Rows | None = None,
) -> tuple[Fold, ...]:
    """Return random splits with n training images per class; the rest is tested.

    The protocol of Lazebnik, Schmid and Ponce, "Beyond bags of features", CVPR 2006, for
    15-Scene: 10 repeats of 100. With the same seed, the training images of a smaller n
    are among those of a larger one (without groups). With groups, whole groups are set
    aside for training until each class has n images; what a class has beyond n in them
    is neither trained with nor tested.

    Args:
        table: labelled images; where it says train or test is not looked at.
        n: training images per class, 1 or more.
        times: number of splits, 1 or more.
        seed: another seed gives other splits; 0 or more.
        groups: one name per row of the table; no group is on both sides.
        rows: the rows that take part; None for all.

    Raises:
        DataError: a class has no more than n images, or its groups cannot give n images
            and leave one group to test; the table has no labels.

    >>> table = ImageTable(tuple("abcdef"), tuple("xyxyxy"), ("test",) * 6, ("x", "y"), ())
    >>> [(len(fold.train), len(fold.test)) for fold in repeats(table, 1, 2)]
    [(2, 4), (2, 4)]
    """
    n, times, seed = whole("n per class", n, 1), whole("repeats", times, 1), whole("seed", seed)
    rows, labels = _taking_part(table, rows)
    _check_enough(labels, n, leave=1)
    member = None if groups is None else check_groups(groups, len(table))[rows]
    folds = []
    for number in range(times):
        ranked = _ranked(table, rows, labels, seed, number)
        if member is not None:
            train, test = group_repeat(labels, member, ranked, n, f"{seed} {number}")
            folds.append(Fold(rows[train], rows[test]))
        else:
            chosen = np.concatenate([order[:n] for order in ranked.values()])
            folds.append(Fold(rows[chosen], np.delete(rows, chosen)))
    return tuple(folds)


def subsets(
    table: ImageTable, fold: Fold, sizes: Sequence[int], *, times: int = 1, seed: int = 0
) -> tuple[tuple[Fold, ...], ...]:
    """Return smaller training sets of one fold, all with its test set: for learning curves.

    For each size, training images per class, one fold for each of *times* draws; in a draw, a
    smaller set is part of a larger one. Where the table has groups, a draw takes the images of
    one group after another. DataError where a class has fewer training images.

    >>> table = ImageTable(tuple("abcde"), tuple("xyxyx"), ("train",) * 5, ("x", "y"), ())
    >>> fold = Fold(np.arange(4), np.array([4]))
    >>> [[len(draw.train) for draw in draws] for draws in subsets(table, fold, [1, 2], times=3)]
    [[2, 2, 2], [4, 4, 4]]
    """
    sizes = [whole("n per class", size, 1) for size in sizes]
    times, seed = whole("repeats", times, 1), whole("seed", seed)
    if not sizes:
        raise DataError("no sizes: name at least one number of training images per class")
    rows, labels = _taking_part(table, fold.train)
    _check_enough(labels, max(sizes), leave=0)
    draws = [
        _ranked(table, rows, labels, seed, number, groups=table.groups) for number in range(times)
    ]
    return tuple(
        tuple(
            Fold(rows[np.concatenate([order[:size] for order in ranked.values()])], fold.test)
            for ranked in draws
        )
        for size in sizes
    )


def _taking_part(table: ImageTable, rows: Rows | None) -> tuple[Rows, list[str]]:
    rows = np.arange(len(table)) if rows is None else np.unique(np.asarray(rows, np.int64))
    labels = [table.labels[row] for row in rows]
    if not all(labels):
        raise DataError("the images have no labels: a protocol needs the class of each image")
    if not labels:
        raise DataError("no images: a protocol needs at least two of each class")
    return rows, labels


def _ranked(
    table: ImageTable,
    rows: Rows,
    labels: Sequence[str],
    *salt: object,
    groups: Sequence[str] = (),
) -> dict[str, Rows]:
    """Return for each class, sorted by name, the positions in *rows* of its images, ranked.

    With groups, one per row of the table, the images of a group follow one another.
    """
    names = image_names(table.paths)
    members: dict[str, list[tuple[bytes, bytes, int]]] = {
        label: [] for label in sorted(set(labels))
    }
    for position, (row, label) in enumerate(zip(rows, labels, strict=True)):
        first = hashed(*salt, groups[row]) if groups else b""
        members[label].append((first, hashed(*salt, label, names[row]), position))
    return {
        label: np.array([position for *_, position in sorted(found)], np.int64)
        for label, found in members.items()
    }


def _check_smallest(labels: Sequence[str], k: int) -> None:
    size, label = min((size, label) for label, size in Counter(labels).items())
    if size < k:
        few = f"choose at most {size}" if size > 1 else "leave the class out or add images"
        raise DataError(
            f"{k} folds are more than the {counted(size, 'image')} of the smallest class "
            f"'{shown(label)}': {few}"
        )


def _check_enough(labels: Sequence[str], n: int, leave: int) -> None:
    size, label = min((size, label) for label, size in Counter(labels).items())
    if size < n + leave:
        test = " and one to test" if leave else ""
        few = f"choose at most {size - leave}" if size > leave else "leave the class out"
        raise DataError(
            f"{counted(n, 'training image')} per class{test} cannot be taken from "
            f"'{shown(label)}', which has {size}: {few}"
        )
