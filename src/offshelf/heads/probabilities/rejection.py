"""Images that belong to no known class: a threshold for a chosen share of false rejects.

The value under test is the largest calibrated probability (low is unusual) or a cosine
distance to the training images (high is unusual).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, numbers, same_length, share, whole
from offshelf.errors import DataError, did_you_mean
from offshelf.heads.class_balance import fold_splits, in_row_order
from offshelf.heads.numerics.row_scaling import blocks

Measure = Literal["confidence", "centroid_distance"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
Matrix = NDArray[np.float64]
_BLOCK_VALUES = 2**22


@dataclass(frozen=True)
class Threshold:
    """When an image is called unknown.

    Attributes:
        measure: ``confidence``: below the value is unknown; ``centroid_distance``: above it is.
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


def centroids(features: NDArray[Any], targets: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """Return the mean direction of each of k classes: k x D float32, rows of norm 1 (or 0).

    DataError where the shapes of features N x D and targets N do not fit, or values are not
    finite.

    >>> centroids(np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), np.array([0, 1, 1]), 2)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    matrix = np.asarray(features)
    targets = class_indices("targets", targets, whole("k", k, 1))
    same_length("rows of features", len(matrix), "targets", len(targets))
    sums = np.zeros((k, matrix.shape[-1]))
    for part in blocks(len(matrix), matrix.shape[-1]):
        np.add.at(sums, targets[part], _directions("features", matrix[part]))
    return _directions("centroids", sums).astype(np.float32)


def nearest_distance(features: NDArray[Any], reference: NDArray[Any]) -> Matrix:
    """Return the cosine distance of rows N x D to the nearest of M x D :func:`centroids`.

    N float64, 0 (same direction) to 2 (opposite); a row of zeros is at 1 from all. DataError
    where the matrices do not fit.
    """
    rows, known = _directions("features", features), _directions("reference", reference)
    if rows.shape[1] != known.shape[1]:
        raise DataError(
            f"features have {rows.shape[1]} dimensions but the reference {known.shape[1]}"
        )
    found = np.empty(len(rows))
    for part in blocks(len(rows), len(known), _BLOCK_VALUES):
        found[part] = (rows[part] @ known.T).max(axis=1)
    return np.clip(1 - found, 0.0, 2.0)


def _directions(what: str, matrix: NDArray[Any]) -> Matrix:
    rows = numbers(what, matrix, 2)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, 1.0, norms))


def _check_measure(measure: str) -> None:
    if measure not in MEASURES:
        hint = did_you_mean(str(measure), MEASURES)
        raise DataError(f"unknown measure {measure!r}: use {', '.join(MEASURES)}.{hint}")


def held_out_distances(
    features: NDArray[Any], targets: NDArray[np.int64], k: int, fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the distance of the rows that are held out to the nearest class centroid.

    The centroids are those of the rows in other folds, as :func:`.held_out_folds` deals them.
    """
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    for held, kept in fold_splits(fold):
        reference = centroids(features[kept], targets[kept], k)
        parts.append((held, nearest_distance(features[held], reference)))
    return in_row_order(parts)
