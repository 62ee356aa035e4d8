"""The path over C: cross-validated accuracy at each, and the SVM at the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.check import checked_c, checked_features, checked_options, checked_targets
from offshelf.heads.head import FittedHead, Normalisation
from offshelf.heads.kinds.linear import learn_best
from offshelf.heads.preparation.prepare import fitted, prepare
from offshelf.heads.svm.cross_validation import FOLDS, search
from offshelf.heads.svm.solve import make_training


@dataclass(frozen=True, eq=False)
class PathResult:
    """Cross-validated accuracy over C.

    Attributes:
        cs: the values of C, rising, each once.
        accuracies: len(cs) x folds float64, the share of a fold's rows that the SVM of the
            other folds labelled rightly; row i for ``cs[i]``.
        c: the value with the best mean accuracy; of equals the smallest.
        head: the SVM of all rows at that value.
    """

    cs: tuple[float, ...]
    accuracies: NDArray[np.float64]
    c: float
    head: FittedHead

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean accuracy over the folds, for each C."""
        means: NDArray[np.float64] = self.accuracies.mean(axis=1)
        return means

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard error of each mean: the folds' standard deviation over their root."""
        folds = self.accuracies.shape[1]
        errors: NDArray[np.float64] = self.accuracies.std(axis=1, ddof=1) / np.sqrt(folds)
        return errors


def fit_path(
    features: NDArray[Any],
    targets: NDArray[np.int64],
    classes: Sequence[str],
    cs: Sequence[float],
    *,
    folds: int = FOLDS,
    seed: int = 0,
    normalisation: Normalisation = "l2",
) -> PathResult:
    """Cross-validate the linear SVM over several C and train it at the best.

    The inner products of the rows are computed once; folds are parts of them, and each
    solution starts from its neighbour's. The best C is the one with the best mean accuracy,
    of equals the smallest, as ``GridSearchCV`` chooses.

    Args:
        features: N x D, finite, float32 (other real types are taken too); left unchanged.
        targets: N class indices, 0 to K - 1.
        classes: K class names, K >= 2, each with at least one row.
        cs: values of C, each > 0, in any order.
        folds: number of stratified folds, 2 to N.
        seed: of the folds, 0 to 2**32 - 1.
        normalisation: ``l2``, ``none``, ``standard`` or ``sqrt``, as in :func:`.prepare`.

    Raises:
        HeadError: an argument is out of range, features and targets do not fit together,
            values are not finite, or a class has no row.

    >>> features = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], dtype=np.float32)
    >>> path = fit_path(features, np.array([0, 0, 1, 1]), ["cat", "dog"], [1, 10], folds=2)
    >>> path.c, path.means.tolist(), path.head.parameters["C"]
    (1.0, [1.0, 1.0], 1.0)
    """
    if not len(cs):
        raise HeadError("the path needs at least one value of C, got none")
    values = [checked_c(c) for c in cs]
    options = checked_options(values[0], seed)
    targets, classes = checked_targets(len(checked_features(features)), targets, classes)
    prepared = prepare(features, normalisation=normalisation)
    training = make_training(prepared.rows, targets, len(classes), max(values))
    found = search(training, values, folds, options.seed)
    head = fitted("svm", classes, learn_best(training, found, options.seed), prepared.preparation)
    return PathResult(found.cs, found.accuracies, found.cs[found.best], head)
