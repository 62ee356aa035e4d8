"""What a model file scores on labelled images, with the class lists compared by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offshelf.bundle import Model
from offshelf.data.table import ImageTable, read_table
from offshelf.errors import DataError, did_you_mean
from offshelf.evaluate.metrics import Evaluation, evaluate
from offshelf.features.extract import Row
from offshelf.jobs.fit import failure_to_json
from offshelf.jobs.settings import RunSettings
from offshelf.predict import Prediction, open_model, predict_paths
from offshelf.progress import Progress, Silent

SPLITS = ("test", "train", "all")


@dataclass(frozen=True, eq=False)
class EvaluateResult:
    """A model's figures on a set of images.

    Attributes:
        evaluation: the figures.
        predictions: one per image of the split, in order, failures included.
        labels: the true class of each prediction.
        failures: images without features, with the reason.
        model: the model.
        path: its file.
        split: ``test``, ``train`` or ``all``.
    """

    evaluation: Evaluation
    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]
    failures: tuple[Row, ...]
    model: Model
    path: Path
    split: str

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            **self.evaluation.to_json(),
            "n_test": self.evaluation.n,
            "n_failed": len(self.failures),
            "failures": [failure_to_json(row) for row in self.failures],
            "classes": list(self.model.classes),
            "split": self.split,
            "model": str(self.path),
            "predictions": [
                {"path": p.path, "true": label, "label": p.label, "scores": p.scores}
                for p, label in zip(self.predictions, self.labels, strict=True)
                if p.label is not None
            ],
        }


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

    Where the data has no split of its own, it is split as it was when the model was
    trained, from the seed and test size in the model file.

    Args:
        model_path: a ``.offshelf`` file.
        data: labelled images, as for ``fit``.
        split: ``test``, ``train`` or ``all``.
        weights: the weights file, when it is in none of the usual places.
        run: engine, limits, cache folder.
        progress: is told how far the work is.

    Raises:
        DataError: the data holds a class that the model does not know.
        ModelFileError: the model file is not what it should be.
    """
    run, progress = run or RunSettings(), progress or Silent()
    if split not in SPLITS:
        raise DataError(f"no split {split!r}: {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}")
    model, backbone = open_model(model_path, weights=weights, options=run.engine, progress=progress)
    table = read_table(
        data, test_size=float(model.data["test_size"]), seed=int(model.data["seed"])
    )
    for warning in table.warnings:
        progress.note(warning)
    chosen = np.arange(len(table)) if split == "all" else table.rows(split)
    if not len(chosen):
        raise DataError(f"{data}: has no {split} images; --split all takes every image")
    labels = _labels(table, model, data)
    predictions, extraction = predict_paths(
        model,
        backbone,
        [table.paths[row] for row in chosen],
        run.engine,
        workers=run.workers,
        limits=run.limits,
        progress=progress,
    )
    position = {name: index for index, name in enumerate(model.classes)}
    truth = [labels[row] for row in chosen]
    scored = [i for i, prediction in enumerate(predictions) if prediction.label is not None]
    evaluation = evaluate(
        np.array([position[truth[i]] for i in scored], np.int64),
        np.array([position[str(predictions[i].label)] for i in scored], np.int64),
        model.classes,
    )
    return EvaluateResult(
        evaluation,
        tuple(predictions),
        tuple(truth),
        extraction.failures,
        model,
        Path(model_path),
        split,
    )


def _labels(table: ImageTable, model: Model, data: str | Path) -> list[str]:
    """Return the model's name for each row's class; refuse a class it does not know."""
    known = {_plain(name): name for name in model.classes}
    strangers = [name for name in table.classes if _plain(name) not in known]
    if strangers:
        raise DataError(
            f"{data}: class {strangers[0]!r} is none of the model's {len(known)} classes"
            f" ({len(strangers)} unknown).{did_you_mean(strangers[0], model.classes)}"
        )
    return [known[_plain(label)] for label in table.labels]


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()
