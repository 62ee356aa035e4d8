"""Training and evaluation of a classifier of several labels, and its model file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import leaked_test_rows
from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.head import FittedHead
from offshelf.heads.label_decisions import LabelDecisions
from offshelf.heads.multilabel.one_vs_rest import check_label_head, fit_label_head
from offshelf.heads.probabilities.decision_settings import DecisionSettings
from offshelf.heads.probabilities.probability_model import ProbabilitySettings
from offshelf.jobs.fit.job import check_settings, note_replaced, recipe_of
from offshelf.jobs.fit.model_assembly import assembled
from offshelf.jobs.fit.trained_head import TrainedHead
from offshelf.jobs.multilabel.label_data import label_table_of, membership_of
from offshelf.jobs.multilabel.label_fit_result import LabelFitResult, LabelLeaks
from offshelf.jobs.setup.labelled_features import (
    LabelledFeatures,
    labelled_features,
    usable_digests,
)
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, JobContext, RunSettings
from offshelf.jobs.setup.trained_results import Arrays, Form, kept
from offshelf.measurement.label_metrics import LabelsEvaluation, evaluate_labels
from offshelf.model_file.model import save_model
from offshelf.progress import Progress, note_all


def fit_labels(
    data: str | Path,
    out: str | Path | None = None,
    *,
    features: FeatureSettings | None = None,
    head: HeadSettings | None = None,
    probability: ProbabilitySettings | None = None,
    decision: DecisionSettings | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> LabelFitResult:
    """Train and evaluate a head on images with several labels, as ``fit`` does of one.

    Args:
        data: a CSV or Parquet table with ``path``, ``labels`` and perhaps ``split``.
        out: where to write the model file; None writes none.
        features: backbone, layer, pooling.
        head: the classifier: ``svm``, ``logistic`` or ``ridge``.
        probability: nothing can be chosen of it, each label has a sigmoid.
        decision: nothing can be chosen of it, each label has a threshold of its own.
        run: engine, seed, split, limits.
        progress: receives notes, and how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.

    >>> fit_labels("no/such.csv")
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such.csv: no such file or folder.
    """
    job, head = JobContext.of(run, progress), head or HeadSettings()
    check_settings(head, job.run, out)
    check_label_head(head.head)
    _check_probability(probability or ProbabilitySettings())
    _check_decision(decision or DecisionSettings())
    note_replaced(out, job.progress)
    labelled = labelled_features(data, features, job, read=label_table_of)
    trained = _trained(labelled, recipe_of(head, job.run.seed), job)
    # The features of the training images are no longer needed in memory.
    return _result(dataclasses.replace(labelled), trained, out, job)


def _check_probability(settings: ProbabilitySettings) -> None:
    if settings.reject is not None:
        raise HeadError(
            "rejecting images is for one label of each; of several labels, an image of none of "
            "them has no label: leave --reject out"
        )
    if settings.calibrate == "none":
        raise HeadError(
            "several labels need probabilities, a sigmoid for each: leave --calibrate out"
        )


def _check_decision(settings: DecisionSettings) -> None:
    for name, given in (("costs", settings.costs), ("thresholds", settings.thresholds)):
        if given is not None:
            raise HeadError(
                f"--{name} decides on one label of each image; each of several has the threshold "
                f"of its best F1: leave --{name} out"
            )


def _trained(labelled: LabelledFeatures, recipe: Recipe, job: JobContext) -> FittedHead:
    train, table = labelled.train, labelled.table
    key = {"labels": 1, "trained": labelled.key(train.rows), "recipe": dataclasses.asdict(recipe)}
    place = kept(job.run, key, Form(_packed, _unpacked))
    with job.clock.stage("fit"):
        found = place.find()
        if found is None:
            job.progress.start("heads", None)
            found = fit_label_head(
                recipe,
                train.images,
                membership_of(table, train.rows),
                table.classes,
                groups=labelled.fold_groups(train.rows),
                advance=job.progress.advance,
            )
            job.progress.finish()
            place.keep(found)
    note_all(job.progress, decisions_of(found).notes)
    return found


def _packed(head: FittedHead) -> tuple[Arrays, Any]:
    return pack_head(head)


def _unpacked(arrays: Arrays, document: Any) -> FittedHead:
    return unpack_head(arrays, document)


def decisions_of(head: FittedHead) -> LabelDecisions:
    """Return the decisions of a head of several labels.

    Raises:
        HeadError: it is of one label.
    """
    if head.decisions is None:
        raise HeadError("the head gives one label of each image, not several")
    return head.decisions


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredLabels:
    """The test images, the scores that a head gave them, and the figures.

    Attributes:
        rows: N rows of the image table, int64.
        scores: float32, N x L.
        evaluation: the figures.
        leaks: test images that also stand in the training split.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    evaluation: LabelsEvaluation
    leaks: LabelLeaks


def _scored(labelled: LabelledFeatures, head: FittedHead) -> ScoredLabels:
    test, table = labelled.test, labelled.table
    scores = test.images.decide(head)
    truth = membership_of(table, test.rows)
    groups = labelled.groups_of(test.rows)
    figures = figures_of(head, truth, scores, groups)
    leaked = np.intersect1d(leaked_test_rows(table, usable_digests(labelled.extraction)), test.rows)
    rest = ~np.isin(test.rows, leaked)
    without = None
    if len(leaked) and truth[rest].any():
        own = None if groups is None else groups[rest]
        without = figures_of(head, truth[rest], scores[rest], own)
    return ScoredLabels(
        rows=test.rows, scores=scores, evaluation=figures, leaks=LabelLeaks(len(leaked), without)
    )


def figures_of(
    head: FittedHead,
    truth: NDArray[np.bool_],
    scores: NDArray[np.float32],
    units: NDArray[np.int64] | None = None,
) -> LabelsEvaluation:
    """Return the figures of scores N x L against the labels that the images have."""
    decisions = decisions_of(head)
    return evaluate_labels(
        truth,
        scores,
        decisions.present(scores),
        head.classes,
        thresholds=decisions.threshold_probabilities(),
        units=units,
    )


def _result(
    labelled: LabelledFeatures, head: FittedHead, out: str | Path | None, job: JobContext
) -> LabelFitResult:
    """Evaluate on the test split, and write the model file where one is asked for."""
    with job.clock.stage("evaluate"):
        scored = _scored(labelled, head)
    with job.clock.stage("save"):
        figures = scored.evaluation.to_json()
        model = assembled(labelled, TrainedHead(head), scored, figures, job.run)
        path = save_model(model, out) if out is not None else None
    return LabelFitResult(
        model=model,
        evaluation=scored.evaluation,
        path=path,
        extraction=labelled.extraction,
        table=labelled.table,
        seconds=job.clock.total(),
        leaks=scored.leaks,
    )
