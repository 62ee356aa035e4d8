"""Training and evaluation of a classifier on labelled images, and its model file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np

from offshelf.errors import DataError, ModelFileError
from offshelf.heads.arguments import check_normalisation, checked_options
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.mirror_images import trainer_of
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.options import FOLDS, ClassWeight, Normalisation
from offshelf.heads.preparation.reduction import parse_reduction
from offshelf.heads.probabilities.decision_rule import DecisionRule
from offshelf.heads.probabilities.decision_settings import (
    DecisionSettings,
    check_decidable,
    rule_of,
)
from offshelf.heads.probabilities.probability_model import (
    ProbabilitySettings,
    check_probability,
    fit_certainty,
)
from offshelf.jobs.fit.evaluation import Scored, score
from offshelf.jobs.fit.fit_result import FitResult
from offshelf.jobs.fit.model_assembly import make_model
from offshelf.jobs.fit.trained_head import Answers, TrainedHead, kept_answers, kept_head
from offshelf.jobs.setup.labelled_features import (
    LabelledFeatures,
    labelled_features,
)
from offshelf.jobs.setup.settings import (
    FeatureSettings,
    HeadSettings,
    JobContext,
    RunSettings,
)
from offshelf.jobs.setup.trained_results import Kept
from offshelf.model_file.model import Model, load_model, save_model
from offshelf.model_file.zip_file import MAX_PICTURES, check_target
from offshelf.prediction import Prediction, answered
from offshelf.progress import Progress, note_all
from offshelf.report.mistakes import Mistake, mistakes_among
from offshelf.text import counted, shown


def fit(
    data: str | Path,
    out: str | Path | None = None,
    *,
    features: FeatureSettings | None = None,
    head: HeadSettings | None = None,
    probability: ProbabilitySettings | None = None,
    decision: DecisionSettings | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train and evaluate a head on frozen features of labelled images.

    Args:
        data: a folder with ``train/`` and ``test/``, a folder of class folders, or a CSV
            or Parquet table with ``path``, ``label`` and perhaps ``split``.
        out: where to write the model file; None writes none.
        features: backbone, layer, pooling.
        head: the classifier.
        probability: how its scores become probabilities, and which images it rejects.
        decision: what mistakes cost, or from which probability on a class is called.
        run: engine, seed, split, limits.
        progress: receives notes, and how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.

    >>> fit("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such/folder: no such file or folder.
    """
    job, head = JobContext.of(run, progress), head or HeadSettings()
    probability = probability or ProbabilitySettings()
    check_settings(head, job.run, out)
    check_probability(probability)
    rule_for = rule_of(decision, probability)
    note_replaced(out, job.progress)
    labelled = labelled_features(data, features, job, lambda table: rule_for(table.classes))
    rule = rule_for(labelled.table.classes)
    note_all(job.progress, labelled.contradictions)
    return fit_labelled(labelled, out, (head, probability, rule), job)


def fit_labelled(
    labelled: LabelledFeatures,
    out: str | Path | None,
    how: tuple[HeadSettings, ProbabilitySettings, DecisionRule | None],
    job: JobContext,
) -> FitResult:
    """Do the same with features that are extracted; *how* is checked before.

    Raises:
        OffshelfError: the head cannot be trained, or the model file not be written.
    """
    head, probability, rule = how
    asked = labelled, recipe_of(head, job.run.seed), probability
    trained, answers = _trained(*asked, job), kept_answers(*asked, job.run)
    check_decidable(rule, trained.certainty)
    # The features of the training images are no longer needed in memory.
    return _result(dataclasses.replace(labelled), (trained, rule), answers, out, job)


def note_replaced(out: str | Path | None, progress: Progress) -> None:
    """Say which model file will be replaced, if any, and that a name is unusual."""
    if out is None:
        return
    path = Path(out)
    if path.suffix.lower() != ".offshelf":
        progress.note(
            f"{shown(path)}: will be a model file; the usual ending, by which people know one, is "
            ".offshelf"
        )
    if path.exists():
        progress.note(_replaced(path))


def _replaced(path: Path) -> str:
    try:
        old = load_model(path)
    except ModelFileError:
        return f"{shown(path)}: exists, and will be replaced"
    accuracy = old.metrics.get("accuracy")
    good = f", accuracy {100 * accuracy:.2f} %" if isinstance(accuracy, float) else ""
    held = counted(len(old.classes), "class", "classes")
    return f"{shown(path)}: holds a model of {held}{good}, and will be replaced"


