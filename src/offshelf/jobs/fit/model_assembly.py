"""Assembly of a model file's contents from a training run."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.decode import Limits
from offshelf.data.tables.image_table import SPLITS
from offshelf.engine.selection import platform_of
from offshelf.errors import ImageError
from offshelf.features.network_input import network_input
from offshelf.jobs.fit.evaluation import Scored
from offshelf.jobs.fit.trained_head import TrainedHead
from offshelf.jobs.setup.grouped_table import describe_groups
from offshelf.jobs.setup.labelled_features import LabelledFeatures, usable_rows
from offshelf.jobs.setup.settings import RunSettings
from offshelf.model_file.feature_record import (
    BackboneRecord,
    FeatureRecord,
    record,
)
from offshelf.model_file.model import Model, Sample
from offshelf.model_file.specs import short_digest
from offshelf.model_file.zip_file import MAX_PICTURES
from offshelf.text import spelled
from offshelf.version import library_versions, today


def make_model(
    labelled: LabelledFeatures, trained: TrainedHead, scored: Scored, run: RunSettings
) -> Model:
    """Return the contents of the model file of a training run.

    Args:
        labelled: the images, the network and its float32 features, N x D.
        trained: the head on the training split: D features to K scores; probabilities of its
            scores, and the threshold for unknown images.
        scored: the test split; some of its images become the model's self-test.
        run: seed, share of test images, number of self-test images (0 to 16), limits.

    Returns:
        The model, with at most ``run.samples`` test images as uint8, S x S x 3, and their
        K float32 scores; one whose file has changed since is left out.

    Raises:
        DataError: the training split has no image that can be used.
    """
    figures, compared = scored.evaluation.to_json() | scored.trust.to_json(), scored.decisions
    del figures["confusion"], figures["reliability"]
    if compared is None:
        return assembled(labelled, trained, scored, figures, run)
    figures["decision"] = compared.figures()
    made = assembled(labelled, trained, scored, figures, run)
    return dataclasses.replace(made, rule=compared.rule)


class Tested(Protocol):
    """The test images, and the scores that a head gave them."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """N rows of the image table."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """N x K."""


def assembled(
    labelled: LabelledFeatures,
    trained: TrainedHead,
    tested: Tested,
    figures: dict[str, Any],
    run: RunSettings,
) -> Model:
    """Return the model of a head with these *figures*; see :func:`make_model`."""
    return Model(
        features=FeatureRecord.of(labelled.features, lambda one: _network(labelled, one)),
        head=trained.head,
        metrics=figures,
        data=_fingerprint(labelled, run),
        versions=library_versions(),
        seen=_training_digests(labelled),
        samples=_samples(labelled, tested, run),
        certainty=trained.certainty,
    )


def _network(labelled: LabelledFeatures, backbone: Backbone) -> BackboneRecord:
    options = labelled.options[backbone]
    if options.precision == "fp32":
        return record(backbone)
    calibrated = None
    if options.precision == "int8":
        from offshelf.engine.openvino_engine.graph_cache import finished

        taps = tuple(kind.tap for kind in labelled.features.kinds_of(backbone))
        calibrated = finished(backbone, taps, options)
    made = record(backbone, options.precision, calibrated)
    return dataclasses.replace(made, platform=platform_of(options))


def _fingerprint(labelled: LabelledFeatures, run: RunSettings) -> dict[str, Any]:
    table, extraction = labelled.table, labelled.extraction
    digest = hashlib.sha256()
    for row, label, split in zip(extraction.rows, table.labels, table.splits, strict=True):
        text = spelled(f"\0{label}\0{split}\0").encode()
        digest.update(row.digest + text)
    return {
        "name": spelled(labelled.name),
        "date": today(),
        "classes": _images_of_classes(labelled),
        "images_sha256": digest.hexdigest(),
        "n_images": len(table),
        "n_failed": len(extraction.failures),
        "seed": run.seed,
        "test_size": run.test_size,
        **({"precision_reason": extraction.reason} if extraction.reason else {}),
        **({"groups": groups} if (groups := describe_groups(table)) else {}),
        **({"corrections": dataclasses.asdict(table.corrected)} if table.corrected else {}),
    }


def _images_of_classes(labelled: LabelledFeatures) -> dict[str, dict[str, int]]:
    """Return for each class how many images were trained on and how many tested."""
    classes = labelled.table.classes
    counts = [
        labelled.table.counts(usable_rows(labelled.table, labelled.extraction, split)).tolist()
        for split in SPLITS
    ]
    return {
        name: {"train": train, "test": test}
        for name, train, test in zip(classes, *counts, strict=True)
    }


def _training_digests(labelled: LabelledFeatures) -> NDArray[np.uint64]:
    rows = usable_rows(labelled.table, labelled.extraction, "train")
    digests = [short_digest(labelled.extraction.rows[row].digest) for row in rows]
    return np.unique(np.array(digests, np.uint64))


def _samples(labelled: LabelledFeatures, scored: Tested, run: RunSettings) -> tuple[Sample, ...]:
    """Take test images spread evenly over the test split."""
    backbones = labelled.features.backbones
    count = min(run.samples, len(scored.rows), MAX_PICTURES // len(backbones))
    positions = np.unique(np.linspace(0, len(scored.rows) - 1, count).astype(np.int64))
    samples = []
    for position in positions.tolist():
        row = int(scored.rows[position])
        pixels = _pixels(labelled.extraction.rows[row].path, backbones, run.reading.limits)
        if pixels:
            label = labelled.table.labels[row]
            samples.append(Sample(pixels[0], scored.scores[position], label, pixels[1:]))
    return tuple(samples)


def _pixels(
    path: str, backbones: Sequence[Backbone], limits: Limits
) -> tuple[NDArray[np.uint8], ...]:
    """Return what each network sees of a file."""
    try:
        return tuple(network_input(path, one.input, limits).pixels for one in backbones)
    except ImageError:
        # The file changed after it was read; the model is whole without this sample.
        return ()
