"""Balance of classes: weights of rows and classes, and stratified, seeded folds."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.options import ClassWeight

Array = NDArray[np.float64]
# The fold of a row that is never held out.
ALONE = -1


def class_weights(
    targets: NDArray[np.int64], n_classes: int, class_weight: ClassWeight | None
) -> Array:
    """Return the weight of each class, K: ``N / (K * rows of the class)`` when balanced.

    As in scikit-learn; King and Zeng, "Logistic regression in rare events data", Political
    Analysis 9 (2001), 137-163.

    >>> class_weights(np.array([0, 0, 0, 1]), 2, "balanced").round(3).tolist()
    [0.667, 2.0]
    >>> class_weights(np.array([0, 0, 0, 1]), 2, None).tolist()
    [1.0, 1.0]
    """
    if class_weight is None:
        return np.ones(n_classes)
    counts = np.bincount(targets, minlength=n_classes)
    weights: Array = len(targets) / (n_classes * counts)
    return weights


def row_weights(
    targets: NDArray[np.int64], n_classes: int, class_weight: ClassWeight | None
) -> Array | None:
    """Return the weight of each row, N, or None where all weigh the same."""
    weights = class_weights(targets, n_classes, class_weight)
    return None if class_weight is None else weights[targets]


def stratified_folds(targets: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return for each row the fold, 0 to folds - 1, that tests it.

    Sizes of folds differ by at most one, and so do the numbers of rows of one class in them.
    HeadError where *folds* is no whole number from 2 to the N rows.

    >>> stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0)
    array([1, 2, 0, 0, 2, 1])
    """
    if not isinstance(folds, Integral) or not 2 <= folds <= len(targets):
        raise HeadError(
            f"folds must be a whole number from 2 to the {len(targets)} rows, got {folds!r}"
        )
    order = np.random.default_rng(seed).permutation(len(targets))
    return deal_folds(targets, folds, order)


def deal_folds(
    targets: NDArray[np.int64], folds: int, order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the fold of each of N rows, dealt one by one, class by class, in *order*."""
    order = order[np.argsort(targets[order], kind="stable")]
    fold = np.empty(len(targets), dtype=np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return fold


def fold_splits(fold: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return for each fold its rows and the rows that are trained on."""
    return [
        (np.flatnonzero(fold == part), np.flatnonzero(fold != part))
        for part in range(int(fold.max()) + 1)
    ]


def in_row_order(parts: list[tuple[NDArray[np.int64], NDArray[Any]]]) -> NDArray[Any]:
    """Return the values of all parts, each given as (rows, values), in the order of the rows."""
    order = np.argsort(np.concatenate([held for held, _ in parts]))
    return np.asarray(np.concatenate([values for _, values in parts])[order])
