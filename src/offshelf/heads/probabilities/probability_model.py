"""How sure a head is: probabilities of its scores, and which images are of no known class.

Kept as JSON and at most one float32 array; what comes back from a file is checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import share
from offshelf.errors import DataError, HeadError, did_you_mean
from offshelf.heads.class_balance import ALONE, held_out_folds
from offshelf.heads.numerics.row_scaling import blocks
from offshelf.heads.probabilities.rejection import (
    MEASURES,
    Measure,
    Threshold,
    centroids,
    fit_threshold,
    held_out_distances,
    nearest_distance,
    threshold_from_json,
)
from offshelf.heads.probabilities.score_calibration import (
    Calibration,
    calibration_from_json,
    fit_sigmoid,
    fit_temperature,
)
from offshelf.text import listed

CALIBRATIONS = ("temperature", "sigmoid", "none")
Matrix = NDArray[np.float64]
# From the fold of each row, -1 for none, to the scores M x K of the rows that have one.
HeldOut = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Certainty:
    """What a model knows about how sure it is.

    Attributes:
        calibration: from scores to probabilities; None without.
        threshold: when an image is unknown; None without.
        centroids: K x D float32, of the training rows; only for the threshold on distance.
        notes: one line each: what was unusual in the training rows.

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

    Both are of an untrusted file, None where it has none. DataError where something is missing,
    out of range or does not fit a head of *n_classes* and *dimension*.
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


@dataclass(frozen=True)
class ProbabilitySettings:
    """How scores become probabilities, and when an image counts as unknown.

    Attributes:
        calibrate: ``temperature`` (labels never change), ``sigmoid`` (a curve per class) or
            ``none``.
        reject: share of images of known classes that may be called unknown, in (0, 1);
            None calls no image unknown.
        reject_by: ``confidence``, the largest probability, or ``centroid_distance``, the
            cosine distance to the nearest class centroid.

    >>> ProbabilitySettings(reject=0.05).reject_by
    'confidence'
    """

    calibrate: str = "temperature"
    reject: float | None = None
    reject_by: str = "confidence"


def check_probability(settings: ProbabilitySettings) -> None:
    """Refuse settings that cannot be met.

    >>> check_probability(ProbabilitySettings("temperatur"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: unknown calibration 'temperatur': use ... Did you mean 'temperature'?
    """
    for what, word, words in (
        ("calibration", settings.calibrate, CALIBRATIONS),
        ("way to reject", settings.reject_by, MEASURES),
    ):
        if word not in words:
            hint = did_you_mean(str(word), words)
            raise HeadError(f"unknown {what} {word!r}: use {', '.join(words)}.{hint}")
    if settings.reject is not None:
        share("false-reject rate", settings.reject)
    elif settings.reject_by != "confidence":
        raise HeadError(f"to reject by {settings.reject_by}, set a false-reject rate such as 0.05")
    if settings.reject and (settings.reject_by, settings.calibrate) == ("confidence", "none"):
        raise HeadError(
            "to reject by confidence, probabilities are needed: calibrate by temperature or "
            "sigmoid, or reject by centroid_distance"
        )


def fit_certainty(
    held_out: HeldOut,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: Sequence[str],
    settings: ProbabilitySettings,
    *,
    seed: int = 0,
) -> Certainty:
    """Calibrate a kind of head on the rows it is trained on, five folds held out in turn.

    Args:
        held_out: scores the rows that folds hold out, as :meth:`.Trainer.held_out` does.
        features: N x D float32.
        targets: N class indices.
        classes: K class names.
        settings: what is wanted.
        seed: of the folds.

    Raises:
        HeadError: unknown words in the settings; nothing can be held out although images
            are to be rejected.
        DataError: too few rows for the false-reject rate.

    >>> from offshelf.heads.fitting.fit_head import Recipe, Trainer
    >>> draw = np.random.default_rng(0)
    >>> targets = np.arange(60) % 2
    >>> features = (draw.normal(size=(60, 3)) + targets[:, None]).astype(np.float32)
    >>> trainer = Trainer(Recipe(), features, targets, ["cat", "dog"])
    >>> given = trainer.held_out, features, targets, trainer.classes
    >>> found = fit_certainty(*given, ProbabilitySettings())
    >>> found.kind, found.probabilities(np.array([[-1.0, 1.0]])).sum().round(6).tolist()
    ('temperature', 1.0)
    """
    check_probability(settings)
    if settings.calibrate == "none" and settings.reject is None:
        return Certainty()
    rows = _Rows(features, targets, held_out_folds(targets, seed=seed), tuple(classes))
    try:
        return _fitted(held_out, rows, settings)
    except HeadError as error:
        # Labels need no probabilities, so training goes on without them.
        if settings.reject is not None:
            raise
        return Certainty(notes=(f"no probabilities: {error}",))


@dataclass(frozen=True, eq=False)
class _Rows:
    """The training rows, and the fold that holds each of them out."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    fold: NDArray[np.int64]
    classes: tuple[str, ...]


def _fitted(held_out: HeldOut, rows: _Rows, settings: ProbabilitySettings) -> Certainty:
    if (rows.fold == ALONE).all():
        raise HeadError("every class has a single training image, so none can be held out")
    calibration, notes = None, _alone(rows)
    confidences = np.empty(0)
    if settings.calibrate != "none":
        scores = held_out(rows.fold)
        calibration = _calibration(scores, rows, settings.calibrate)
        confidences = calibration.probabilities(scores).max(axis=1)
    if settings.reject is None:
        return Certainty(calibration, notes=notes)
    return _rejecting(Certainty(calibration, notes=notes), confidences, rows, settings)


def _calibration(scores: NDArray[np.float32], rows: _Rows, kind: str) -> Calibration:
    targets = rows.targets[rows.fold != ALONE]
    if kind == "temperature":
        return fit_temperature(scores, targets)
    return fit_sigmoid(scores, targets)


def _rejecting(
    found: Certainty, confidences: NDArray[np.float64], rows: _Rows, settings: ProbabilitySettings
) -> Certainty:
    """Add the threshold, and what it needs."""
    values, reference, rate = confidences, None, settings.reject or 0.0
    if settings.reject_by == "centroid_distance":
        k = len(rows.classes)
        values = held_out_distances(rows.features, rows.targets, k, rows.fold)
        reference = centroids(rows.features, rows.targets, k)
    threshold = fit_threshold(values, rate, measure=cast(Measure, settings.reject_by))
    return dataclasses.replace(found, threshold=threshold, centroids=reference)


def _alone(rows: _Rows) -> tuple[str, ...]:
    names = [rows.classes[k] for k in rows.targets[rows.fold == ALONE]]
    if not names:
        return ()
    many = "a class has" if len(names) == 1 else f"{len(names)} classes have"
    return (f"{many} a single training image, which cannot say how sure to be: {listed(names)}",)
