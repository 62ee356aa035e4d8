"""From a folder of labelled images to an evaluated classifier and its model file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.preprocess import prepare
from offshelf.bundle import Model, Sample, record, save_model
from offshelf.data.decode import Limits, decode, read_bytes
from offshelf.data.table import ImageTable, read_table
from offshelf.errors import DataError, ImageError
from offshelf.evaluate.metrics import Evaluation, evaluate
from offshelf.features.extract import Extraction, Row, extract
from offshelf.features.kind import FeatureKind, feature_kinds
from offshelf.heads.fit import decision, fit_head
from offshelf.heads.head import FittedHead, Normalisation
from offshelf.jobs.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.jobs.versions import library_versions
from offshelf.progress import Progress, Silent

MAX_SAMPLES = 16


@dataclass(frozen=True, eq=False)
class FitResult:
    """A trained and evaluated classifier.

    Attributes:
        evaluation: figures on the test split.
        model: the classifier, also when no file was asked for.
        path: the model file, or None.
        backbone: network and weights in use.
        kind: layer and pooling.
        n_train: images that trained the head.
        n_test: images that were scored.
        failures: images left out, with the reason.
        warnings: what a person should know about the data.
        seconds: by stage: ``read``, ``start``, ``extract``, ``fit``, ``evaluate``,
            ``save``, ``total``.
        engine: what ran the network.
        computed: images that went through the network; the others came from the store.
    """

    evaluation: Evaluation
    model: Model
    path: Path | None
    backbone: Backbone
    kind: FeatureKind
    n_train: int
    n_test: int
    failures: tuple[Row, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    engine: str
    computed: int

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        head = self.model.head
        evaluation = self.evaluation.to_json()
        return {
            **evaluation,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "n_failed": len(self.failures),
            "failures": [failure_to_json(row) for row in self.failures],
            "classes": list(head.classes),
            "backbone": self.backbone.spec.name,
            "weights": self.backbone.file.spec.tag,
            "weights_sha256": self.backbone.file.sha256,
            "trained_weights": self.backbone.trained,
            "layer": self.kind.layer,
            "pooling": self.kind.pooling,
            "resize": self.backbone.input.resize,
            "dimension": head.dimension,
            "head": head.kind,
            "C": head.parameters.get("C"),
            "normalisation": head.normalisation,
            "engine": self.engine,
            "computed": self.computed,
            "seconds": self.seconds,
            "warnings": list(self.warnings),
            "model": str(self.path) if self.path else None,
        }


def failure_to_json(row: Row) -> dict[str, str]:
    """Return a ledger row that is not ``ok`` as JSON values."""
    return {"path": row.path, "status": row.status, "reason": row.reason}


def fit(
    data: str | Path,
    out: str | Path | None = None,
    *,
    features: FeatureSettings | None = None,
    head: HeadSettings | None = None,
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
        run: engine, seed, split, limits.
        progress: is told how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.

    >>> from offshelf import fit
    >>> from offshelf.data.demo import write_demo
    >>> import tempfile; from pathlib import Path
    >>> data = write_demo(Path(tempfile.mkdtemp()))
    >>> fit(data).evaluation.accuracy > 0.9  # doctest: +SKIP
    True
    """
    features, head = features or FeatureSettings(), head or HeadSettings()
    run, progress = run or RunSettings(), progress or Silent()
    clock = _Clock()
    with clock.stage("read"):
        table = read_table(data, test_size=run.test_size, seed=run.seed)
        for warning in table.warnings:
            progress.note(warning)
        backbone, kind = _features(features, run, progress)
    extraction = extract(
        table.paths,
        backbone,
        [kind],
        run.engine,
        workers=run.workers,
        limits=run.limits,
        progress=progress,
    )
    clock.seconds |= extraction.seconds
    train, test = usable_rows(table, extraction, "train"), usable_rows(table, extraction, "test")
    with clock.stage("fit"):
        fitted = _fit_head(table, extraction, kind, train, head, run.seed)
    with clock.stage("evaluate"):
        scores = decision(fitted, extraction.matrix(kind, test))
        evaluation = evaluate(table.targets()[test], scores.argmax(axis=1), table.classes)
    with clock.stage("save"):
        chosen = _samples(table, extraction, test, scores, backbone, run)
        model = Model(
            record(backbone),
            kind,
            fitted,
            _figures(evaluation),
            _fingerprint(table, extraction, run),
            library_versions(),
            chosen,
        )
        path = save_model(model, out) if out is not None else None
    return FitResult(
        evaluation,
        model,
        path,
        backbone,
        kind,
        len(train),
        len(test),
        extraction.failures,
        (*table.warnings, *fitted.notes),
        clock.total(),
        extraction.engine,
        extraction.computed,
    )


