"""Weights of rows and classes where some classes have many more rows than others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.options import ClassWeight

Array = NDArray[np.float64]


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
    """Return the weight of each row, N, or None where all weigh the same.

    >>> row_weights(np.array([0, 0, 0, 1]), 2, "balanced").round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    if class_weight is None:
        return None
    weights: Array = class_weights(targets, n_classes, class_weight)[targets]
    return weights
