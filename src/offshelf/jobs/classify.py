"""ImageNet top-k classification with the network's own head.

Optionally beside what the same network answers without normalisation of the pixels, or
in training mode: two mistakes that are easily made, and what they cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.catalogue.libraries import CLASSES, class_names
from offshelf.data.tables.image_table import ImageTable, list_images
from offshelf.engine.torch_engine.training_mode import training_outputs
from offshelf.errors import DataError, EngineError, ImageError, LayerError
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.features.store import feature_store as stores
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for, describe
from offshelf.progress import Progress, Silent, note_all
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import spelled

LAYER = "logits"
# Seen on pictures: networks know shapes that were not stretched, as they were trained.
RESIZE = "crop"
NORMAL, PLAIN = "evaluation", "not normalised"
MAX_IMAGES = 16


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """The output of one run of the network on one image.

    Attributes:
        way: how it was run: ``evaluation`` is right; ``not normalised``, ``alone`` and
            ``in a batch`` (training mode) and ``evaluation after`` those are experiments.
        logits: float32, 1,000 values.
        number: from 1 where there are several runs of this way, else 0.
    """

    way: str
    logits: NDArray[np.float32]
    number: int = 0

    @property
    def name(self) -> str:
        """The way, with the number where there are several."""
        return f"{self.way} {self.number}" if self.number else self.way

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, float64."""
        from scipy.special import softmax

        return np.asarray(softmax(self.logits.astype(np.float64)))

    @property
    def ranking(self) -> list[int]:
        """Numbers of the classes, the best first; equal ones in their order."""
        order: list[int] = np.argsort(-self.logits, kind="stable").tolist()
        return order


@dataclass(frozen=True)
class Guess:
    """One class of an answer.

    Attributes:
        label: the name of the class.
        index: its number, 0 to 999.
        probability: softmax of the logits.
        logit: the network's output for it.
    """

    label: str
    index: int
    probability: float
    logit: float


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network answers for one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no answer.
        reason: the same in a sentence.
        runs: of the network; the first is ``evaluation``. None where there is no answer.
    """

    path: str
    status: str
    reason: str
    runs: tuple[NetworkRun, ...]

    @property
    def logits(self) -> dict[str, NDArray[np.float32]]:
        """Vectors of 1,000 values by name of the run, ``evaluation`` first."""
        return {run.name: run.logits for run in self.runs}

    def best(self, count: int = 5, view: str = NORMAL) -> tuple[Guess, ...]:
        """Return the *count* most probable classes, the best first; () without an answer."""
        run = next((run for run in self.runs if run.name == view), None)
        if run is None:
            return ()
        names, shares = class_names(), run.probabilities
        return tuple(
            Guess(names[k], k, float(shares[k]), float(run.logits[k])) for k in run.ranking[:count]
        )

    def table(self, count: int = 5) -> Table:
        """Return the best classes of every run, side by side."""
        chosen: dict[int, None] = {}
        for run in self.runs:
            # Of the experiments: all of one, only the first of many.
            chosen |= dict.fromkeys(run.ranking[: count if run.way in (NORMAL, PLAIN) else 1])
        shares = [run.probabilities for run in self.runs]
        columns = (Column("class"), *(Column(run.name, "percent") for run in self.runs))
        names = class_names()
        rows: list[tuple[Cell, ...]] = [
            (names[k], *(float(share[k]) for share in shares)) for k in chosen
        ]
        return Table(self.path, columns, tuple(rows))

    def changes(self) -> tuple[str, ...]:
        """Return one line for each experiment: what it changed."""
        ways: dict[str, list[NetworkRun]] = {}
        for run in self.runs[1:]:
            ways.setdefault(run.way, []).append(run)
        lines = []
        for way, runs in ways.items():
            lines.append(f"{way}: {self._changed_by(runs[0])}")
            if len(runs) > 1:
                moved = np.ptp([run.probabilities for run in runs], axis=0).max()
                text = f"differ by up to {format_cell(float(moved), 'percent')}"
                lines[-1] += f"; its {len(runs)} passes {text if moved else 'agree'}"
        return tuple(lines)

    def to_json(self, count: int = 5) -> dict[str, Any]:
        """Return the best classes of every run as JSON values."""
        guesses = {
            run.name: [dataclasses.asdict(guess) for guess in self.best(count, run.name)]
            for run in self.runs
        }
        return {
            "path": spelled(self.path),
            "status": self.status,
            "reason": self.reason,
            "top": guesses.pop(NORMAL, []),
            "views": guesses,
            "changes": list(self.changes()),
        }

    def _changed_by(self, run: NetworkRun) -> str:
        before, after = self.best(5), self.best(5, run.name)
        kept = len({guess.index for guess in before} & {guess.index for guess in after})
        moved = np.abs(self.runs[0].probabilities - run.probabilities).sum() / 2
        was, now = (
            f"{one.label} ({format_cell(one.probability, 'percent')})"
            for one in (before[0], after[0])
        )
        same = before[0].index == after[0].index
        top = f"still {now}, was {was}" if same else f"{now} instead of {was}"
        return (
            f"{top}; {kept} of the 5 best stay; "
            f"{format_cell(float(moved), 'percent')} of the probability has moved"
        )


@dataclass(frozen=True, eq=False)
class ClassifyResult:
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
