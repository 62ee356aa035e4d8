"""Training a head and asking it: pure functions on arrays, deterministic under a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.check import checked_features, checked_options, checked_training
from offshelf.heads.head import FittedHead, Normalisation
from offshelf.heads.scaling import blocks, scaled_block
from offshelf.heads.table import get_fitter


def fit_head(
    kind: str,
    features: NDArray[Any],
    targets: NDArray[np.int64],
    classes: Sequence[str],
    *,
    c: float | Literal["auto"] = 1.0,
    normalisation: Normalisation = "l2",
    seed: int = 0,
) -> FittedHead:
    """Train the head *kind* on a feature matrix.

    Args:
        kind: one of :func:`offshelf.heads.table.kinds`.
        features: N x D, finite, float32 (other real types are taken too); left unchanged
            and not copied as a whole where N <= D. Beside it ``svm`` keeps at most N x N
            float32 (float64 where C times the squared norm of rows is large), ``ridge``
            and ``lda`` three matrices of N x N or D x D float64, the smaller.
        targets: N class indices, 0 to K - 1.
        classes: K class names, K >= 2, each with at least one row.
        c: inverse strength of the regularisation, > 0. ``auto`` takes the best of seven
            values from 0.01 to 100: for ``svm`` by cross-validation in five stratified
            folds, for ``ridge`` and ``lda`` by leaving out each row. The head's
            ``parameters`` hold the choice and the figures it rests on.
        normalisation: ``l2`` divides each row by its Euclidean norm (a row of zeros stays
            zeros), ``none`` takes rows as they are.
        seed: of the folds that choose C, 0 to 2**32 - 1.

    Returns:
        The head; its ``notes`` say when a solver did not converge.

    Raises:
        HeadError: an argument is out of range, features and targets do not fit together,
            values are not finite, or a class has no row.

    >>> features = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], dtype=np.float32)
    >>> head = fit_head("svm", features, np.array([0, 0, 1, 1]), ["cat", "dog"])
    >>> [head.classes[k] for k in decision(head, features).argmax(axis=1)]
    ['cat', 'cat', 'dog', 'dog']
    """
    fitter = get_fitter(kind)
    options = checked_options(c, seed)
    rows, targets, classes = checked_training(features, targets, classes, normalisation)
    learned = fitter.fit(rows, targets, len(classes), options)
    return FittedHead(
        kind, classes, learned.arrays, learned.parameters, normalisation, learned.notes
    )


def decision(head: FittedHead, features: NDArray[Any]) -> NDArray[np.float32]:
    """Return the score of every class for every row.

    A row's scores have the same bits alone, in any batch, at any place in it, and with
    any number of threads (see :mod:`offshelf.heads.exact`). Normalisation is applied
    inside, block by block, so memory does not grow by a copy of *features*.

    Args:
        head: what :func:`fit_head` returned.
        features: N x D, finite, float32 (other real types are taken too), N >= 0.

    Returns:
        N x K float32, column k for ``head.classes[k]``; the largest wins. For two classes
        the columns are -f and f.

    Raises:
        HeadError: *features* is no matrix, has another dimension than the head, or holds
            NaN or infinity.

    >>> weight = np.array([[-1.0, 1.0], [1.0, -1.0]], dtype=np.float32)
    >>> arrays = {"weight": weight, "bias": np.zeros(2, dtype=np.float32)}
    >>> head = FittedHead("svm", ("cat", "dog"), arrays, {}, "l2")
    >>> decision(head, np.array([[5.0, 0.0], [0.0, 0.0]], dtype=np.float32))
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """
    fitter = get_fitter(head.kind)
    matrix = checked_features(features, head.dimension)
    scores = np.empty((len(matrix), len(head.classes)), dtype=np.float32)
    for part in blocks(*matrix.shape):
        scores[part] = fitter.decide(head, scaled_block(matrix[part], head.normalisation))
    return scores
