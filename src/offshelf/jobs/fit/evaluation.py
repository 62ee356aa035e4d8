"""Evaluation of a head on the test split: figures, probabilities, and leaks into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.data.tables.image_table import leaked_test_rows
from offshelf.heads.probabilities.decision_rule import DecisionRule, decided
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.jobs.fit.trained_head import Answers, TrainedHead, answers_of
from offshelf.jobs.setup.labelled_features import LabelledFeatures, usable_digests
from offshelf.jobs.setup.trained_results import Kept
from offshelf.measurement.decisions import Decisions, decisions
from offshelf.measurement.metrics import Evaluation, evaluate
from offshelf.measurement.probability_metrics import Trust, trust
from offshelf.prediction import Prediction


@dataclass(frozen=True, eq=False, repr=False)
class Leaks(Brief):
    """Test images whose bytes also stand in the training split.

    Attributes:
        rows: rows of the image table, int64; only images that were trained on or tested.
        without: figures on the other test images; None where there is no leak, or no
            other test image.
    """

    rows: NDArray[np.int64]
    without: Evaluation | None

    def to_json(self) -> dict[str, Any]:
        """Return ``n_test_in_train``, and the accuracy without those images if there are any.

        >>> Leaks(np.array([], np.int64), None).to_json()
        {'n_test_in_train': 0}
        """
        document: dict[str, Any] = {"n_test_in_train": len(self.rows)}
        if len(self.rows):
            without = self.without
            document["accuracy_without_leaks"] = without.accuracy if without else None
        return document

    def sentence(self) -> str:
        """Return the same on one line, or "" where there is no leak."""
        if not len(self.rows):
            return ""
        n, without = len(self.rows), self.without
        stand = "image also stands" if n == 1 else "images also stand"
        rest = (
            f"accuracy without: {100 * without.accuracy:.2f} %" if without else "no others are left"
        )
        return f"{n:,} test {stand} in the training split; {rest}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """The test images and the scores that a head gave them.

    Attributes:
        rows: N rows of the image table, int64.
        scores: float32, N x K.
        evaluation: the figures.
        trust: how far probabilities and the threshold for unknown images hold.
        leaks: test images that also stand in the training split, and figures without them.
        labels: N class indices, as they are decided.
        decisions: what the rule changes; None without a rule.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    evaluation: Evaluation
    trust: Trust
    leaks: Leaks
    labels: NDArray[np.int64]
    decisions: Decisions | None = None


def score(
    labelled: LabelledFeatures,
    trained: TrainedHead,
    place: Kept[Answers],
    rule: DecisionRule | None = None,
) -> Scored:
    """Score the test split, unless that is known from *place*, and measure its figures.

    The images are called what *rule* decides, or else what scores highest.

    Raises:
        DataError: there is no test image that can be used.
    """
    test = labelled.test
    answers = place.take(lambda: answers_of(trained, test.images))
    scores = answers.scores
    probabilities = trained.certainty.probabilities(scores)
    labels = decided(rule, scores, probabilities)
    classes, compared = labelled.table.classes, None
    if rule is not None and probabilities is not None:
        likeliest = probabilities.argmax(axis=1)
        compared = decisions(rule, test.targets, likeliest, labels, classes)
    return Scored(
        rows=test.rows,
        scores=scores,
        evaluation=evaluate(test.targets, labels, classes),
        trust=trust(probabilities, answers.unknown, labels, test.targets, answers.unlike),
        leaks=_find_leaks(labelled, labels),
        labels=labels,
        decisions=compared,
    )


def _find_leaks(labelled: LabelledFeatures, labels: NDArray[np.int64]) -> Leaks:
    """Return the leaks among the test images, found by content, whatever their label."""
    test, table = labelled.test, labelled.table
    leaked = leaked_test_rows(table, usable_digests(labelled.extraction))
    rest = np.flatnonzero(~np.isin(test.rows, leaked))
    leaked = np.intersect1d(leaked, test.rows)
    if not len(leaked) or not len(rest):
        return Leaks(leaked, None)
    return Leaks(leaked, evaluate(test.targets[rest], labels[rest], table.classes))


def trust_of(
    predictions: Sequence[Prediction],
    certainty: Certainty,
    classes: Sequence[str],
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> Trust:
    """Measure probabilities and rejections on N predictions, all of them with a label.

    *labels* and *targets* are the predicted and the true class indices, N each.
    """
    probabilities, unknown, unlike = None, None, None
    if certainty.calibration is not None:
        rows = [[row.probabilities[name] for name in classes] for row in predictions]
        probabilities = np.array(rows, np.float64)
    if certainty.threshold is not None:
        unknown = np.array([row.unknown for row in predictions], bool)
    if certainty.unlike is not None:
        unlike = np.array([bool(row.unlike) for row in predictions], bool)
    return trust(probabilities, unknown, labels, targets, unlike)
