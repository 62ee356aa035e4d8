"""Prediction: labels for images, with scores and probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.card import Line
from offshelf.engine.contract import EngineOptions
from offshelf.feature_sets.feature_set import FeatureSet, mirrored
from offshelf.feature_sets.set_extraction import SetExtraction, extract_set
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.reader import Picture, ReadOptions
from offshelf.heads.fitting.fit_head import averaged_decision
from offshelf.heads.multilabel.label_answers import label_answers
from offshelf.heads.probabilities.decision_rule import decided
from offshelf.model_file.model import Model
from offshelf.opened_model import engine_of, networks_of
from offshelf.progress import Progress
from offshelf.text import shown, spelled

ROWS_AT_A_TIME = 2048


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(Line):
    """The prediction for one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no label.
        reason: the same in a sentence.
        label: the class with the largest score or, of a model with a rule, the one that the rule
            decides; None without features.
        scores: class name -> decision value of the head, the largest first. These are
            distances, not probabilities: below zero a one-vs-rest head says "not this".
        probabilities: class name -> probability, in the order of the scores, with the sum
            1, given that the image is of one of the classes; {} where the model is not
            calibrated.
        unknown: whether the model rejects the image as one of no known class; ``label`` is
            then the nearest class.
        unlike: whether the image is unlike the training images; None where the model keeps no
            measure of that. The label stays as it is.
        most_probable: of a model with a rule, the class with the largest probability; else None.
        labels: of a model of several labels all those that the image has, the most probable
            first, and ``label`` is None; each has a probability of its own. None else.
    """

    path: str
    status: str
    reason: str
    label: str | None
    scores: dict[str, float]
    probabilities: dict[str, float] = field(default_factory=dict)
    unknown: bool = False
    unlike: bool | None = None
    most_probable: str | None = None
    labels: tuple[str, ...] | None = None

    def __str__(self) -> str:
        if self.labels is not None:
            each = [f"{name} {100 * self.probabilities[name]:.2f} %" for name in self.labels]
            return f"{shown(self.path)}: {', '.join(each) or 'none of the labels'}"
        if self.label is None:
            return f"{shown(self.path)}: {self.status}, {self.reason}"
        said = f"unknown (nearest: {self.label})" if self.unknown else self.label
        share = self.probabilities.get(self.label)
        figure = (
            f"score {self.scores[self.label]:+.3f}" if share is None else f"{100 * share:.2f} %"
        )
        return f"{shown(self.path)}: {said} {figure}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "path": spelled(self.path),
            "status": self.status,
            "reason": self.reason,
            "label": self.label,
            **({} if self.labels is None else {"labels": list(self.labels)}),
            "scores": self.scores,
            "probabilities": self.probabilities,
            "unknown": self.unknown,
            "unlike": self.unlike,
            "most_probable": self.most_probable,
        }


def predict_paths(
    model: Model,
    features: FeatureSet,
    paths: Sequence[str],
    options: EngineOptions | None = None,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> tuple[list[Prediction], SetExtraction]:
    """Label image files through the feature store.

    Args:
        model: the model.
        features: its networks, from :func:`open_model`.
        paths: N files.
        options: engine and cache folder.
        reading: threads that read and decode, bounds on bytes and pixels, place of the store.
        progress: receives how many images are done.

    Returns:
        N predictions, one per path, in order; and the extraction, with the features.

    Raises:
        EngineError: the engine or device cannot be had.
        StoreError: the store cannot be written.
    """
    extraction = extracted(model, features, paths, options, reading, progress)
    answers = _answers(model, extraction)
    predictions = []
    for number, row in enumerate(extraction.rows):
        ledger = Prediction(
            path=row.path, status=row.status, reason=row.reason, label=None, scores={}
        )
        predictions.append(dataclasses.replace(ledger, **answers.get(number, {})))
    return predictions, extraction


def extracted(
    model: Model,
    features: FeatureSet,
    paths: Sequence[str | Picture],
    options: EngineOptions | None = None,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> SetExtraction:
    """Extract what *model* needs of images; arguments as for :func:`predict_paths`."""
    networks = networks_of(model, features)
    networks |= {mirrored(backbone): record for backbone, record in networks.items()}

    def run(backbone: Backbone, kinds: tuple[FeatureKind, ...]) -> Extraction:
        chosen = engine_of(networks[backbone], options or EngineOptions())
        return extract(paths, backbone, kinds, chosen, reading, progress)

    return extract_set(features if features.averages else features.without_flips(), run)


def _answers(model: Model, extraction: SetExtraction) -> dict[int, dict[str, Any]]:
    """Answer for the rows that have features, a bounded number of feature rows at a time."""
    rows = extraction.ok
    answers: dict[int, dict[str, Any]] = {}
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        chunk = rows[start : start + ROWS_AT_A_TIME]
        mirrors = extraction.read_mirrored(chunk) if extraction.features.averages else None
        found = answered(model, extraction.read(chunk), mirrors)
        answers.update(zip(chunk.tolist(), found, strict=True))
    return answers


def answered(
    model: Model, features: NDArray[np.float32], mirrors: NDArray[np.float32] | None = None
) -> list[dict[str, Any]]:
    """Return the fields of :class:`Prediction` that each of N x D features has.

    *mirrors* are those of the mirror images, where their scores are averaged.
    """
    scores = averaged_decision(model.head, features, mirrors)
    if model.head.decisions is not None:
        return label_answers(model.head, model.head.decisions, scores)
    probabilities = model.certainty.probabilities(scores)
    unknown, unlike = model.certainty.verdicts(probabilities, features)
    labels = decided(model.rule, scores, probabilities)
    likeliest = None
    if model.rule is not None and probabilities is not None:
        likeliest = probabilities.argmax(axis=1)
    answers = []
    for row, values in enumerate(scores):
        # A stable sort keeps the order of the classes among equal scores, as argmax does.
        order = np.argsort(-values, kind="stable")
        answers.append(
            {
                "label": model.classes[labels[row]],
                "scores": _named(model.classes, order, values),
                "probabilities": (
                    {}
                    if probabilities is None
                    else _named(model.classes, order, probabilities[row])
                ),
                "unknown": unknown is not None and bool(unknown[row]),
                "unlike": None if unlike is None else bool(unlike[row]),
                "most_probable": None if likeliest is None else model.classes[likeliest[row]],
            }
        )
    return answers


def _named(
    classes: tuple[str, ...], order: NDArray[np.intp], values: NDArray[np.floating[Any]]
) -> dict[str, float]:
    return {classes[k]: float(values[k]) for k in order}
