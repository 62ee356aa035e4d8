"""What heads say of rows that they were not trained on: for all that is fitted on scores.

Every class with two rows keeps at least one in training, as folds deal its rows one by one;
a row that is alone in its class is always trained on and never held out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.fit_head import decision
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.rejection import centroids, nearest_distance
from offshelf.heads.stratified_folds import stratified_folds

FOLDS = 5
ALONE = -1
Train = Callable[[NDArray[np.float32], NDArray[np.int64]], FittedHead]


def held_out_folds(targets: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.int64]:
    """Return for each row the fold that holds it out, -1 where it is alone in its class.

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


def held_out_scores(
    train: Train, features: NDArray[Any], targets: NDArray[np.int64], fold: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the scores of the rows that are held out, each by a head that never saw it.

    Those heads have fewer rows than one on all, so they are a little less sure.

    Args:
        train: fits a head of K classes on some of the rows.
        features: N x D.
        targets: N class indices.
        fold: what :func:`held_out_folds` returned.

    Returns:
        M x K float32, in the order of the M rows with a fold.

    Raises:
        HeadError: a head cannot be trained on part of the rows.

    >>> from offshelf.heads.fit_head import fit_head
    >>> features = np.array([[1, 0], [2, 1], [0, 1], [1, 3]], dtype=np.float32)
    >>> targets = np.array([0, 0, 1, 1])
    >>> train = lambda some, theirs: fit_head("svm", some, theirs, ["cat", "dog"])
    >>> held_out_scores(train, features, targets, held_out_folds(targets)).argmax(axis=1)
    array([0, 0, 1, 1])
    """
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for held, kept in _splits(fold):
        head = train(features[kept], targets[kept])
        parts.append((held, decision(head, features[held])))
    return _in_order(parts)


def held_out_distances(
    features: NDArray[Any], targets: NDArray[np.int64], k: int, fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the distance of the rows that are held out to the nearest class centroid.

    Args:
        features: N x D.
        targets: N class indices.
        k: number of classes.
        fold: what :func:`held_out_folds` returned.

    Returns:
        M cosine distances, 0 to 2; the centroids are those of the rows in other folds.

    >>> features, targets = np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])
    >>> held_out_distances(features, targets, 2, held_out_folds(targets)).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    for held, kept in _splits(fold):
        reference = centroids(features[kept], targets[kept], k)
        parts.append((held, nearest_distance(features[held], reference)))
    return _in_order(parts)


def _splits(fold: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return for each fold its rows and the rows that are trained on."""
    return [
        (np.flatnonzero(fold == part), np.flatnonzero(fold != part))
        for part in range(int(fold.max()) + 1)
    ]


def _in_order(parts: list[tuple[NDArray[np.int64], NDArray[Any]]]) -> NDArray[Any]:
    order = np.argsort(np.concatenate([held for held, _ in parts]))
    return np.asarray(np.concatenate([values for _, values in parts])[order])
