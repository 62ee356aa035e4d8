"""How sure a head is: probabilities of its scores, and which images are of no known class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.checks import share
from offshelf.errors import HeadError, did_you_mean
from offshelf.heads.class_balance import ALONE
from offshelf.heads.group_folds import Groups, held_out_folds
from offshelf.heads.probabilities.distances import DISTANCES, Distance, Reference
from offshelf.heads.probabilities.out_of_distribution import (
    FEWEST,
    best_measure,
    separations,
    surroundings,
    unlike_threshold,
)
from offshelf.heads.probabilities.rejection import MEASURES, Measure, Threshold, fit_threshold
from offshelf.heads.probabilities.score_calibration import (
    Calibration,
    fit_sigmoid,
    fit_temperature,
)
from offshelf.text import listed

CALIBRATIONS = ("temperature", "sigmoid", "none")
WAYS = ("auto", *MEASURES)
UNCALIBRATED = "no probabilities: "
UNMARKED = "no image is marked as unlike the training images"
Matrix = NDArray[np.float64]


class Scorer(Protocol):
    """Scores of training rows by heads that never saw them, as :class:`.Trainer` gives them."""

    @property
    def groups(self) -> Groups | None:
        """The group of each row, which folds keep together; None where rows are independent."""

    def held_out(self, fold: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores M x K of the rows that have a fold, -1 for none."""

    def retrained(self, kept: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the scores of *rows* by a head that is trained on *kept*, of its classes."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Certainty(Brief):
    """What a model knows about how sure it is.

    Attributes:
        calibration: from scores to probabilities; None without.
        threshold: when an image is unknown; None without.
        unlike: how far an image lies from the training images to be marked as unlike them; None
            for a model of too few images, or from before there was such a measure.
        references: what the distances of both are measured to, by measure.
        separation: AUROC of each measure on classes that were held out, by measure.
        notes: one line each: what about the training rows a person should know.

    >>> Certainty().probabilities(np.zeros((1, 2), np.float32)) is None
    True
    """

    calibration: Calibration | None = None
    threshold: Threshold | None = None
    unlike: Threshold | None = None
    references: Mapping[Distance, Reference] = field(default_factory=dict)
    separation: Mapping[Measure, float] = field(default_factory=dict)
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

    def verdicts(self, probabilities: Matrix | None, features: NDArray[Any]) -> Verdicts:
        """Return which of N images are of no known class, and which unlike the training images.

        Args:
            probabilities: what :meth:`probabilities` returned for them.
            features: N x D.
        """
        values: dict[Measure, Matrix] = {
            name: one.distances(features) for name, one in self.references.items()
        }
        if probabilities is not None:
            values["confidence"] = probabilities.max(axis=1)
        return Verdicts(*(_beyond(each, values) for each in (self.threshold, self.unlike)))

    def to_json(self) -> dict[str, Any]:
        """Return all but the references as JSON values."""
        return {
            "calibration": self.calibration.to_json() if self.calibration else None,
            "threshold": self.threshold.to_json() if self.threshold else None,
            "unlike": self.unlike.to_json() if self.unlike else None,
            "separation": dict(self.separation),
            "notes": list(self.notes),
        }


class Verdicts(NamedTuple):
    """What distances and probabilities say of N images.

    Attributes:
        unknown: which of them are of no known class; None without a threshold.
        unlike: which are unlike the training images; None without such a measure.
    """

    unknown: NDArray[np.bool_] | None = None
    unlike: NDArray[np.bool_] | None = None


def _beyond(
    threshold: Threshold | None, values: Mapping[Measure, Matrix]
) -> NDArray[np.bool_] | None:
    return None if threshold is None else threshold.unknown(values[threshold.measure])


@dataclass(frozen=True)
class ProbabilitySettings:
    """How scores become probabilities, and when an image counts as unknown.

    Attributes:
        calibrate: ``temperature`` (labels never change), ``sigmoid`` (a curve per class) or
            ``none``.
        reject: false-rejection rate, the share of images of known classes that may be called
            unknown, in (0, 1); None calls no image unknown.
        reject_by: ``confidence``, the largest probability; ``centroid_distance``, to the nearest
            class centroid; ``neighbour_distance``, to the nearest training image;
            ``covariance_distance``, to the nearest class mean in units of the covariance; or
            ``auto``, the one that tells classes that are held out best.
        unlike: whether images are marked that are unlike the training images.

    >>> ProbabilitySettings(reject=0.05).reject_by
    'auto'
    """

    calibrate: str = "temperature"
    reject: float | None = None
    reject_by: str = "auto"
    unlike: bool = True


def check_probability(settings: ProbabilitySettings) -> None:
    """Refuse settings that cannot be met.

    >>> check_probability(ProbabilitySettings("temperatur"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: unknown calibration 'temperatur': use ... Did you mean 'temperature'?
    """
    for what, word, words in (
        ("calibration", settings.calibrate, CALIBRATIONS),
        ("way to reject", settings.reject_by, WAYS),
    ):
        if word not in words:
            hint = did_you_mean(str(word), words)
            raise HeadError(f"unknown {what} {word!r}: use {', '.join(words)}.{hint}")
    if settings.reject is not None:
        share("false-reject rate", settings.reject)
    elif settings.reject_by != "auto":
        raise HeadError(f"to reject by {settings.reject_by}, set a false-reject rate such as 0.05")
    if settings.reject and (settings.reject_by, settings.calibrate) == ("confidence", "none"):
        raise HeadError(
            "to reject by confidence, probabilities are needed: calibrate by temperature or "
            "sigmoid, or reject by centroid_distance"
        )


def fit_certainty(
    scorer: Scorer,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: Sequence[str],
    settings: ProbabilitySettings,
    *,
    seed: int = 0,
) -> Certainty:
    """Calibrate a kind of head on the rows it is trained on, folds held out in turn.

    Args:
        scorer: scores rows that are held out, as :class:`.Trainer` does.
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
    >>> given = trainer, features, targets, trainer.classes
    >>> found = fit_certainty(*given, ProbabilitySettings())
    >>> found.kind, found.probabilities(np.array([[-1.0, 1.0]])).sum().round(6).tolist()
    ('temperature', 1.0)
    >>> found.unlike.n, found.unlike.rejected
    (60, 0)
    """
    check_probability(settings)
    groups = scorer.groups
    fold = held_out_folds(targets, seed=seed, groups=groups)
    rows = _Rows(features, targets, fold, tuple(classes), seed, groups)
    if settings.calibrate == "none" and settings.reject is None:
        return _distant(Certainty(), rows, settings)
    try:
        found, confidences = _calibrated(scorer, rows, settings)
    except HeadError as error:
        # Labels need no probabilities, so training goes on without them.
        if settings.reject is not None:
            raise
        found, confidences = Certainty(notes=(f"{UNCALIBRATED}{error}",)), np.empty(0)
    return _distant(found, rows, settings, scorer, confidences)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The training rows, and the fold that holds each of them out."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    fold: NDArray[np.int64]
    classes: tuple[str, ...]
    seed: int
    groups: Groups | None


def _calibrated(
    scorer: Scorer, rows: _Rows, settings: ProbabilitySettings
) -> tuple[Certainty, NDArray[np.float64]]:
    """Return the calibration, and the largest probability of each row that is held out."""
    if (rows.fold == ALONE).all():
        single = (
            "a single training image"
            if rows.groups is None
            else "images of a single group, or copies of one"
        )
        raise HeadError(f"every class has {single}, so none can be held out")
    if settings.calibrate == "none":
        return Certainty(notes=_alone(rows)), np.empty(0)
    scores = scorer.held_out(rows.fold)
    calibration = _calibration(scores, rows, settings.calibrate)
    found = Certainty(calibration=calibration, notes=_alone(rows))
    return found, calibration.probabilities(scores).max(axis=1)


def _calibration(scores: NDArray[np.float32], rows: _Rows, kind: str) -> Calibration:
    targets = rows.targets[rows.fold != ALONE]
    if kind == "temperature":
        return fit_temperature(scores, targets)
    return fit_sigmoid(scores, targets)


def _distant(
    found: Certainty,
    rows: _Rows,
    settings: ProbabilitySettings,
    scorer: Scorer | None = None,
    confidences: NDArray[np.float64] | None = None,
) -> Certainty:
    """Add the thresholds for unknown images and for those unlike the training images."""
    if not settings.unlike and settings.reject is None:
        return found
    around = surroundings(rows.features, rows.targets, seed=rows.seed, groups=rows.groups)
    wanted = scorer if settings.reject_by == "auto" and settings.reject is not None else None
    retrained = wanted.retrained if wanted and found.calibration else None
    separation = separations(around, retrained, rows.targets, rows.groups)
    threshold, unlike, notes = None, None, found.notes
    if settings.reject is not None:
        measure = _chosen(settings, separation)
        values = confidences if measure == "confidence" else around.held_out(measure)
        threshold = fit_threshold(np.asarray(values), settings.reject, measure=measure)
    if settings.unlike and around.n >= FEWEST:
        nearest = best_measure(separation, DISTANCES)
        unlike = unlike_threshold(around.held_out(nearest), nearest)
    elif settings.unlike:
        notes = (*notes, _too_few(around.n))
    measures = [one.measure for one in (threshold, unlike) if one]
    references = {name: around.reference(name) for name in measures if name != "confidence"}
    return dataclasses.replace(
        found,
        threshold=threshold,
        unlike=unlike,
        references=references,
        separation=separation,
        notes=notes,
    )


def _chosen(settings: ProbabilitySettings, separation: Mapping[Measure, float]) -> Measure:
    if settings.reject_by == "auto":
        return best_measure(separation, tuple(separation) or DISTANCES)
    return cast(Measure, settings.reject_by)


def _too_few(n: int) -> str:
    return f"{UNMARKED}: that needs {FEWEST} of them that can be held out, there are {n}"


def _alone(rows: _Rows) -> tuple[str, ...]:
    names = [rows.classes[k] for k in np.unique(rows.targets[rows.fold == ALONE])]
    if not names:
        return ()
    many = "a class has" if len(names) == 1 else f"{len(names)} classes have"
    single = "a single training image, which" if rows.groups is None else "images that"
    why = "" if rows.groups is None else ", as no group or copy of them can be held out"
    return (f"{many} {single} cannot say how sure to be{why}: {listed(names)}",)
