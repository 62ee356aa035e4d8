"""How sure a head is: probabilities of its scores, and which images are of no known class.

Kept as JSON and at most one float32 array; what comes back from a file is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import DataError
from offshelf.heads.numerics.row_scaling import blocks
from offshelf.heads.probabilities.rejection import Threshold, nearest_distance, threshold_from_json
from offshelf.heads.probabilities.score_calibration import Calibration, calibration_from_json

MEASURES = ("confidence", "centroid_distance")
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Certainty:
    """What a model knows about how sure it is.

    Attributes:
        calibration: from scores to probabilities; None without.
        threshold: when an image is unknown; None without.
        centroids: K x D float32, of the training rows; only for the threshold on distance.
        notes: one line each: what about the training rows a person should know.

    >>> Certainty().probabilities(np.zeros((1, 2), np.float32)) is None
    True
    """

    calibration: Calibration | None = None
    threshold: Threshold | None = None
    centroids: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``temperature``, ``sigmoid`` or ``none``."""
        return self.calibration.to_json()["kind"] if self.calibration else "none"

    def probabilities(self, scores: NDArray[Any]) -> Matrix | None:
        """Return N x K float64, each row with the sum 1, or None without a calibration."""
        if self.calibration is None:
            return None
        return self.calibration.probabilities(scores) if len(scores) else np.empty(scores.shape)

    def unknown(
        self, probabilities: Matrix | None, features: NDArray[Any]
    ) -> NDArray[np.bool_] | None:
        """Return which of N images are of no known class, or None without a threshold.

        Args:
            probabilities: what :meth:`probabilities` returned for them.
            features: N x D.
        """
        if self.threshold is None:
            return None
        if self.centroids is None:
            values = np.empty(0) if probabilities is None else probabilities.max(axis=1)
            return self.threshold.unknown(values)
        distances = [
            nearest_distance(features[part], self.centroids) for part in blocks(*features.shape)
        ]
        return self.threshold.unknown(np.concatenate([np.empty(0), *distances]))

    def to_json(self) -> dict[str, Any]:
        """Return all but the centroids as JSON values."""
        return {
            "calibration": self.calibration.to_json() if self.calibration else None,
            "threshold": self.threshold.to_json() if self.threshold else None,
            "notes": list(self.notes),
        }


def certainty_from_json(
    document: Any, reference: NDArray[Any] | None, n_classes: int, dimension: int
) -> Certainty:
    """Return the certainty that ``to_json`` and the array of centroids make.

    Args:
        document: JSON values from a file, not trusted; None where the file has none.
        reference: the centroids in the file, None where it has none.
        n_classes: K of the head.
        dimension: D of the head.

    Raises:
        DataError: something is missing, out of range or does not fit the head.

    >>> certainty_from_json(None, None, 2, 3).kind
    'none'
    """
    if document is None and reference is None:
        return Certainty()
    if not isinstance(document, Mapping) or set(document) != {"calibration", "threshold", "notes"}:
        raise DataError("damaged certainty: need calibration, threshold and notes")
    notes = document["notes"]
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError("damaged certainty: its notes are no list of texts")
    calibration, threshold = document["calibration"], document["threshold"]
    found = Certainty(
        None if calibration is None else calibration_from_json(calibration, n_classes),
        None if threshold is None else threshold_from_json(threshold),
        reference,
        tuple(notes),
    )
    _check_parts(found, n_classes, dimension)
    return found


def _check_parts(found: Certainty, n_classes: int, dimension: int) -> None:
    measure = found.threshold.measure if found.threshold else ""
    if measure not in ("", *MEASURES):
        raise DataError(f"damaged certainty: no model rejects by {measure}")
    if measure == "confidence" and found.calibration is None:
        raise DataError("damaged certainty: a threshold on probabilities without a calibration")
    reference = found.centroids
    if (reference is not None) != (measure == "centroid_distance"):
        raise DataError("damaged certainty: centroids and threshold do not belong together")
    if reference is not None:
        if reference.shape != (n_classes, dimension) or reference.dtype != np.float32:
            raise DataError(
                f"damaged certainty: centroids must be {n_classes} x {dimension} float32, not "
                f"{' x '.join(map(str, reference.shape))} {reference.dtype}"
            )
        if not np.isfinite(reference).all():
            raise DataError("damaged certainty: centroids hold NaN or infinity")
