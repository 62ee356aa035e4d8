"""Evaluation of a model file on labelled images; class lists are compared by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_names import TRAIN, same_class_key
from offshelf.data.tables.image_table import ImageTable, read_labelled
from offshelf.data.tables.sources import existing
from offshelf.errors import DataError, OffshelfError, did_you_mean
from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.features.extraction import Extraction
from offshelf.jobs.fit.evaluation import trust_of
from offshelf.jobs.predict import predictions_of
from offshelf.jobs.setup.settings import JobContext, RunSettings, describe_features, describe_run
from offshelf.measurement.decisions import Decisions, decisions
from offshelf.measurement.metrics import Evaluation, evaluate
from offshelf.measurement.probability_metrics import Trust
from offshelf.model_file.model import Model
from offshelf.model_file.specs import short_digest
from offshelf.opened_model import open_model
from offshelf.prediction import Prediction
from offshelf.progress import Progress, note_all
from offshelf.report import imbalance, summary
from offshelf.report.decision_blocks import decision_blocks, decision_facts
from offshelf.report.mistakes import Mistake, mistake_blocks, mistakes_among
from offshelf.report.pictures.charts import reliability_chart
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Charted, Facts
from offshelf.report.tables.result_rows import Table, per_class_table
from offshelf.text import (
    counted,
    listed,
    shown,
    spelled,
)

SPLITS = ("test", "train", "all")
_LEDGER = ("status", "reason")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EvaluateResult(OfFeatures, Charted):
    """A model's figures on a set of images.

    Attributes:
        evaluation: the figures.
        trust: how far probabilities and rejections hold on these images.
        predictions: one per image of the split, in order, failures included.
        labels: the true class of each prediction.
        model: the model.
        path: its file.
        extraction: the ledger of the images, with the store of their features.
        split: ``test``, ``train`` or ``all``.
        warnings: notes on the images, one line each.
        seconds: by stage: ``open`` (load, find weights, self-test), ``predict``, ``total``.
        decisions: what the model's rule changes on these images; None without one.
    """

    evaluation: Evaluation
    trust: Trust
    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]
    model: Model
    path: Path
    extraction: SetExtraction
    split: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    decisions: Decisions | None = None

    @property
    def engine(self) -> str:
        """The engine and device that ran, for example ``openvino on cpu``."""
        return self.extraction.engine

    @property
    def failures(self) -> tuple[Prediction, ...]:
        """The images without a label, with the reason."""
        return tuple(row for row in self.predictions if row.label is None)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The images that are predicted as another class than their own, the surest first."""
        return mistakes_among(self.predictions, self.labels)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            **self.evaluation.to_json(),
            **self.trust.to_json(),
            "decision": self.decisions.to_json() if self.decisions else None,
            "n_test": self.evaluation.n,
            "n_failed": len(self.failures),
            "failures": [
                {"path": spelled(row.path), "status": row.status, "reason": row.reason}
                for row in self.failures
            ],
            "classes": list(self.model.classes),
            "split": self.split,
            **describe_features(self.features),
            **describe_run(self.extraction),
            "model": str(self.path),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "picture": None,
            "predictions": [
                {key: value for key, value in p.to_json().items() if key not in _LEDGER}
                | {"true": label}
                for p, label in zip(self.predictions, self.labels, strict=True)
                if p.label is not None
            ],
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the figures of all classes together, and what they are of."""
        yield from imbalance.accuracy_facts(self.evaluation, self.model)
        yield from decision_facts(self.decisions)
        yield from summary.probability_facts(self.trust)
        n, left = self.evaluation.n, len(self.failures)
        yield "images", f"{n:,} ({self.split}), {left:,} left out{self.extraction.origin}"
        network = f"{self.features.title}{self.features.changed}"
        yield "model", f"{self.path}: {network}"
        yield "time", f"{summary.seconds_line(self.seconds)}, {self.extraction.ran}"

    def blocks(self) -> Iterator[Block]:
        """Yield classes, confusions, mistakes, the figures of all and what was left out."""
        yield from summary.classes_blocks(self.evaluation)
        yield ""
        yield from mistake_blocks(self.mistakes, self.evaluation.n)
        yield from decision_blocks(self.decisions)
        yield Facts(tuple(self.facts()))
        failures = self.to_json()["failures"]
        yield from summary.reservations(failures, self.features.trained)

    def data_table(self) -> Table:
        """Return a row for each class."""
        return per_class_table(self.evaluation)

    def plot(self) -> Picture:
        """Return how well the probabilities hold, as a reliability diagram.

        Raises:
            OffshelfError: the model has no probabilities.
        """
        measured = self.trust.reliability
        if measured is None:
            raise OffshelfError(
                f"{shown(self.path)}: has no probabilities to draw; fit it again with "
                "--calibrate temperature"
            )
        title = f"{shown(self.path.name)}: {self.model.certainty.kind} scaling"
        return Picture(title, lambda form: reliability_chart(measured, title, form=form))


def evaluate_model(
    model_path: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    weights: str | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Score a model file on labelled images.

    Args:
        model_path: a ``.offshelf`` file.
        data: labelled images, as for ``fit``.
        split: ``train``, ``all`` or ``test``; of data without a split, ``test`` takes every
            image that the model was not trained on, by content.
        weights: the weights file, when it is in none of the usual places.
        run: engine, limits, cache folder.
        progress: receives notes and how far the work is.

    Raises:
        DataError: the data holds a class that the model does not know.
        ModelFileError: the model file is not what it should be.
    """
    check_split(data, split)
    job = JobContext.of(run, progress)
    with job.clock.stage("open"):
        model, features = open_model(
            model_path, weights=weights, options=job.run.engine, progress=job.progress
        )
    table, paths, labels = _images(data, split, model, job)
    with job.clock.stage("predict"):
        found, extraction = predictions_of(model, features, paths, job.run, job.progress)
    chosen, notes = counted_rows(table, extraction, model, split, data)
    note_all(job.progress, notes)
    found, labels = [found[i] for i in chosen], tuple(labels[i] for i in chosen)
    figures, measured, compared = _figures(found, labels, model, data)
    return EvaluateResult(
        evaluation=figures,
        trust=measured,
        predictions=tuple(found),
        labels=labels,
        model=model,
        path=Path(model_path),
        extraction=extraction,
        split=split,
        warnings=(*table.warnings, *notes),
        seconds=job.clock.total(),
        decisions=compared,
    )


