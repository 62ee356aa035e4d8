"""Quality of probabilities: calibration error, log loss, Brier score, rejection."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, numbers, same_length, whole
from offshelf.errors import DataError
from offshelf.measurement.metrics import wilson

Binning = Literal["width", "mass"]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityRow:
    """Images whose largest probability fell into one bin.

    Attributes:
        low: lower end of the bin, excluded but in the first bin.
        high: upper end, included.
        n: images, >= 1; bins without images have no row.
        confidence: mean largest probability.
        accuracy: share of them that is right.
        interval: 95 % Wilson interval of the accuracy.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Reliability:
    """What a test set says about probabilities.

    Attributes:
        n: images.
        accuracy: share of images whose largest probability is that of their class.
        confidence: mean largest probability; above the accuracy when too sure.
        ece: expected calibration error with bins of equal width, 0 to 1.
        ece_mass: the same with bins of equal numbers of images.
        log_loss: mean negative logarithm of the true class's probability, >= 0.
        brier: mean squared distance to the indicator of the true class, 0 to 2.
        rows: the bins of equal width.
    """

    n: int
    accuracy: float
    confidence: float
    ece: float
    ece_mass: float
    log_loss: float
    brier: float
    rows: tuple[ReliabilityRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        rows = [asdict(row) | {"interval": list(row.interval)} for row in self.rows]
        return asdict(self) | {"rows": rows}


def reliability(
    probabilities: NDArray[Any], targets: NDArray[np.int64], *, bins: int = 15
) -> Reliability:
    """Measure probabilities on images that they were not fitted on.

    Args:
        probabilities: N x K, 0 to 1, each row with the sum 1 (within 1e-3).
        targets: N true class indices.
        bins: of the reliability rows and the calibration errors, 1 or more.

    Raises:
        DataError: shapes that do not fit, no probabilities, or targets outside.

    >>> result = reliability(np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]), np.array([0, 1, 1]))
    >>> round(result.ece, 3), round(result.log_loss, 3), len(result.rows)
    (0.333, 0.781, 2)
    """
    matrix, targets = _checked(probabilities, targets)
    right, sure = matrix.argmax(axis=1) == targets, matrix.max(axis=1)
    rows = reliability_rows(sure, right, bins=bins)
    return Reliability(
        n=len(matrix),
        accuracy=float(right.mean()),
        confidence=float(sure.mean()),
        ece=_error(rows),
        ece_mass=_error(reliability_rows(sure, right, bins=bins, binning="mass")),
        log_loss=_log_loss(matrix, targets),
        brier=float(np.square(matrix - np.eye(matrix.shape[1])[targets]).sum(axis=1).mean()),
        rows=rows,
    )


def reliability_rows(
    confidences: NDArray[Any],
    right: NDArray[np.bool_],
    *,
    bins: int = 15,
    binning: Binning = "width",
) -> tuple[ReliabilityRow, ...]:
    """Return one row per bin that holds an image.

    Args:
        confidences: N largest probabilities, 0 to 1.
        right: N bool, whether the prediction was right.
        bins: 1 or more.
        binning: ``width`` (equal parts of 0 to 1) or ``mass`` (equal numbers of images;
            equal confidences are never parted).

    Raises:
        DataError: values out of range, lists of two lengths, or an unknown binning.

    >>> [row.n for row in reliability_rows(np.array([0.2, 0.9, 1.0]), np.ones(3, bool), bins=2)]
    [1, 2]
    """
    sure = numbers("confidences", confidences, 1)
    right = np.asarray(right, bool)
    same_length("confidences", len(sure), "outcomes", len(right))
    if sure.min() < 0 or sure.max() > 1 + 1e-9:
        raise DataError("confidences must be from 0 to 1")
    edges = np.linspace(0, 1, whole("bins", bins, 1) + 1)
    if binning == "mass":
        # The last image of each part; in whole numbers, as a share of n may be off by one.
        last = -(-len(sure) * np.arange(1, bins + 1) // bins) - 1
        ends = np.unique(np.sort(sure)[last])
        edges = np.concatenate([[0.0], ends[ends > 0]])
    elif binning != "width":
        raise DataError(f"unknown binning {binning!r}: use 'width' or 'mass'")
    if len(edges) < 2:
        edges = np.array([0.0, 1.0])
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, len(edges) - 2)
    return tuple(
        _row(edges[k], edges[k + 1], sure[place == k], right[place == k]) for k in np.unique(place)
    )


def _row(low: float, high: float, sure: Matrix, right: NDArray[np.bool_]) -> ReliabilityRow:
    hits = int(right.sum())
    return ReliabilityRow(
        low=float(low),
        high=float(high),
        n=len(sure),
        confidence=float(sure.mean()),
        accuracy=hits / len(sure),
        interval=wilson(hits, len(sure)),
    )


def _error(rows: tuple[ReliabilityRow, ...]) -> float:
    """Return the mean distance of confidence and accuracy over bins, weighed by images.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015; of the largest probability, as Guo et al., ICML 2017. Bins of
    equal mass: Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019.
    """
    total = sum(row.n for row in rows)
    return sum(row.n * abs(row.confidence - row.accuracy) for row in rows) / total


def _log_loss(matrix: Matrix, targets: NDArray[np.int64]) -> float:
    """Return the log loss; a probability of 0 counts as the smallest one of float64."""
    true = matrix[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())


def _checked(
    probabilities: NDArray[Any], targets: NDArray[np.int64]
) -> tuple[Matrix, NDArray[np.int64]]:
    matrix = numbers("probabilities", probabilities, 2)
    targets = class_indices("targets", targets, matrix.shape[1])
    same_length("rows of probabilities", len(matrix), "targets", len(targets))
    off = np.abs(matrix.sum(axis=1) - 1) > 1e-3
    bad = np.flatnonzero(off | (matrix < 0).any(axis=1))
    if len(bad):
        raise DataError(f"probabilities in row {bad[0]} are not from 0 to 1 with the sum 1")
    # float32 sums are off by a little, and no bin lies above 1.
    return np.minimum(matrix, 1.0), targets


@dataclass(frozen=True)
class Rejection:
    """What a threshold did to test images, all of which are of known classes.

    Attributes:
        n: images.
        rejected: how many were called unknown.
        correct: how many of the others were labelled rightly.

    >>> Rejection(100, 10, 81).accuracy
    0.9
    """

    n: int
    rejected: int
    correct: int

    @property
    def share(self) -> float:
        """Share of the images that were called unknown."""
        return self.rejected / self.n

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the accepted images; None where there are none."""
        accepted = self.n - self.rejected
        return self.correct / accepted if accepted else None

    def to_json(self) -> dict[str, Any]:
        """Return counts, shares and the 95 % Wilson interval of the share as JSON values."""
        return asdict(self) | {
            "share": self.share,
            "share_interval": list(wilson(self.rejected, self.n)),
            "accuracy_accepted": self.accuracy,
        }


@dataclass(frozen=True)
class Trust:
    """How far probabilities and rejections can be trusted.

    Attributes:
        reliability: of the probabilities; None for a model without.
        rejection: of the threshold; None for a model without.
        unlike: of images that are marked as unlike the training images; None for a model
            without such a measure.
    """

    reliability: Reliability | None
    rejection: Rejection | None
    unlike: Rejection | None = None

    def to_json(self) -> dict[str, Any]:
        """Return ``log_loss``, ``ece`` and the rest as JSON values, null where there is none.

        >>> Trust(None, None).to_json()
        {'log_loss': None, 'ece': None, 'reliability': None, 'rejection': None, 'unlike': None}
        """
        reliability = self.reliability
        return {
            "log_loss": reliability.log_loss if reliability else None,
            "ece": reliability.ece if reliability else None,
            "reliability": reliability.to_json() if reliability else None,
            "rejection": self.rejection.to_json() if self.rejection else None,
            "unlike": self.unlike.to_json() if self.unlike else None,
        }


def trust(
    probabilities: NDArray[Any] | None,
    unknown: NDArray[np.bool_] | None,
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
    unlike: NDArray[np.bool_] | None = None,
) -> Trust:
    """Measure on test images that nothing was fitted on.

    Probabilities N x K, *unknown* N and *unlike* N may be None. DataError where shapes do not fit.

    >>> found = trust(None, np.array([True, False]), np.array([0, 1]), np.array([1, 1]))
    >>> found.rejection
    Rejection(n=2, rejected=1, correct=1)
    """
    measured = None if probabilities is None else reliability(probabilities, targets)
    correct = labels == targets
    return Trust(measured, _rejection(unknown, correct), _rejection(unlike, correct))


def _rejection(rejected: NDArray[np.bool_] | None, correct: NDArray[np.bool_]) -> Rejection | None:
    if rejected is None:
        return None
    return Rejection(len(rejected), int(rejected.sum()), int((~rejected & correct).sum()))