def _result(
    labelled: LabelledFeatures,
    classifier: tuple[TrainedHead, DecisionRule | None],
    answers: Kept[Answers],
    out: str | Path | None,
    job: JobContext,
) -> FitResult:
    """Evaluate on the test split, and write the model file where one is asked for."""
    trained, rule = classifier
    with job.clock.stage("evaluate"):
        scored = score(labelled, trained, answers, rule)
    with job.clock.stage("save"):
        model = make_model(labelled, trained, scored, job.run)
        path = save_model(model, out) if out is not None else None
    return FitResult(
        model=model,
        evaluation=scored.evaluation,
        path=path,
        extraction=labelled.extraction,
        table=labelled.table,
        seconds=job.clock.total(),
        leaks=scored.leaks,
        trust=scored.trust,
        mistakes=_mistakes(labelled, model, scored),
        decisions=scored.decisions,
    )


def _mistakes(labelled: LabelledFeatures, model: Model, scored: Scored) -> tuple[Mistake, ...]:
    """Return the test images that are predicted as another class, with all that is said of them."""
    test, table = labelled.test, labelled.table
    wrong = np.flatnonzero(scored.labels != test.targets)
    if not len(wrong):
        return ()
    paths = [table.paths[row] for row in test.rows[wrong]]
    images = test.images_at(wrong)
    answers = answered(model, images.rows, images.mirrors if images.averaged else None)
    predictions = [
        Prediction(path=path, status="ok", reason="", **answer)
        for path, answer in zip(paths, answers, strict=True)
    ]
    return mistakes_among(predictions, [table.labels[row] for row in test.rows[wrong]])


def check_settings(head: HeadSettings, run: RunSettings, out: str | Path | None = None) -> None:
    """Refuse what would only fail after the network has run over every image.

    Raises:
        HeadError: an unknown head, normalisation, reduction or class weight, or C or the
            seed out of range.
        DataError: the number of samples is out of range.
        ModelFileError: no model file can or should be written at *out*.

    >>> check_settings(HeadSettings(c=0), RunSettings())
    Traceback (most recent call last):
    ...
    offshelf.errors.HeadError: C must be a positive finite number or 'auto', got 0: 1 is the default
    """
    get_fitter(head.head)
    checked_options(head.c, run.seed, head.class_weight)
    check_normalisation(head.normalisation)
    parse_reduction(head.reduction)
    if isinstance(run.samples, bool) or run.samples not in range(MAX_PICTURES + 1):
        raise DataError(f"samples is a whole number from 0 to {MAX_PICTURES}, not {run.samples!r}")
    if out is not None:
        check_target(Path(out))


def recipe_of(head: HeadSettings, seed: int) -> Recipe:
    """Return how a head is trained.

    >>> recipe_of(HeadSettings("ridge"), seed=7).seed
    7
    """
    return Recipe(
        kind=head.head,
        c=head.c,
        normalisation=cast(Normalisation, head.normalisation),
        reduction=head.reduction,
        class_weight=cast(ClassWeight | None, head.class_weight),
        seed=seed,
    )


def _trained(
    labelled: LabelledFeatures, recipe: Recipe, probability: ProbabilitySettings, job: JobContext
) -> TrainedHead:
    """Train the head, and fit probabilities on training images that are held out in turn.

    The features are not read where both are known from an earlier run.
    """
    train, place = labelled.train, kept_head(labelled, recipe, probability, job.run)
    with job.clock.stage("fit"):
        found = place.find()
        if found is None:
            given = (train.targets, labelled.table.classes)
            groups = labelled.fold_groups(train.rows)
            advance = job.progress.advance
            trainer = trainer_of(recipe, train.images, *given, groups, advance)
    with job.clock.stage("probabilities"):
        if found is None:
            job.progress.start("heads", None if probability.calibrate == "none" else FOLDS)
            rows = (train.matrix, *given)
            certainty = fit_certainty(trainer, *rows, probability, seed=recipe.seed)
            job.progress.finish()
            found = TrainedHead(trainer.head, certainty)
            place.keep(found)
    note_all(job.progress, found.certainty.notes)
    return found
