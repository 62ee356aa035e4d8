"""ImageNet top-k classification with the network's own head.

Optionally beside what the same network answers without normalisation of the pixels, or
in training mode: two mistakes that are easily made, and what they cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.catalogue.libraries import CLASSES
from offshelf.data.tables.image_table import ImageTable, list_images
from offshelf.engine.torch_engine.training_mode import training_outputs
from offshelf.errors import DataError, EngineError, ImageError, LayerError
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.features.store import feature_store as stores
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for, describe
from offshelf.progress import Progress, Silent, note_all
from offshelf.report.network_answers import NORMAL, PLAIN, Answer, NetworkRun
from offshelf.report.result import Block, Result
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.text import spelled

LAYER = "logits"
# Seen on pictures: networks know shapes that were not stretched, as they were trained.
RESIZE = "crop"
MAX_IMAGES = 16
# Images that a prompt names.
FIRST = 5


@dataclass(frozen=True, eq=False, repr=False)
class ClassifyResult(Result):
    """One answer per image.

    Attributes:
        answers: in the order of the files.
        backbone: the network.
        engine: what ran.
        notes: lines that hold for all images.
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
        return sum(not answer.runs for answer in self.answers)

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

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images there are, and the network."""
        yield "images", f"{self.n_ok:,}, {self.n_failed:,} left out"
        for answer in self.answers[:FIRST]:
            yield "first", answer.line(count=1)
        yield "network", f"{self.backbone.spec.name}, {self.engine}{self.backbone.changed}"

    def blocks(self, top: int = 5) -> Iterator[Block]:
        """Yield a line or a table for each image, and the notes."""
        for answer in self.answers:
            if len(answer.runs) <= 1:
                yield answer.line(top)
                continue
            yield answer.table(top)
            yield from answer.changes()
            yield ""
        yield from self.notes
        trained = "" if self.backbone.trained else "; the network is UNTRAINED"
        yield f"probabilities of ImageNet's 1,000 classes, softmax of the logits{trained}"

    def data_table(self, top: int = 5) -> Table:
        """Return a row for each of the *top* classes of each image; one for one that failed."""
        columns = (
            *map(Column, ("path", "status", "reason")),
            *(Column("rank", "integer"), Column("class"), Column("index", "integer")),
            *(Column("probability", "percent"), Column("logit", "number")),
        )
        cells: list[tuple[Cell, ...]] = []
        for answer in self.answers:
            image = (spelled(answer.path), answer.status, answer.reason)
            for rank, guess in enumerate(answer.best(top), 1):
                found = (guess.label, guess.index, guess.probability, guess.logit)
                cells.append((*image, rank, *found))
            if not answer.runs:
                cells.append((*image, *[None] * 5))
        return Table("Classes", columns, tuple(cells))


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
        progress: receives the state of the work.

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
    runs: dict[int, list[NetworkRun]] = {}
    for way, network in ways.items():
        extraction = extract(table.paths, network, [kind], run.engine, run.reading, progress)
        logits = extraction.matrix(kind, extraction.ok)
        for row, vector in zip(extraction.ok.tolist(), logits, strict=True):
            runs.setdefault(row, []).append(NetworkRun(way, vector))
    notes = _train(runs, extraction, backbone, kind, run) if train_mode else ()
    answers = tuple(
        Answer(row.path, row.status, row.reason, tuple(runs.get(number, ())))
        for number, row in enumerate(extraction.rows)
    )
    return ClassifyResult(answers, backbone, extraction.engine, notes)


def require_classifier(backbone: Backbone, kind: FeatureKind, run: RunSettings) -> None:
    """Raise LayerError unless *kind* is the output of a classifier of 1,000 classes."""
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
    note_all(progress, table.warnings)
    if train_mode and len(table) > MAX_IMAGES:
        raise DataError(
            f"{len(table)} images: training mode is shown for at most {MAX_IMAGES}; name fewer"
        )
    return table


def _train(
    runs: Mapping[int, list[NetworkRun]],
    extraction: Extraction,
    backbone: Backbone,
    kind: FeatureKind,
    run: RunSettings,
) -> tuple[str, ...]:
    """Add the runs in training mode to *runs*; return lines that hold for all images."""
    pixels = {}
    for row in runs:
        try:
            found = network_input(extraction.rows[row].path, backbone.input, run.reading.limits)
        except ImageError:
            # The file changed after it was classified; the others still show the point.
            continue
        pixels[row] = found.pixels
    trained, notes = training_outputs(pixels, backbone, kind.tap, run.seed)
    for row, ways in trained.items():
        runs[row].extend(
            NetworkRun(way, logits, number if len(outputs) > 1 else 0)
            for way, outputs in ways.items()
            for number, logits in enumerate(outputs, 1)
        )
    return notes
