"""What a test set says about probabilities, and about the images that were called unknown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.evaluate.metrics import wilson
from offshelf.evaluate.probabilities.calibration_error import Reliability, reliability


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
    """

    reliability: Reliability | None
    rejection: Rejection | None

    def to_json(self) -> dict[str, Any]:
        """Return ``log_loss``, ``ece`` and the rest as JSON values, null where there is none.

        >>> Trust(None, None).to_json()
        {'log_loss': None, 'ece': None, 'reliability': None, 'rejection': None}
        """
        reliability = self.reliability
        return {
            "log_loss": reliability.log_loss if reliability else None,
            "ece": reliability.ece if reliability else None,
            "reliability": reliability.to_json() if reliability else None,
            "rejection": self.rejection.to_json() if self.rejection else None,
        }


def trust(
    probabilities: NDArray[Any] | None,
    unknown: NDArray[np.bool_] | None,
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> Trust:
    """Measure on test images that nothing was fitted on.

    Args:
        probabilities: N x K, or None.
        unknown: N, or None.
        labels: N predicted class indices.
        targets: N true class indices.

    Raises:
        DataError: shapes that do not fit, or no probabilities.

    >>> found = trust(None, np.array([True, False]), np.array([0, 1]), np.array([1, 1]))
    >>> found.rejection
    Rejection(n=2, rejected=1, correct=1)
    """
    rejection = None
    if unknown is not None:
        right = int((~unknown & (labels == targets)).sum())
        rejection = Rejection(len(unknown), int(unknown.sum()), right)
    measured = None if probabilities is None else reliability(probabilities, targets)
    return Trust(measured, rejection)