def usable_rows(table: ImageTable, extraction: Extraction, split: str) -> NDArray[np.int64]:
    """Return the rows of *split* that have features.

    Raises:
        DataError: there is none.
    """
    rows = np.intersect1d(table.rows(split), extraction.ok)
    if len(rows):
        return rows
    total = len(table.rows(split))
    if not total:
        raise DataError(f"the data has no {split} images")
    first = next(row for row in extraction.failures)
    raise DataError(
        f"none of the {total} {split} images can be used; "
        f"the first: {first.path}: {first.status}, {first.reason}"
    )


def _features(
    settings: FeatureSettings, run: RunSettings, progress: Progress
) -> tuple[Backbone, FeatureKind]:
    backbone = open_backbone(
        settings.backbone,
        weights=settings.weights,
        resize=settings.resize,
        cache_dir=run.engine.cache_dir,
        download=settings.download,
        progress=progress,
    )
    if not backbone.trained:
        progress.note(f"{settings.backbone}: random weights; every result is of an UNTRAINED network")
    return backbone, feature_kinds(backbone, [settings.layer], [settings.pooling])[0]


def _fit_head(
    table: ImageTable,
    extraction: Extraction,
    kind: FeatureKind,
    train: NDArray[np.int64],
    head: HeadSettings,
    seed: int,
) -> FittedHead:
    return fit_head(
        head.head,
        extraction.matrix(kind, train),
        table.targets()[train],
        table.classes,
        c=head.c,
        normalisation=cast(Normalisation, head.normalisation),
        seed=seed,
    )


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    document = evaluation.to_json()
    return {key: document[key] for key in document if key != "confusion"}


def _fingerprint(table: ImageTable, extraction: Extraction, run: RunSettings) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row, label, split in zip(extraction.rows, table.labels, table.splits, strict=True):
        digest.update(row.digest + f"\0{label}\0{split}\0".encode())
    return {
        "images_sha256": digest.hexdigest(),
        "n_images": len(table),
        "n_failed": len(extraction.failures),
        "seed": run.seed,
        "test_size": run.test_size,
    }


def _samples(
    table: ImageTable,
    extraction: Extraction,
    test: NDArray[np.int64],
    scores: NDArray[np.float32],
    backbone: Backbone,
    run: RunSettings,
) -> tuple[Sample, ...]:
    """Take test images spread evenly over the test split."""
    count = min(run.samples, MAX_SAMPLES, len(test))
    chosen = np.unique(np.linspace(0, len(test) - 1, count).astype(np.int64)) if count else []
    samples = []
    for position in chosen:
        row = int(test[position])
        pixels = _pixels(extraction.rows[row].path, backbone, run.limits)
        if pixels is not None:
            samples.append(Sample(pixels, scores[position], table.labels[row]))
    return tuple(samples)


def _pixels(path: str, backbone: Backbone, limits: Limits) -> NDArray[np.uint8] | None:
    try:
        return prepare(decode(read_bytes(path, limits), limits), backbone.input).pixels
    except ImageError:
        # The file changed after it was read; the model is whole without this sample.
        return None


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began

    def total(self) -> dict[str, float]:
        return {**self.seconds, "total": time.perf_counter() - self._began}
