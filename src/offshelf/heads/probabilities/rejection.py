"""Images that belong to no known class: a threshold for a chosen share of false rejects.

The value under test is the largest calibrated probability (low is unusual) or a distance to
the training images (high is unusual).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import numbers, share, whole
from offshelf.errors import DataError, did_you_mean
from offshelf.heads.probabilities.distances import DISTANCES, Distance

Measure = Literal["confidence"] | Distance
MEASURES: tuple[Measure, ...] = ("confidence", *DISTANCES)
IN_WORDS: Mapping[Measure, str] = {
    "confidence": "by the largest probability",
    "centroid_distance": "by the distance to the nearest class",
    "neighbour_distance": "by the distance to the nearest training image",
    "covariance_distance": "by the distance to the nearest class, in units of the covariance",
}


@dataclass(frozen=True)
class Threshold:
    """When an image is called unknown.

    Attributes:
        measure: ``confidence``: below the value is unknown; a distance: above it is.
        value: the threshold.
        false_reject: the share of known images that was asked for, as a bound.
        n: held-out images it was set on.
        rejected: how many of them it rejects.

    >>> Threshold("confidence", 0.5, 0.05, 100, 4).unknown(np.array([0.4, 0.5])).tolist()
    [True, False]
    """

    measure: Measure
    value: float
    false_reject: float
    n: int
    rejected: int

    def unknown(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return True for each of N values beyond the threshold."""
        array = np.asarray(values, np.float64)
        return array < self.value if self.measure == "confidence" else array > self.value

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`threshold_from_json` reads."""
        return asdict(self)


def fit_threshold(
    values: NDArray[Any], false_reject: float, *, measure: Measure = "confidence"
) -> Threshold:
    """Return the strictest threshold that rejects at most a share of known images.

    With n held-out images it is the k-th most unusual value, k = floor(share (n + 1)), and
    only more unusual ones are rejected: of new images like the held-out ones, at most the share
    is rejected on average, whatever their distribution. Split conformal prediction: Vovk,
    Gammerman and Shafer, "Algorithmic learning in a random world", 2005; Angelopoulos and
    Bates, "A gentle introduction to conformal prediction", 2021.

    Args:
        values: n finite values of held-out images of known classes, right or wrong.
        false_reject: the share, between 0 and 1.
        measure: what the values are.

    Raises:
        DataError: too few values for so small a share, or an argument out of range.

    >>> fit_threshold(np.arange(1, 100) / 100, 0.05)
    Threshold(measure='confidence', value=0.05, false_reject=0.05, n=99, rejected=4)
    """
    _check_measure(measure)
    rate, array = share("false-reject rate", false_reject), numbers("values", values, 1)
    n = len(array)
    # A tiny addition: 0.05 * 100 is 5, also where it is computed as 4.999...
    k = math.floor(rate * (n + 1) + 1e-9)
    if k < 1:
        raise DataError(
            f"a false-reject rate of {rate:g} needs at least {math.ceil(1 / rate - 1e-9) - 1} "
            f"held-out images, there are {n}"
        )
    ordered = np.sort(array) if measure == "confidence" else np.sort(array)[::-1]
    value = float(ordered[k - 1])
    rejected = int((array < value if measure == "confidence" else array > value).sum())
    return Threshold(measure, value, rate, n, rejected)


def threshold_from_json(document: Any) -> Threshold:
    """Return the threshold that ``to_json`` wrote; DataError where it is damaged."""
    values = document if isinstance(document, Mapping) else {}
    try:
        _check_measure(values["measure"])
        return Threshold(
            values["measure"],
            float(numbers("value", [values["value"]], 1)[0]),
            share("false_reject", values["false_reject"]),
            whole("n", values["n"], 1),
            whole("rejected", values["rejected"]),
        )
    except KeyError as error:
        raise DataError(f"damaged threshold: {error.args[0]} is missing") from None
    except (DataError, TypeError, OverflowError) as error:
        raise DataError(f"damaged threshold: {error}") from None


def _check_measure(measure: str) -> None:
    if measure not in MEASURES:
        hint = did_you_mean(str(measure), MEASURES)
        raise DataError(f"unknown measure {measure!r}: use {', '.join(MEASURES)}.{hint}")
