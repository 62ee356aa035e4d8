"""Stratified, seeded folds: each class is spread over them as evenly as its rows allow."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError


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
