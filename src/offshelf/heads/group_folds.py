"""Rows held out in turn: one by one, or groups of them (of one person, scene or film) together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import same_length
from offshelf.errors import DataError, HeadError
from offshelf.heads.class_balance import ALONE, stratified_folds
from offshelf.heads.options import FOLDS
from offshelf.text import counted

Groups = NDArray[np.int64]


def group_numbers(groups: Sequence[Any] | NDArray[Any], n: int) -> Groups:
    """Return a number for the group of each of n rows, the same for equal groups.

    Raises:
        DataError: not one group for each row, or a group is a list of several values.
        HeadError: a row has no group, or all have the same.

    >>> group_numbers(["ann", "bob", "ann"], 3).tolist()
    [0, 1, 0]
    """
    try:
        names = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
        hash(tuple(names))
    except TypeError as error:
        raise DataError("groups: one name or number for each image is needed") from error
    same_length("groups", len(names), "images", n)
    empty = [row for row, name in enumerate(names) if _is_missing(name)]
    if empty:
        first = f"first in row {empty[0]}"
        raise HeadError(f"{counted(len(empty), 'image')} without a group, {first}")
    known: dict[Any, int] = {}
    found = np.array([known.setdefault(name, len(known)) for name in names], np.int64)
    if len(known) < 2:
        raise HeadError("all images are of one group: two or more are needed, or none")
    return found


def groups_with_copies(groups: Groups | None, digests: Sequence[bytes]) -> Groups | None:
    """Return the groups for folds in which neither a group nor the copies of an image are divided.

    Args:
        groups: N numbers; None where images are independent.
        digests: N, of each image's bytes; images of one digest are copies. An image with an
            empty digest has none.

    Returns:
        N numbers, in the order of the groups that were given, or of the rows; *groups* itself
        where there are no copies.

    >>> groups_with_copies(np.array([0, 1, 1, 2]), [b"x", b"x", b"y", b"z"]).tolist()
    [0, 0, 0, 1]
    >>> groups_with_copies(None, [b"y", b"x", b"", b"", b"x"]).tolist()
    [0, 1, 2, 3, 1]
    >>> groups_with_copies(None, [b"x", b"y"]) is None
    True
    """
    first: dict[bytes, int] = {}
    numbers = [first.setdefault(one, row) if one else row for row, one in enumerate(digests)]
    copies = np.array(numbers, np.int64)
    if len(copies) == len(np.unique(copies)):
        return groups
    return together(np.arange(len(copies)) if groups is None else groups, copies)


def together(one: Groups, other: Groups) -> Groups:
    """Return numbers of N rows: rows that share one of either, also through others, are joined.

    They are in the order of *one*.

    >>> together(np.array([5, 5, 6, 7]), np.array([0, 1, 1, 2])).tolist()
    [0, 0, 0, 1]
    """
    left, right = (np.unique(numbers, return_inverse=True)[1] for numbers in (one, other))
    # In numpy, as scipy.sparse takes a quarter of a second to load.
    roots = np.arange(int(left.max(initial=-1)) + 1)
    while True:
        lowest = np.full(int(right.max(initial=-1)) + 1, len(roots))
        np.minimum.at(lowest, right, roots[left])
        found = roots.copy()
        np.minimum.at(found, left, lowest[right])
        found = found[found]
        if np.array_equal(found, roots):
            return np.unique(roots, return_inverse=True)[1].astype(np.int64)[left]
        roots = found


def _is_missing(name: Any) -> bool:
    return name is None or name == "" or (isinstance(name, float) and math.isnan(name))


def grouped_folds(targets: NDArray[np.int64], groups: Groups, folds: int, seed: int) -> Groups:
    """Return for each row the fold that holds its group out, -1 where its class then had no row.

    Greedy, as scikit-learn's StratifiedGroupKFold: the largest group first, each to the fold
    that has least of its classes. A class of a single group is never held out.

    >>> grouped_folds(np.array([0, 0, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 3]), 2, seed=0)
    array([0, 0, 0, 0, 1, 1])
    """
    names, member = np.unique(groups, return_inverse=True)
    present, own = np.unique(targets, return_inverse=True)
    # Of each group only the classes that it has, or N groups of one row would take N x K values.
    pairs, counts = np.unique(member * len(present) + own, return_counts=True)
    group_of, class_of = np.divmod(pairs, len(present))
    shares = counts / np.bincount(own)[class_of]
    order = np.random.default_rng(seed).permutation(len(names))
    sums = np.bincount(group_of, shares, len(names))[order].round(12)
    order = order[np.argsort(-sums, kind="stable")]
    ends = np.searchsorted(group_of, np.arange(len(names) + 1))
    held, chosen = np.zeros((min(folds, len(names)), len(present))), np.zeros(len(names), np.int64)
    for group in order:
        part = slice(ends[group], ends[group + 1])
        has = class_of[part]
        chosen[group] = (held[:, has] @ shares[part]).round(12).argmin()
        held[chosen[group], has] += shares[part]
    alone = (held > 0).sum(axis=0) < 2
    fold = np.where(alone[own], ALONE, chosen[member])
    kept = fold != ALONE
    fold[kept] = np.unique(fold[kept], return_inverse=True)[1]
    return fold


def held_out_folds(
    targets: NDArray[np.int64], *, seed: int = 0, folds: int = FOLDS, groups: Groups | None = None
) -> NDArray[np.int64]:
    """Return for each row the fold that holds it out, -1 where it is alone in its class.

    Every class with two rows keeps at least one in training, as folds deal its rows one by one.
    With groups see :func:`grouped_folds`.
    """
    if groups is not None:
        return grouped_folds(targets, groups, folds, seed)
    fold = np.full(len(targets), ALONE, np.int64)
    rows = np.flatnonzero(np.bincount(targets)[targets] > 1)
    if len(rows):
        fold[rows] = stratified_folds(targets[rows], min(folds, len(rows)), seed)
    return fold
