"""From a folder of labelled images to an evaluated classifier and its model file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.data.tables.image_table import ImageTable
from offshelf.evaluate.metrics import Evaluation, evaluate
from offshelf.evaluate.probabilities.probability_metrics import Trust
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.fit_head import decision
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.fit_probabilities import ProbabilitySettings, check_probability
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.jobs.fit.certainty import calibrated, trusted
from offshelf.jobs.fit.test_leaks import Leaks, contradictions, find_leaks
from offshelf.jobs.setup.precision import settled
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.jobs.setup.stage_times import Clock
from offshelf.jobs.setup.time_left import Announcing
from offshelf.jobs.setup.training import (
    Scored,
    check_settings,
    describe,
    images_and_network,
    make_model,
    note_all,
    train_head,
    usable_rows,
)
from offshelf.model_file.model import Model, save_model
from offshelf.progress import Progress, Silent


@dataclass(frozen=True, eq=False)
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
    features, progress = features or FeatureSettings(), progress or Silent()
    return _fit(data, out, features, head, probability, run, progress)


def _fit(
    data: str | Path,
    out: str | Path | None,
    features: FeatureSettings,
    head: HeadSettings,
    probability: ProbabilitySettings,
    run: RunSettings,
    progress: Progress,
) -> FitResult:
    clock = Clock()
    with clock.stage("read"):
        table, backbone, kind = images_and_network(data, features, run, progress)
    with clock.stage("calibrate"):
        run = dataclasses.replace(run, engine=settled(table, backbone, [kind], run, progress))
    announcing = Announcing(progress, backbone, [kind], run.engine)
    extraction = extract(table.paths, backbone, [kind], run.engine, run.reading, announcing)
    clock.add(extraction.seconds)
    note_all(progress, contradictions(table, extraction))
    with clock.stage("fit"):
        trainer = train_head(table, extraction, kind, head, run.seed)
        fitted = trainer.head
    with clock.stage("probabilities"):
        sure = calibrated(trainer, probability, run.seed, progress)
    # With it go the features of the training images, and their inner products.
    del trainer
    with clock.stage("evaluate"):
        scored = _score(table, extraction, kind, fitted, sure)
        leaks = find_leaks(table, extraction, scored)
    with clock.stage("save"):
        model = make_model(table, extraction, backbone, kind, fitted, scored, run, sure)
        path = save_model(model, out) if out is not None else None
    found = (model, scored.evaluation, path, backbone, extraction, table, clock.total(), leaks)
    return FitResult(*found, trust=scored.trust)


def _score(
    table: ImageTable,
    extraction: Extraction,
    kind: FeatureKind,
    head: FittedHead,
    certainty: Certainty,
) -> Scored:
    rows = usable_rows(table, extraction, "test")
    features, targets = extraction.matrix(kind, rows), table.targets()[rows]
    scores = decision(head, features)
    figures = evaluate(targets, scores.argmax(axis=1), table.classes)
    return Scored(rows, scores, figures, trusted(certainty, scores, features, targets))
