"""Accuracy with its interval, figures per class and the confusion matrix of predictions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.checks import class_indices, same_length
from offshelf.errors import DataError


@dataclass(frozen=True)
class ClassFigures:
    """One class of a test set.

    Attributes:
        name: of the class.
        n: test images that truly belong to it.
        precision: share of the images predicted as this class that are of it, 0 to 1; 0
            when none was predicted.
        recall: share of the images of this class that were predicted as it, 0 to 1; 0
            when there are none.
        f1: harmonic mean of precision and recall; 0 when both are.
    """

    name: str
    n: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Brief):
    """What a test set says about predictions. All shares are from 0 to 1.

    Attributes:
        n: number of test images.
        correct: how many were predicted as their class.
        accuracy: correct / n.
        accuracy_interval: low and high end of the 95 % Wilson interval of the accuracy.
        balanced_accuracy: mean recall of the classes that the test set holds.
        per_class: one row per class, in the order of the classes.
        confusion: K x K int64, read-only; rows are true classes, columns predicted ones.
    """

    n: int
    correct: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    per_class: tuple[ClassFigures, ...]
    confusion: NDArray[np.int64]

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return tuple(row.name for row in self.per_class)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "accuracy_interval": list(self.accuracy_interval),
            "per_class": [dataclasses.asdict(row) for row in self.per_class],
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    targets: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]
) -> Evaluation:
    """Compare predictions with the truth.

    The balanced accuracy is the mean recall over the classes present in *targets*:
    Brodersen, Ong, Stephan and Buhmann, "The balanced accuracy and its posterior
    distribution", ICPR 2010, 3121-3124, for more than two classes.

    Args:
        targets: N true class indices, 0 to K - 1, N >= 1.
        predictions: N predicted class indices, 0 to K - 1.
        classes: K class names.

    Raises:
        DataError: no images, another number of predictions than targets, or an index
            that belongs to no class.

    >>> result = evaluate(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["cat", "dog"])
    >>> result.accuracy, round(result.balanced_accuracy, 4), result.confusion.tolist()
    (0.75, 0.8333, [[2, 1], [0, 1]])
    """
    n = len(np.atleast_1d(targets))
    same_length("targets", n, "predictions", len(np.atleast_1d(predictions)))
    if not n:
        raise DataError("the test set is empty: nothing to evaluate")
    targets = class_indices("targets", targets, len(classes))
    predictions = class_indices("predictions", predictions, len(classes))
    return _from_confusion(_confusion(targets, predictions, len(classes)), classes)


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share: k of n.

    Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212, without
    continuity correction: ``(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``.

    Args:
        k: successes, 0 to n.
        n: trials, >= 1; a design effect leaves a part of one.
        confidence: of the two-sided interval, between 0 and 1.

    Returns:
        Low and high end, 0 to 1.

    Raises:
        DataError: k, n or confidence is out of range.

    >>> low, high = wilson(2768, 2985)
    >>> f"{low:.4f} {high:.4f}"
    '0.9174 0.9361'
    """
    if not 0 <= k <= n or n < 1:
        raise DataError(f"no share of {k} in {n}: need n >= 1 and k from 0 to n")
    if not 0 < confidence < 1:
        raise DataError(f"confidence must be between 0 and 1, got {confidence!r}")
    share, z = k / n, NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((centre + side) / (1 + z * z / n) for side in (-half, half))
    # At the ends the formula gives 0 and 1 exactly; rounding must not move them.
    return 0.0 if k == 0 else max(0.0, low), 1.0 if k == n else min(1.0, high)


def _confusion(
    targets: NDArray[np.int64], predictions: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    matrix = np.bincount(targets * k + predictions, minlength=k * k).reshape(k, k)
    matrix = matrix.astype(np.int64)
    matrix.flags.writeable = False
    return matrix


def _from_confusion(confusion: NDArray[np.int64], classes: Sequence[str]) -> Evaluation:
    hits, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _shares(hits, predicted), _shares(hits, true)
    # F1 = 2PR / (P + R) = 2 hits / (predicted + true), which needs no second zero rule.
    f1 = _shares(2 * hits, predicted + true)
    n, correct = int(true.sum()), int(hits.sum())
    columns = zip(classes, true, precision, recall, f1, strict=True)
    return Evaluation(
        n=n,
        correct=correct,
        accuracy=correct / n,
        accuracy_interval=wilson(correct, n),
        balanced_accuracy=float(recall[true > 0].mean()),
        per_class=tuple(
            ClassFigures(name, int(count), float(p), float(r), float(f))
            for name, count, p, r, f in columns
        ),
        confusion=confusion,
    )


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.zeros(len(part), dtype=np.float64)
    np.divide(part, whole, out=result, where=whole > 0)
    return result
