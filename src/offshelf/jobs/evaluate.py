"""What a model file scores on labelled images, with the class lists compared by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.bundle import Model, short_digest
from offshelf.data.names import same_class_key
from offshelf.data.table import ImageTable, read_labelled
from offshelf.errors import DataError, did_you_mean
from offshelf.evaluate.metrics import Evaluation, evaluate
from offshelf.features.extract import Extraction, Row
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
            "failures": [row.to_json() for row in self.failures],
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

    With ``test``, data that has a split of its own gives its test images; other data
    gives every image that the model was not trained on, told by content.

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
    table = read_labelled(data)
    for warning in table.warnings:
        progress.note(warning)
    model, backbone = open_model(model_path, weights=weights, options=run.engine, progress=progress)
    labels = _labels(table, model, data)
    rows = _rows(table, split, data)
    paths = [table.paths[row] for row in rows]
    found, extraction = predict_paths(model, backbone, paths, run.engine, run.reading, progress)
    seen = _seen(extraction, model)
    keep = np.ones(len(rows), bool)
    if split == "test" and seen.any():
        keep = _keep(table, seen, data, progress)
    chosen = np.flatnonzero(keep).tolist()
    predictions = tuple(found[i] for i in chosen)
    truth = tuple(labels[rows[i]] for i in chosen)
    return EvaluateResult(
        _figures(predictions, truth, model),
        predictions,
        truth,
        tuple(extraction.rows[i] for i in chosen if extraction.rows[i].status != "ok"),
        model,
        Path(model_path),
        split,
    )


def _rows(table: ImageTable, split: str, data: str | Path) -> list[int]:
    rows: list[int] = list(range(len(table)))
    if split != "all":
        rows = table.rows(split).tolist()
    if not rows:
        raise DataError(f"{data}: has no {split} images; --split all takes every image")
    return rows


def _seen(extraction: Extraction, model: Model) -> NDArray[np.bool_]:
    digests = [short_digest(row.digest) if row.digest else 0 for row in extraction.rows]
    return np.isin(np.array(digests, np.uint64), model.seen)


def _keep(
    table: ImageTable, seen: NDArray[np.bool_], data: str | Path, progress: Progress
) -> NDArray[np.bool_]:
    count = int(seen.sum())
    if "train" in table.splits:
        progress.note(f"{count} of the test images are also among the model's training images")
        return np.ones(len(seen), bool)
    if seen.all():
        raise DataError(f"{data}: the model was trained on every image; --split all takes them")
    progress.note(
        f"{count} images that the model was trained on are left out; --split all keeps them"
    )
    return ~seen


def _figures(
    predictions: tuple[Prediction, ...], truth: tuple[str, ...], model: Model
) -> Evaluation:
    position = {name: index for index, name in enumerate(model.classes)}
    pairs = [
        (position[label], position[row.label])
        for row, label in zip(predictions, truth, strict=True)
        if row.label is not None
    ]
    targets, labels = np.array(pairs, np.int64).reshape(-1, 2).T
    return evaluate(targets, labels, model.classes)


def _labels(table: ImageTable, model: Model, data: str | Path) -> list[str]:
    """Return the model's name for each row's class; refuse a class it does not know."""
    known = {same_class_key(name): name for name in model.classes}
    strangers = [name for name in table.classes if same_class_key(name) not in known]
    if strangers:
        raise DataError(
            f"{data}: class {strangers[0]!r} is none of the model's {len(known)} classes"
            f" ({len(strangers)} unknown).{did_you_mean(strangers[0], model.classes)}"
        )
    return [known[same_class_key(label)] for label in table.labels]
