"""From labelled images to a fitted head and a model: the steps that jobs share."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.data.decoding.decode import Limits
from offshelf.data.tables.image_table import ImageTable, read_table
from offshelf.engine.contract import EngineOptions
from offshelf.engine.numeric_environment import made_on
from offshelf.errors import DataError, ImageError
from offshelf.evaluate.metrics import Evaluation
from offshelf.evaluate.probabilities.probability_metrics import Trust
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.features.network_input import network_input
from offshelf.heads.check import check_normalisation, checked_options
from offshelf.heads.fit_head import fit_head
from offshelf.heads.head import ClassWeight, FittedHead, Normalisation
from offshelf.heads.preparation.reduction import parse_reduction
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.heads.registry import get_fitter
from offshelf.heads.trainer import Recipe, Trainer
from offshelf.jobs.setup.settings import FeatureSettings, HeadSettings, RunSettings
from offshelf.model_file.model import BackboneRecord, Model, Sample, record, short_digest
from offshelf.model_file.zip_file import MAX_PICTURES, check_target
from offshelf.prediction import note_untrained
from offshelf.progress import Progress
from offshelf.text import spelled
from offshelf.version import library_versions


@dataclass(frozen=True, eq=False)
class Scored:
    """The test images and what a head said of them.

    Attributes:
        rows: rows of the image table.
        scores: float32, one line per row, one column per class.
        evaluation: the figures.
        trust: what they say of probabilities and of the threshold for unknown images.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    evaluation: Evaluation
    trust: Trust


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


def backbone_for(settings: FeatureSettings, run: RunSettings, progress: Progress) -> Backbone:
    """Open the backbone that the settings name; say so when its weights are random."""
    backbone = open_backbone(
        settings.backbone,
        weights=settings.weights,
        resize=settings.resize,
        grey=settings.grey,
        decode=settings.decode,
        cache_dir=run.engine.cache_dir,
        download=settings.download,
        progress=progress,
    )
    note_untrained(backbone, progress)
    return backbone


def images_and_network(
    data: str | Path, features: FeatureSettings, run: RunSettings, progress: Progress
) -> tuple[ImageTable, Backbone, FeatureKind]:
    """Read labelled images and open the network; say what a person should know of both."""
    table = read_table(data, test_size=run.test_size, seed=run.seed, classes=run.classes)
    note_all(progress, table.warnings)
    backbone = backbone_for(features, run, progress)
    return table, backbone, feature_kinds(backbone, [features.layer], [features.pooling])[0]


def note_all(progress: Progress, lines: Iterable[str]) -> None:
    """Say every line."""
    for line in lines:
        progress.note(line)


def describe(backbone: Backbone) -> dict[str, Any]:
    """Return what a result says of the network it came from, as JSON values."""
    return {
        "backbone": backbone.spec.name,
        "weights": backbone.file.spec.tag,
        "weights_sha256": backbone.file.sha256,
        "trained_weights": backbone.trained,
        "resize": backbone.input.resize,
        "grey": backbone.input.channels,
        "decode": backbone.input.decode,
    }


def usable_rows(table: ImageTable, extraction: Extraction, split: str) -> NDArray[np.int64]:
    """Return the rows of *split* that have features.

    Raises:
        DataError: there is none.
    """
    wanted = table.rows(split)
    rows = np.intersect1d(wanted, extraction.ok)
    if len(rows):
        return rows
    if not len(wanted):
        raise DataError(f"the data has no {split} images")
    first = extraction.rows[int(wanted[0])]
    raise DataError(
        f"none of the {len(wanted)} {split} images can be used; "
        f"the first: {first.path}: {first.status}, {first.reason}"
    )


def train_head(
    table: ImageTable,
    extraction: Extraction,
    kind: FeatureKind,
    head: HeadSettings,
    seed: int,
) -> Trainer:
    """Train a head on the usable rows of the training split."""
    rows = usable_rows(table, extraction, "train")
    features, targets = extraction.matrix(kind, rows), table.targets()[rows]
    return Trainer(_recipe(head, seed), features, targets, table.classes)


def _recipe(head: HeadSettings, seed: int) -> Recipe:
    return Recipe(
        kind=head.head,
        c=head.c,
        normalisation=cast(Normalisation, head.normalisation),
        reduction=head.reduction,
        class_weight=cast(ClassWeight | None, head.class_weight),
        seed=seed,
    )


def train_on(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: Sequence[str],
    head: HeadSettings,
    seed: int,
) -> FittedHead:
    """Train a head on features N x D with the settings of a job."""
    return fit_head(
        head.head,
        features,
        targets,
        classes,
        c=head.c,
        normalisation=cast(Normalisation, head.normalisation),
        reduction=head.reduction,
        class_weight=cast(ClassWeight | None, head.class_weight),
        seed=seed,
    )


def make_model(
    table: ImageTable,
    extraction: Extraction,
    backbone: Backbone,
    kind: FeatureKind,
    head: FittedHead,
    scored: Scored,
    run: RunSettings,
    certainty: Certainty,
) -> Model:
    """Put together what a model file holds."""
    figures = scored.evaluation.to_json() | scored.trust.to_json()
    del figures["confusion"], figures["reliability"]
    return Model(
        _record(backbone, kind, run.engine),
        kind,
        head,
        figures,
        _fingerprint(table, extraction, run),
        library_versions(),
        _seen(table, extraction),
        _samples(table, extraction, scored, backbone, run),
        certainty,
    )


def _record(backbone: Backbone, kind: FeatureKind, options: EngineOptions) -> BackboneRecord:
    if options.precision == "fp32":
        return record(backbone)
    calibrated = None
    if options.precision == "int8":
        from offshelf.engine.openvino_engine.graph_cache import finished

        calibrated = finished(backbone, (kind.tap,), options)
    made = record(backbone, options.precision, calibrated)
    return dataclasses.replace(made, made_on=made_on(options))


def _fingerprint(table: ImageTable, extraction: Extraction, run: RunSettings) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row, label, split in zip(extraction.rows, table.labels, table.splits, strict=True):
        text = spelled(f"\0{label}\0{split}\0").encode()
        digest.update(row.digest + text)
    return {
        "images_sha256": digest.hexdigest(),
        "n_images": len(table),
        "n_failed": len(extraction.failures),
        "seed": run.seed,
        "test_size": run.test_size,
    }


def _seen(table: ImageTable, extraction: Extraction) -> NDArray[np.uint64]:
    digests = [extraction.rows[row].digest for row in usable_rows(table, extraction, "train")]
    return np.unique(np.array([short_digest(digest) for digest in digests], np.uint64))


def _samples(
    table: ImageTable,
    extraction: Extraction,
    scored: Scored,
    backbone: Backbone,
    run: RunSettings,
) -> tuple[Sample, ...]:
    """Take test images spread evenly over the test split."""
    last, count = len(scored.rows) - 1, min(run.samples, len(scored.rows))
    positions = np.unique(np.linspace(0, last, count).astype(np.int64))
    samples = []
    for position in positions.tolist():
        row = int(scored.rows[position])
        pixels = _pixels(extraction.rows[row].path, backbone, run.reading.limits)
        if pixels is not None:
            samples.append(Sample(pixels, scored.scores[position], table.labels[row]))
    return tuple(samples)


def _pixels(path: str, backbone: Backbone, limits: Limits) -> NDArray[np.uint8] | None:
    try:
        return network_input(path, backbone.input, limits).pixels
    except ImageError:
        # The file changed after it was read; the model is whole without this sample.
        return None
