"""Which labels an image has, and how probable each is: a threshold and a sigmoid per label.

A threshold is the one of the best F1 on scores of training images that the head had not seen:
Lipton, Elkan and Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure",
ECML PKDD 2014, 225-239. On calibrated probabilities it lies at half of that F1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.checks import numbers, same_length
from offshelf.errors import DataError

# The heads that learn each label on its own.
LABEL_HEADS = ("svm", "logistic", "ridge")
_LARGEST = 1e100
_KEYS = {"thresholds", "slopes", "offsets", "held_out_f1", "notes"}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelDecisions(Brief):
    """What turns the scores of L labels into labels and probabilities.

    Attributes:
        thresholds: L scores; an image whose score is at least that has the label.
        slopes: L numbers, at most 0; a probability is ``1 / (1 + exp(slope * score + offset))``.
        offsets: L numbers.
        held_out_f1: L, the F1 at the threshold on the images held out; None where a label could
            not be held out.
        notes: one line each: what about the training images a person should know.

    >>> given = {"thresholds": (0.5,), "slopes": (-1.0,), "offsets": (0.0,), "held_out_f1": (1.0,)}
    >>> decisions = LabelDecisions(**given)
    >>> decisions.present(np.array([[0.4], [0.5]])).tolist()
    [[False], [True]]
    >>> decisions.probabilities(np.zeros((1, 1))).tolist()
    [[0.5]]
    """

    thresholds: tuple[float, ...]
    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    held_out_f1: tuple[float | None, ...]
    notes: tuple[str, ...] = ()

    def present(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which of N images have which label, N x L bool, of scores N x L."""
        return np.asarray(self._checked(scores) >= np.array(self.thresholds))

    def probabilities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of each label, N x L; those of an image have no sum."""
        exponents = self._checked(scores) * np.array(self.slopes) + np.array(self.offsets)
        return np.asarray(np.exp(-np.logaddexp(0.0, exponents)))

    def threshold_probabilities(self) -> tuple[float, ...]:
        """Return the probability of each label at its threshold, L."""
        found = self.probabilities(np.array([self.thresholds]))[0]
        return tuple(float(one) for one in found)

    def _checked(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        matrix = numbers("scores", scores, 2)
        same_length("columns of scores", matrix.shape[1], "labels", len(self.thresholds))
        return matrix

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`decisions_from_json` reads."""
        return {
            "thresholds": list(self.thresholds),
            "slopes": list(self.slopes),
            "offsets": list(self.offsets),
            "held_out_f1": list(self.held_out_f1),
            "notes": list(self.notes),
        }


def decisions_from_json(document: Any, n_labels: int) -> LabelDecisions:
    """Return the decisions that ``to_json`` wrote, of a file that is not trusted.

    Raises:
        DataError: something is missing, unknown, out of range, or of another number of labels.

    >>> decisions_from_json({}, 2)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: damaged decisions on labels: other fields than those of thresholds
    """
    if not isinstance(document, Mapping) or set(document) != _KEYS:
        raise DataError("damaged decisions on labels: other fields than those of thresholds")
    for key in ("thresholds", "slopes", "offsets"):
        _check_numbers(key, document[key], n_labels)
    if max(document["slopes"]) > 0:
        raise DataError("damaged decisions on labels: a slope is above 0")
    shares = document["held_out_f1"]
    if not isinstance(shares, list) or len(shares) != n_labels or not all(map(_is_share, shares)):
        raise DataError(f"damaged decisions on labels: held_out_f1 is not {n_labels} shares")
    notes = document["notes"]
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError("damaged decisions on labels: its notes are no list of texts")
    return LabelDecisions(**{key: tuple(document[key]) for key in _KEYS})


def _check_numbers(key: str, values: Any, n_labels: int) -> None:
    if not isinstance(values, list) or len(values) != n_labels or not all(map(_is_real, values)):
        raise DataError(f"damaged decisions on labels: {key} are not {n_labels} numbers")


def _is_real(value: Any) -> bool:
    # So that no product with a float32 score overflows.
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value) and abs(value) <= _LARGEST


def _is_share(value: Any) -> bool:
    return value is None or (_is_real(value) and 0 <= value <= 1)
