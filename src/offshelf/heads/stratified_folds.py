"""Stratified, seeded folds: each class is spread over them as evenly as its rows allow."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.options import FOLDS

ALONE = -1


def stratified_folds(targets: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return for each row the fold, 0 to folds - 1, that tests it.

    Args:
        targets: N class indices.
        folds: from 2 to N. Sizes of folds differ by at most one, and so do the numbers of
            rows of one class in them.
        seed: of the order in which rows are dealt.

    Raises:
        HeadError: fewer than two folds, or more than rows, or no whole number.

    >>> stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0)
    array([1, 2, 0, 0, 2, 1])
    """
    if not isinstance(folds, Integral) or not 2 <= folds <= len(targets):
        raise HeadError(
            f"folds must be a whole number from 2 to the {len(targets)} rows, got {folds!r}"
        )
    # Rows in random order, then by class: dealing one by one spreads each class.
    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    fold = np.empty(len(targets), dtype=np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return fold


def held_out_folds(targets: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.int64]:
    """Return for each row the fold that holds it out, -1 where it is alone in its class.

    Every class with two rows keeps at least one in training, as folds deal its rows one by one.

    Args:
        targets: N class indices.
        seed: of the order in which rows are dealt.

    >>> held_out_folds(np.array([0, 0, 1])).tolist()
    [0, 1, -1]
    """
    fold = np.full(len(targets), ALONE, np.int64)
    rows = np.flatnonzero(np.bincount(targets)[targets] > 1)
    if len(rows):
        fold[rows] = stratified_folds(targets[rows], min(FOLDS, len(rows)), seed)
    return fold


def fold_splits(fold: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return for each fold its rows and the rows that are trained on.

    >>> [kept.tolist() for _, kept in fold_splits(np.array([0, 1, 0, -1]))]
    [[1, 3], [0, 2, 3]]
    """
    return [
        (np.flatnonzero(fold == part), np.flatnonzero(fold != part))
        for part in range(int(fold.max()) + 1)
    ]


def in_row_order(parts: list[tuple[NDArray[np.int64], NDArray[Any]]]) -> NDArray[Any]:
    """Return the values of all parts, each given as (rows, values), in the order of the rows."""
    order = np.argsort(np.concatenate([held for held, _ in parts]))
    return np.asarray(np.concatenate([values for _, values in parts])[order])
