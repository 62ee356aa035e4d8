"""Evaluation of a model of several labels on labelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.label_table import read_label_sets
from offshelf.errors import DataError
from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.jobs.evaluate import check_split, counted_rows, model_labels
from offshelf.jobs.multilabel.label_fit import figures_of
from offshelf.jobs.predict import predictions_of
from offshelf.jobs.setup.settings import JobContext, RunSettings, describe_features, describe_run
from offshelf.measurement.label_metrics import LabelsEvaluation
from offshelf.model_file.model import Model
from offshelf.opened_model import open_model
from offshelf.prediction import Prediction
from offshelf.progress import Progress, note_all
from offshelf.report import summary
from offshelf.report.label_summary import label_blocks, label_figure_facts, label_legend
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.label_rows import label_figures_table
from offshelf.report.tables.result_rows import Table
from offshelf.text import counted, shown, spelled

_LEDGER = ("label", "status", "reason")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelEvaluateResult(OfFeatures, Result):
    """The figures of a model of several labels on a set of images.

    Attributes:
        evaluation: the figures.
        predictions: one per image of the split, in order, failures included.
        truth: the labels that each of them has.
        model: the model.
        path: its file.
        extraction: the ledger of the images, with the store of their features.
        split: ``test``, ``train`` or ``all``.
        warnings: notes on the images, one line each.
        seconds: by stage: ``open`` (load, find weights, self-test), ``predict``, ``total``.
    """

    evaluation: LabelsEvaluation
    predictions: tuple[Prediction, ...]
    truth: tuple[tuple[str, ...], ...]
    model: Model
    path: Path
    extraction: SetExtraction
    split: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def failures(self) -> tuple[Prediction, ...]:
        """The images that could not be used, with the reason."""
        return tuple(row for row in self.predictions if row.labels is None)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            **self.evaluation.to_json(),
            "n_test": self.evaluation.n,
            "n_failed": len(self.failures),
            "failures": [
                {"path": spelled(row.path), "status": row.status, "reason": row.reason}
                for row in self.failures
            ],
            "labels": list(self.model.classes),
            "split": self.split,
            **describe_features(self.features),
            **describe_run(self.extraction),
            "model": str(self.path),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "predictions": [
                {key: value for key, value in row.to_json().items() if key not in _LEDGER}
                | {"true": list(labels)}
                for row, labels in zip(self.predictions, self.truth, strict=True)
                if row.labels is not None
            ],
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the figures of all labels together, and what they are of."""
        yield from label_figure_facts(self.evaluation)
        n, left = self.evaluation.n, len(self.failures)
        yield "images", f"{n:,} ({self.split}), {left:,} left out{self.extraction.origin}"
        yield "model", f"{self.path}: {self.features.title}{self.features.changed}"
        yield "time", f"{summary.seconds_line(self.seconds)}, {self.extraction.ran}"

    def blocks(self) -> Iterator[Block]:
        """Yield labels, the figures of all, and what was left out."""
        yield from label_blocks(self.evaluation)
        yield from label_legend()
        yield ""
        yield Facts(tuple(self.facts()))
        failures = self.to_json()["failures"]
        yield from summary.reservations(failures, self.features.trained)

    def data_table(self) -> Table:
        """Return a row for each label."""
        return label_figures_table(self.evaluation)


def evaluate_label_model(
    model_path: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    weights: str | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> LabelEvaluateResult:
    """Score a model of several labels; arguments as for :func:`.evaluate_model`.

    Raises:
        DataError: the data has no several labels, or one that the model does not know.
        ModelFileError: the model file is not what it should be.
    """
    check_split(data, split)
    job = JobContext.of(run, progress)
    with job.clock.stage("open"):
        model, features = open_model(
            model_path,
            weights=weights,
            options=job.run.engine,
            progress=job.progress,
            several=True,
        )
    table, rows, truth = _images(data, split, model, job.progress)
    paths = [table.paths[row] for row in rows]
    with job.clock.stage("predict"):
        found, extraction = predictions_of(model, features, paths, job.run, job.progress)
    chosen, notes = counted_rows(table, extraction, model, split, data)
    note_all(job.progress, notes)
    found, truth = [found[i] for i in chosen], tuple(truth[i] for i in chosen)
    return LabelEvaluateResult(
        evaluation=_figures(found, truth, model, data),
        predictions=tuple(found),
        truth=truth,
        model=model,
        path=Path(model_path),
        extraction=extraction,
        split=split,
        warnings=(*table.warnings, *notes),
        seconds=job.clock.total(),
    )


def _images(
    data: str | Path, split: str, model: Model, progress: Progress
) -> tuple[ImageTable, list[int], tuple[tuple[str, ...], ...]]:
    """Return all images, the rows of *split*, and the model's names of the labels of these."""
    table = read_label_sets(data, known=model.classes)
    note_all(progress, table.warnings)
    rows = list(range(len(table))) if split == "all" else table.rows(split).tolist()
    if not rows:
        raise DataError(f"{shown(data)}: has no {split} images; --split all takes every image")
    every = sorted({label for row in rows for label in table.label_sets[row]})
    names = dict(zip(every, model_labels(every, model, data, "label"), strict=True))
    sets = [tuple(sorted({names[one] for one in table.label_sets[row]})) for row in rows]
    return table, rows, tuple(sets)


def _figures(
    predictions: Sequence[Prediction],
    truth: Sequence[tuple[str, ...]],
    model: Model,
    data: str | Path,
) -> LabelsEvaluation:
    used = [
        (row, labels)
        for row, labels in zip(predictions, truth, strict=True)
        if row.labels is not None
    ]
    if not used:
        first = predictions[0]
        raise DataError(
            f"{shown(data)}: none of the {counted(len(predictions), 'image')} can be used; the "
            f"first: {shown(first.path)}: {first.status}, {first.reason}"
        )
    if not any(labels for _, labels in used):
        raise DataError(
            f"{shown(data)}: none of its images has a label, so nothing can be measured; "
            f"'offshelf predict {shown(data)}' labels them"
        )
    has = np.array([[name in labels for name in model.classes] for _, labels in used], bool)
    scores: NDArray[np.float32] = np.array(
        [[row.scores[name] for name in model.classes] for row, _ in used], np.float32
    )
    return figures_of(model.head, has, scores)
