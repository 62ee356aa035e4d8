"""ImageNet top-k classification with the network's own head.

Optionally beside what the same network answers without normalisation of the pixels, or
in training mode: two mistakes that are easily made, and what they cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.catalogue.imagenet import CLASSES
from offshelf.data.tables.image_table import ImageTable, list_images
from offshelf.errors import EngineError, ImageError, LayerError
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.features.store import feature_store as stores
from offshelf.jobs.classify.answers import NORMAL, PLAIN, Answer, require_few, training_views
from offshelf.jobs.setup.opening import backbone_for, describe
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Progress, Silent

LAYER = "logits"
Views = dict[int, dict[str, NDArray[np.float32]]]
# Seen on pictures: networks know shapes that were not stretched, as they were trained.
RESIZE = "crop"


@dataclass(frozen=True, eq=False)
class ClassifyResult:
    """One answer per image.

    Attributes:
        answers: in the order of the files.
        backbone: the network.
        engine: what ran.
        notes: what holds for all images, for a person.
    """

    answers: tuple[Answer, ...]
    backbone: Backbone
    engine: str
    notes: tuple[str, ...]

    @property
    def n_ok(self) -> int:
        """Images with an answer."""
        return len(self.answers) - self.n_failed

    @property
    def n_failed(self) -> int:
        """Images without an answer."""
        return sum(not answer.logits for answer in self.answers)

    def to_json(self, count: int = 5) -> dict[str, Any]:
        """Return the *count* best classes of every image as one JSON document."""
        return {
            **describe(self.backbone),
            "layer": LAYER,
            "classes": CLASSES,
            "engine": self.engine,
            "n_ok": self.n_ok,
            "n_failed": self.n_failed,
            "images": [answer.to_json(count) for answer in self.answers],
            "notes": list(self.notes),
        }


def classify(
    sources: Sequence[str | Path],
    features: FeatureSettings | None = None,
    *,
    run: RunSettings | None = None,
    no_normalize: bool = False,
    train_mode: bool = False,
    progress: Progress | None = None,
) -> ClassifyResult:
    """Classify images with a network's own classifier of ImageNet's 1,000 classes.

    Args:
        sources: images, folders that are searched for images, tables, patterns, and lists
            of paths (``-`` for standard input).
        features: the network; layer and pooling are not used. Where no resize is asked
            for, the publisher's crop is taken.
        run: engine, limits, cache folder, seed.
        no_normalize: also leave out the scaling by mean and standard deviation: the
            network then gets pixels in [0, 1].
        train_mode: also run the network in training mode, several times.
        progress: is told how far the work is.

    Raises:
        DataError: a source does not exist or holds no images, or too many for training mode.
        EngineError: the precision would have to be calibrated.
        LayerError: the weights have no classifier, or not one of ImageNet-1k.
        WeightsError: the weights are not here.
    """
    features, run = features or FeatureSettings(), run or RunSettings()
    progress = progress or Silent()
    table = _images(sources, run, train_mode, progress)
    features = dataclasses.replace(features, resize=features.resize or RESIZE)
    backbone = backbone_for(features, run, progress)
    kind = FeatureKind(LAYER, backbone.path_of(LAYER), "flatten")
    require_classifier(backbone, kind, run)
    ways = {NORMAL: backbone} | ({PLAIN: backbone.without_normalisation()} if no_normalize else {})
    views: Views = {}
    for way, network in ways.items():
        extraction = extract(table.paths, network, [kind], run.engine, run.reading, progress)
        logits = extraction.matrix(kind, extraction.ok)
        for row, vector in zip(extraction.ok.tolist(), logits, strict=True):
            views.setdefault(row, {})[way] = vector
    notes = _train(views, extraction, backbone, kind, run) if train_mode else ()
    answers = tuple(
        Answer(row.path, row.status, row.reason, views.get(number, {}))
        for number, row in enumerate(extraction.rows)
    )
    return ClassifyResult(answers, backbone, extraction.engine, notes)


def require_classifier(backbone: Backbone, kind: FeatureKind, run: RunSettings) -> None:
    """Check that *kind* is the output of a classifier of ImageNet-1k.

    Raises:
        LayerError: the weights do not reach it, or it has not 1,000 values.
    """
    folder = cache.features_folder(run.engine.cache_dir)
    identity = kind.identity(backbone, run.engine, run.reading.limits.background)
    if stores.exists(folder, identity):
        # It was checked when the store was made; looking at the network takes seconds.
        return
    shape = backbone.require(LAYER).shape
    if shape != (CLASSES,):
        sides = " x ".join(f"{side:,}" for side in shape)
        raise LayerError(
            f"{backbone.spec.name}: its output of {sides} values is no classifier of ImageNet's "
            f"1,000 classes; choose another --backbone"
        )


def _images(
    sources: Sequence[str | Path], run: RunSettings, train_mode: bool, progress: Progress
) -> ImageTable:
    if run.engine.precision in {"int8", "auto"}:
        raise EngineError(
            f"precision {run.engine.precision} is calibrated on training images, of which "
            "classify has none: use fp32"
        )
    table = list_images(sources)
    for warning in table.warnings:
        progress.note(warning)
    if train_mode:
        require_few(len(table))
    return table


def _train(
    views: Views, extraction: Extraction, backbone: Backbone, kind: FeatureKind, run: RunSettings
) -> tuple[str, ...]:
    """Add what training mode answers to *views*; return what a person should know."""
    limits, pixels = run.reading.limits, {}
    for row in views:
        try:
            found = network_input(extraction.rows[row].path, backbone.input, limits)
        except ImageError:
            # The file changed after it was classified; the others still show the point.
            continue
        pixels[row] = found.pixels
    trained, notes = training_views(pixels, backbone, kind.tap, run.seed)
    for row, more in trained.items():
        views[row] |= more
    return notes
