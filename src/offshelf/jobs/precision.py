"""Which precision a job runs in: the calibration of int8, and the decision of ``auto``.

int8 is calibrated on a seeded sample of the user's own training images, never on test
images. ``auto`` takes int8, or bf16 where the processor has it, and on a CUDA or Apple device
its half precision, only where a sample shows that it costs next to nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.content import DECODING
from offshelf.data.decode import Limits, read_bytes
from offshelf.data.table import ImageTable
from offshelf.engine.base import EngineOptions, choose, open_engine
from offshelf.engine.calibration import MAX_IMAGES, Calibration
from offshelf.engine.circumstances import installed
from offshelf.engine.processor import adds_bytes_exactly, computes_bfloat16
from offshelf.engine.ranged import way
from offshelf.errors import EngineError, ImageError
from offshelf.features.kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.heads.fit import decision, fit_head
from offshelf.jobs.settings import RunSettings
from offshelf.progress import Progress, Silent, heard_by

AUTO = "auto"
LEAST_COSINE = 0.97
MOST_LOST = 0.01
FOLDS = 3
SAMPLE = 600


@dataclass(frozen=True)
class PrecisionTrial:
    """What a sample of training images says of a precision against fp32.

    Attributes:
        precision: ``int8``, ``bf16`` or ``fp16``.
        cosine: mean cosine between its features and the fp32 features of an image.
        fp32: cross-validated accuracy on fp32 features, 0 to 1.
        accuracy: the same on its features.
        images: size of the sample.
    """

    precision: str
    cosine: float
    fp32: float
    accuracy: float
    images: int

    @property
    def accepted(self) -> bool:
        """Whether it stays within the bounds: cosine 0.97, one point of accuracy."""
        return self.cosine >= LEAST_COSINE and self.fp32 - self.accuracy <= MOST_LOST

    def sentence(self) -> str:
        """Return the decision and its reason on one line."""
        verb = "takes" if self.accepted else "does not take"
        return (
            f"precision auto {verb} {self.precision}: on {self.images} training images its "
            f"features have cosine {self.cosine:.3f} to fp32 (bound {LEAST_COSINE}) and "
            f"{self.accuracy:.1%} cross-validated accuracy against {self.fp32:.1%} "
            f"(bound {MOST_LOST:.0%} less)"
        )


def settled(
    table: ImageTable,
    backbone: Backbone,
    kind: FeatureKind,
    run: RunSettings,
    progress: Progress,
) -> EngineOptions:
    """Return the engine options with the precision decided and int8 calibrated.

    Raises:
        EngineError: int8 or ``auto`` is asked for where it cannot be had.
    """
    options = run.engine
    if options.precision == AUTO:
        plain = dataclasses.replace(options, precision="fp32")
        if choose(plain) == ("torch", "cpu"):
            progress.note("precision auto takes fp32: engine torch has nothing faster on a cpu")
            return plain
        with heard_by(progress):
            for faster, trial in trials(table, backbone, kind, run, progress):
                progress.note(trial.sentence())
                if trial.accepted:
                    return dataclasses.replace(faster, images=options.images)
        progress.note("precision auto takes fp32")
        return plain
    if options.precision != "int8":
        return options
    return dataclasses.replace(options, calibration=calibration(table, backbone, run, progress))


def calibration(
    table: ImageTable, backbone: Backbone, run: RunSettings, progress: Progress | None = None
) -> Calibration:
    """Return the calibration on a seeded sample of at most 100 training images.

    *progress* is told when they are looked at, which takes a while and happens once.

    Its digest tells apart the ways in which int8 is made on different processors.
    A table without labels has no training images; then the sample is taken from all.
    """
    rows = _sample(table, run.seed, MAX_IMAGES)
    paths = [table.paths[row] for row in rows]
    made = way(backbone.spec.architecture)
    # All that decides which of them are usable, and their pixels.
    limits, tool = run.reading.limits, installed("nncf") if made == "nncf" else ""
    bits = 8 if adds_bytes_exactly() else 7
    how = f"offshelf int8 calibration 4 {made} {bits} {tool} {DECODING} {limits}"
    digest = hashlib.sha256(how.encode())
    for path in paths:
        digest.update(_digest(path, limits))

    def pixels() -> NDArray[np.uint8]:
        told = progress or Silent()
        told.note(
            f"int8: measuring the ranges of {backbone.spec.name} on {len(paths)} images, once"
        )
        return _pixels(paths, backbone, limits)[0]

    return Calibration(digest.hexdigest(), pixels)


def trials(
    table: ImageTable,
    backbone: Backbone,
    kind: FeatureKind,
    run: RunSettings,
    progress: Progress | None = None,
) -> Iterator[tuple[EngineOptions, PrecisionTrial]]:
    """Extract a sample of training images in fp32, and compare faster ones, the fastest first.

    Yields the options of a precision and what was found.

    Raises:
        EngineError: the data has no labels, or too few images of a class.
    """
    rows = _sample(table, run.seed, SAMPLE)
    paths = [table.paths[row] for row in rows]
    pixels, readable = _pixels(paths, backbone, run.reading.limits)
    labels = table.targets()[rows][readable]
    classes, targets, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < FOLDS:
        raise EngineError(
            f"precision auto needs labels and at least {FOLDS} training images per class: "
            "use fp32 or int8"
        )
    base = dataclasses.replace(run.engine, images=None, precision="fp32")
    plain = _features(pixels, backbone, kind, base)
    accuracy = _cross_validated(plain, targets)
    for options in _faster(base, lambda: calibration(table, backbone, run, progress)):
        found = _features(pixels, backbone, kind, options)
        cosine, reached = _cosine(plain, found), _cross_validated(found, targets)
        trial = PrecisionTrial(options.precision, cosine, accuracy, reached, len(pixels))
        yield options, trial


def _faster(base: EngineOptions, calibrated: Callable[[], Calibration]) -> Iterator[EngineOptions]:
    device = choose(base)[1]
    if device != "cpu":
        from offshelf.engine import torch_engine

        yield dataclasses.replace(base, precision=torch_engine.half_of(device))
        return
    yield dataclasses.replace(base, precision="int8", calibration=calibrated())
    if computes_bfloat16():
        yield dataclasses.replace(base, precision="bf16")


def _sample(table: ImageTable, seed: int, count: int) -> NDArray[np.int64]:
    rows = table.rows("train")
    if not len(rows):
        rows = np.arange(len(table))
    draw = np.random.default_rng(seed)
    return np.sort(draw.permutation(rows)[:count])


def _digest(path: str, limits: Limits) -> bytes:
    try:
        return hashlib.sha256(read_bytes(path, limits)).digest()
    except ImageError:
        return b""


def _pixels(
    paths: list[str], backbone: Backbone, limits: Limits
) -> tuple[NDArray[np.uint8], list[int]]:
    size = backbone.input.size
    pixels, readable = [], []
    for number, path in enumerate(paths):
        # A bad image is listed by the extraction that follows.
        with contextlib.suppress(ImageError):
            pixels.append(network_input(path, backbone.input, limits).pixels)
            readable.append(number)
    return np.array(pixels, np.uint8).reshape(-1, size, size, 3), readable


def _features(
    pixels: NDArray[np.uint8], backbone: Backbone, kind: FeatureKind, options: EngineOptions
) -> NDArray[np.float32]:
    with contextlib.closing(open_engine(backbone, [kind.tap], options)) as engine:
        return engine.run(pixels)[kind.tap].reshape(len(pixels), -1)


def _cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean((left * right).sum(axis=1) / np.maximum(norms, 1e-12)))


def _cross_validated(features: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Return the share of rows that a head trained on the other folds gets right."""
    # Dealing each class out in turn makes folds of equal make-up.
    order = np.argsort(targets, kind="stable")
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % FOLDS
    classes = [str(number) for number in range(int(targets.max()) + 1)]
    targets = targets.astype(np.int64)
    correct = 0
    for held_out in range(FOLDS):
        inside = fold != held_out
        head = fit_head("svm", features[inside], targets[inside], classes)
        scores = decision(head, features[~inside])
        correct += int((scores.argmax(axis=1) == targets[~inside]).sum())
    return correct / len(targets)