def check_split(data: str | Path, split: str) -> None:
    """Refuse what a glance shows, before the model is opened."""
    if split not in SPLITS:
        raise DataError(f"no split {split!r}: {', '.join(SPLITS)}.{did_you_mean(split, SPLITS)}")
    existing(data)


def _images(
    data: str | Path, split: str, model: Model, job: JobContext
) -> tuple[ImageTable, list[str], tuple[str, ...]]:
    """Return all images, the paths of those of *split*, and the model's names of their labels."""
    table = read_labelled(data, classes=job.run.classes, known=model.classes)
    note_all(job.progress, table.warnings)
    rows = list(range(len(table))) if split == "all" else table.rows(split).tolist()
    if not rows:
        raise DataError(f"{shown(data)}: has no {split} images; --split all takes every image")
    labels = model_labels([table.labels[row] for row in rows], model, data)
    return table, [table.paths[row] for row in rows], labels


def _seen(extraction: Extraction, model: Model) -> NDArray[np.bool_]:
    digests = [short_digest(row.digest) if row.digest else 0 for row in extraction.rows]
    return np.isin(np.array(digests, np.uint64), model.seen)


def counted_rows(
    table: ImageTable, extraction: Extraction, model: Model, split: str, data: str | Path
) -> tuple[list[int], tuple[str, ...]]:
    """Return which of the rows count, and what to say of those that were trained on."""
    every, seen = list(range(len(extraction.rows))), _seen(extraction, model)
    count = counted(int(seen.sum()), "image")
    if split == "train" or not seen.any():
        return every, ()
    if split == "all":
        return every, (f"{count} that the model was trained on counted too (accuracy too high)",)
    if TRAIN in table.splits:
        return every, (f"{count} of the test split are also among the model's training images",)
    if seen.all():
        raise DataError(
            f"{shown(data)}: the model was trained on every image; --split all takes them"
        )
    note = f"{count} that the model was trained on left out; --split all takes them, too"
    return np.flatnonzero(~seen).tolist(), (note,)


def _figures(
    predictions: Sequence[Prediction],
    truth: Sequence[str],
    model: Model,
    data: str | Path,
) -> tuple[Evaluation, Trust, Decisions | None]:
    position = {name: index for index, name in enumerate(model.classes)}
    pairs = [
        (position[label], position[row.label], row)
        for row, label in zip(predictions, truth, strict=True)
        if row.label is not None
    ]
    if not pairs:
        first = predictions[0]
        raise DataError(
            f"{shown(data)}: none of the {counted(len(predictions), 'image')} can be used; the "
            f"first: {shown(first.path)}: {first.status}, {first.reason}"
        )
    targets, labels, rows = zip(*pairs, strict=True)
    truth_of, said = np.array(targets, np.int64), np.array(labels, np.int64)
    trust = trust_of(rows, model.certainty, model.classes, said, truth_of)
    compared = None
    if model.rule is not None:
        likeliest = np.array([position[row.most_probable or row.label] for row in rows], np.int64)
        compared = decisions(model.rule, truth_of, likeliest, said, model.classes)
    return evaluate(truth_of, said, model.classes), trust, compared


def model_labels(
    labels: Sequence[str], model: Model, data: str | Path, noun: str = "class"
) -> tuple[str, ...]:
    """Return the model's name for each label: the same, or but for case and spaces.

    Raises:
        DataError: a label is none of the model's classes, or like several of them.
    """
    alike: dict[str, list[str]] = {}
    for name in model.classes:
        alike.setdefault(same_class_key(name), []).append(name)
    found = {name: [name] for name in model.classes}
    for label in set(labels) - set(found):
        found[label] = alike.get(same_class_key(label), [])
    strangers = sorted(label for label in set(labels) if len(found[label]) != 1)
    if strangers:
        hint = did_you_mean(strangers[0], model.classes)
        several = "classes" if noun == "class" else f"{noun}s"
        raise DataError(
            f"{shown(data)}: {counted(len(strangers), noun, several)} that the model does not"
            f" know: {listed(strangers)}; its {several} are {listed(model.classes)}.{hint}"
        )
    return tuple(found[label][0] for label in labels)


def write_reliability(result: EvaluateResult, path: str | Path) -> Path:
    """Write how well the probabilities of an evaluation hold, and return the picture's path.

    Args:
        result: what :func:`offshelf.jobs.evaluate.evaluate_model` returned.
        path: a ``.png`` or ``.svg`` file.

    Raises:
        OffshelfError: the model has no probabilities, or the file cannot be written.
    """
    return result.plot().save(path)
