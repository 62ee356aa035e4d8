"""The certainty of a model in its file: JSON and arrays, which are untrusted until checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import DataError
from offshelf.heads.probabilities.distances import Distance, Reference
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.heads.probabilities.rejection import (
    MEASURES,
    Measure,
    Threshold,
    threshold_from_json,
)
from offshelf.heads.probabilities.score_calibration import calibration_from_json

# The names of the arrays of each measure: rows, and axes where it has them.
_ARRAYS: dict[Distance, tuple[str, ...]] = {
    "centroid_distance": ("centroids",),
    "neighbour_distance": ("neighbours",),
    "covariance_distance": ("means", "axes"),
}
_KEYS, _NEWER = {"calibration", "threshold", "notes"}, {"unlike", "separation"}


def certainty_arrays(certainty: Certainty) -> dict[str, NDArray[Any]]:
    """Return the references of *certainty* as named arrays, for :func:`certainty_from_json`."""
    arrays: dict[str, NDArray[Any]] = {}
    for reference in certainty.references.values():
        parts = (reference.rows, reference.axes)
        arrays |= {
            name: part
            for name, part in zip(_ARRAYS[reference.measure], parts, strict=False)
            if part is not None
        }
    return arrays


def certainty_from_json(
    document: Any, arrays: Mapping[str, NDArray[Any]], n_classes: int, dimension: int
) -> Certainty:
    """Return the certainty that ``to_json`` and :func:`certainty_arrays` make.

    Both are of an untrusted file; *document* is None where it has none. DataError where
    something is missing, out of range or does not fit a head of *n_classes* and *dimension*.

    >>> certainty_from_json(None, {}, 2, 3).unlike is None
    True
    """
    if document is None and not arrays:
        return Certainty()
    known = isinstance(document, Mapping) and set(document) in (_KEYS, _KEYS | _NEWER)
    if not known:
        raise DataError("damaged certainty: need calibration, threshold and notes")
    notes = document["notes"]
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError("damaged certainty: its notes are no list of texts")
    calibration = document["calibration"]
    threshold, unlike = (_threshold(document.get(key)) for key in ("threshold", "unlike"))
    if unlike and unlike.measure == "confidence":
        raise DataError("damaged certainty: unlike images are not told by confidence")
    found = Certainty(
        calibration=None if calibration is None else calibration_from_json(calibration, n_classes),
        threshold=threshold,
        unlike=unlike,
        references=_references(arrays, n_classes, dimension),
        separation=_separation(document.get("separation", {})),
        notes=tuple(notes),
    )
    _check_parts(found)
    return found


def _threshold(document: Any) -> Threshold | None:
    return None if document is None else threshold_from_json(document)


def _separation(document: Any) -> dict[Measure, float]:
    if isinstance(document, Mapping) and set(document) <= set(MEASURES):
        values = list(document.values())
        if all(isinstance(value, float | int) and 0 <= value <= 1 for value in values):
            return {name: float(document[name]) for name in MEASURES if name in document}
    raise DataError("damaged certainty: separation is no list of measures with 0 to 1")


def _references(
    arrays: Mapping[str, NDArray[Any]], n_classes: int, dimension: int
) -> dict[Distance, Reference]:
    found: dict[Distance, Reference] = {}
    known = {name for names in _ARRAYS.values() for name in names}
    if set(arrays) - known:
        raise DataError("damaged certainty: it has arrays of no measure")
    for measure, names in _ARRAYS.items():
        parts = [arrays[name] for name in names if name in arrays]
        if not parts:
            continue
        if len(parts) < len(names):
            raise DataError(f"damaged certainty: {measure} needs {' and '.join(names)}")
        for name, part in zip(names, parts, strict=True):
            _check_array(name, part, n_classes, dimension)
        found[measure] = Reference(measure, *parts)
    return found


def _check_array(name: str, array: NDArray[Any], n_classes: int, dimension: int) -> None:
    dtype = "float32" if name == "centroids" else "float16"
    count = n_classes if name in ("centroids", "means") else (len(array) if array.ndim else 0)
    fewest = 0 if name == "axes" else 1
    if array.shape != (count, dimension) or array.dtype != dtype or count < fewest:
        size = "N" if name in ("neighbours", "axes") else n_classes
        raise DataError(
            f"damaged certainty: {name} must be {size} x {dimension} {dtype}, not "
            f"{' x '.join(map(str, array.shape))} {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise DataError(f"damaged certainty: {name} hold NaN or infinity")


def _check_parts(found: Certainty) -> None:
    measures = {one.measure for one in (found.threshold, found.unlike) if one}
    if "confidence" in measures and found.calibration is None:
        raise DataError("damaged certainty: a threshold on probabilities without a calibration")
    if set(found.references) != measures - {"confidence"}:
        raise DataError("damaged certainty: arrays and thresholds do not belong together")
