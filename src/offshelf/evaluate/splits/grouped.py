"""Splits that keep groups whole: images of one person, scene or video stay on one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import same_length
from offshelf.errors import DataError
from offshelf.evaluate.splits.image_names import hashed
from offshelf.text import (
    counted,
    listed,
    shown,
)

Rows = NDArray[np.int64]
# How many orders of the groups are tried before a repeat is called impossible.
_ORDERS = 100


def check_groups(groups: Sequence[str], n: int) -> NDArray[np.str_]:
    """Return one group name per image.

    Raises:
        DataError: another number of groups than images, or an image without a group.

    >>> check_groups(["a", "b"], 2).tolist()
    ['a', 'b']
    """
    same_length("groups", len(groups), "images", n)
    empty = [row for row, name in enumerate(groups) if not name]
    if empty:
        raise DataError(f"{counted(len(empty), 'image')} without a group, first in row {empty[0]}")
    return np.array(groups, np.str_)


def crossing_groups(groups: NDArray[np.str_], train: Rows, test: Rows) -> tuple[str, ...]:
    """Return the groups that have images on both sides, sorted.

    >>> crossing_groups(np.array(["a", "b", "a"]), np.array([0, 1]), np.array([2]))
    ('a',)
    """
    return tuple(np.intersect1d(groups[train], groups[test]).tolist())


def group_k_fold(labels: Sequence[str], groups: NDArray[np.str_], k: int, seed: int) -> Rows:
    """Return the number of the test set, 0 to k - 1, of each image.

    Greedy, as scikit-learn's StratifiedGroupKFold: the largest group first, each to the
    fold where its classes are rarest.

    Raises:
        DataError: a class has fewer than k groups, or no deal was found in which every
            training set holds every class.
    """
    names, group_of, classes, counts = _counts(labels, groups)
    found = (counts > 0).sum(axis=0)
    if found.min() < k:
        few = int(found.argmin())
        raise DataError(
            f"too few groups: {k} folds need {k} groups in each class, but "
            f"'{shown(classes[few])}' has {found[few]}"
        )
    shares = counts / counts.sum(axis=0)
    ranks = [hashed(seed, name) for name in names]
    held, fold_of = np.zeros((k, len(classes))), np.empty(len(names), np.int64)
    for group in sorted(range(len(names)), key=lambda g: (-shares[g].sum(), ranks[g])):
        # Equal folds are tried in an order of the group's own, which no other class moves.
        order = (np.arange(k) + ranks[group][0]) % k
        cost = np.round(held[order] @ shares[group], 12)
        fold_of[group] = order[int(cost.argmin())]
        held[fold_of[group]] += shares[group]
    _check_deal(held, classes, k)
    return fold_of[group_of]


def group_repeat(
    labels: Sequence[str],
    groups: NDArray[np.str_],
    ranked: Mapping[str, Rows],
    n: int,
    salt: str,
) -> tuple[Rows, Rows]:
    """Return positions to train with, n per class, and positions to test, of other groups.

    Args:
        labels: class of each image.
        groups: group of each image.
        ranked: the positions of each class in random order.
        n: training images per class.
        salt: text that the random order of the groups comes from.

    Raises:
        DataError: some class cannot have n images and leave a group to test.
    """
    names, group_of, classes, counts = _counts(labels, groups)
    lacking = -1
    for number in range(_ORDERS):
        order = sorted(range(len(names)), key=lambda g: hashed(salt, number, names[g]))
        taken = _take(counts, order, n)
        untested = np.flatnonzero(counts[~taken].sum(axis=0) == 0)
        if not len(untested):
            inside = taken[group_of]
            train = [order_[inside[order_]][:n] for order_ in ranked.values()]
            return np.sort(np.concatenate(train)), np.flatnonzero(~inside)
        lacking = int(untested[0])
    found = counted(int((counts[:, lacking] > 0).sum()), "group")
    raise DataError(
        f"too few groups: {counted(n, 'training image')} per class leave none of the {found} of "
        f"'{shown(classes[lacking])}' to test: choose fewer images per class"
    )


def _counts(
    labels: Sequence[str], groups: NDArray[np.str_]
) -> tuple[list[str], Rows, list[str], Rows]:
    """Return group names, group of each image, class names, and images per group and class."""
    classes, class_of = np.unique(np.array(labels, np.str_), return_inverse=True)
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (group_of, class_of), 1)
    return names.tolist(), group_of, classes.tolist(), counts


def _take(counts: Rows, order: Sequence[int], n: int) -> NDArray[np.bool_]:
    """Take groups in *order* as long as one of their classes has fewer than n images."""
    taken, held = np.zeros(len(counts), bool), np.zeros(counts.shape[1], np.int64)
    for group in order:
        if (held[counts[group] > 0] < n).any():
            taken[group] = True
            held += counts[group]
    return taken


def _check_deal(held: NDArray[np.float64], classes: Sequence[str], k: int) -> None:
    missing = np.flatnonzero((held > 0).sum(axis=0) < 2)
    if len(missing) or not held.any(axis=1).all():
        names = listed(classes[place] for place in missing.tolist()) or "a test set"
        raise DataError(
            f"the groups do not allow {k} folds: {names} would be left empty on one side; "
            "choose fewer folds"
        )
