"""Feature matrices for tests of heads: made up, of any shape, with classes of several sizes."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import make_classification


def made_features(
    k: int,
    n: int,
    dimension: int,
    *,
    uneven: bool = False,
    seed: int = 3,
    informative: int = 10,
    separation: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return float32 features n x dimension, targets and the names of k classes."""
    shares = np.arange(1, k + 1) / np.arange(1, k + 1).sum() if uneven else None
    features, targets = make_classification(
        n,
        dimension,
        n_informative=min(informative, dimension),
        n_redundant=0,
        n_classes=k,
        n_clusters_per_class=1,
        weights=shares,
        class_sep=separation,
        random_state=seed,
    )
    return features.astype(np.float32), targets.astype(np.int64), [f"class {i}" for i in range(k)]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the shares that scores stand for, row by row."""
    shares = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
