"""Training and evaluation of a classifier on labelled images, and its model file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.data.tables.image_table import ImageTable
from offshelf.evaluate.metrics import Evaluation
from offshelf.evaluate.probabilities.probability_metrics import Trust
from offshelf.features.extraction import Extraction
from offshelf.heads.fitting.fit_head import Recipe
from offshelf.heads.fitting.trainer import Trainer
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.fit_probabilities import ProbabilitySettings, check_probability
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.jobs.fit.evaluation import Leaks, Scored, score
from offshelf.jobs.fit.model_assembly import make_model
from offshelf.jobs.fit.training import calibrated, check_settings, recipe_of
from offshelf.jobs.setup.labelled_features import (
    LabelledFeatures,
    contradictions,
    labelled_features,
)
from offshelf.jobs.setup.opening import describe, note_all
from offshelf.jobs.setup.run_costs import Clock
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.model_file.model import Model, save_model
from offshelf.progress import Progress, Silent


@dataclass(frozen=True, kw_only=True, eq=False)
class FitResult:
    """A trained and evaluated classifier.

    Attributes:
        model: the classifier, also when no file was asked for.
        evaluation: figures on the test split.
        path: the model file, or None.
        backbone: network and weights in use.
        extraction: the ledger of the images, with the store of their features.
        table: the images.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``fit``,
            ``probabilities``, ``evaluate``, ``save``, ``total``.
        leaks: test images that also stand in the training split, and figures without them.
        trust: how far probabilities and rejections hold on the test split.
    """

    model: Model
    evaluation: Evaluation
    path: Path | None
    backbone: Backbone
    extraction: Extraction
    table: ImageTable
    seconds: dict[str, float]
    leaks: Leaks
    trust: Trust

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the data and the training."""
        model = self.model
        torn = contradictions(self.table, self.extraction)
        return (*self.table.warnings, *torn, *model.head.notes, *model.certainty.notes)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        head, kind, failures = self.model.head, self.model.kind, self.extraction.failures
        return {
            **self.evaluation.to_json(),
            **self.leaks.to_json(),
            **self.trust.to_json(),
            "certainty": self.model.certainty.to_json(),
            "n_train": len(self.extraction.ok) - self.evaluation.n,
            "n_test": self.evaluation.n,
            "n_failed": len(failures),
            "failures": [row.to_json() for row in failures],
            "classes": list(head.classes),
            **describe(self.backbone),
            "layer": kind.layer,
            "pooling": kind.pooling,
            "dimension": head.dimension,
            "head": head.kind,
            "C": head.parameters.get("C"),
            "normalisation": head.normalisation,
            "engine": self.extraction.engine,
            "precision": self.extraction.precision,
            "computed": self.extraction.computed,
            "seconds": self.seconds,
            "warnings": list(self.warnings),
            "model": str(self.path) if self.path else None,
        }


def fit(
    data: str | Path,
    out: str | Path | None = None,
    *,
    features: FeatureSettings | None = None,
    head: HeadSettings | None = None,
    probability: ProbabilitySettings | None = None,
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
        run: engine, seed, split, limits.
        progress: is told how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.

    >>> fit("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: no/such/folder: no such file or folder.
    """
    head, run = head or HeadSettings(), run or RunSettings()
    probability = probability or ProbabilitySettings()
    check_settings(head, run, out)
    check_probability(probability)
    progress, clock = progress or Silent(), Clock()
    labelled = labelled_features(data, features or FeatureSettings(), run, progress, clock)
    note_all(progress, labelled.contradictions)
    fitted, certainty = _trained(labelled, recipe_of(head, run.seed), probability, progress, clock)
    # The features of the training images are no longer needed in memory.
    labelled = dataclasses.replace(labelled)
    with clock.stage("evaluate"):
        scored = score(labelled, fitted, certainty)
    with clock.stage("save"):
        model = make_model(labelled, fitted, certainty, scored, run)
        path = save_model(model, out) if out is not None else None
    return _result(labelled, model, path, scored, clock.total())


def _trained(
    labelled: LabelledFeatures,
    recipe: Recipe,
    probability: ProbabilitySettings,
    progress: Progress,
    clock: Clock,
) -> tuple[FittedHead, Certainty]:
    with clock.stage("fit"):
        train = labelled.train
        trainer = Trainer(recipe, train.matrix, train.targets, labelled.table.classes)
    with clock.stage("probabilities"):
        return trainer.head, calibrated(trainer, probability, recipe.seed, progress)


def _result(
    labelled: LabelledFeatures,
    model: Model,
    path: Path | None,
    scored: Scored,
    seconds: dict[str, float],
) -> FitResult:
    return FitResult(
        model=model,
        evaluation=scored.evaluation,
        path=path,
        backbone=labelled.backbone,
        extraction=labelled.extraction,
        table=labelled.table,
        seconds=seconds,
        leaks=scored.leaks,
        trust=scored.trust,
    )
