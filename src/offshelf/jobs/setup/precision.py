"""Precision of a job: the calibration of int8, and the decision of ``auto``.

int8 is calibrated on a seeded sample of the user's own training images, never on test
images. ``auto`` takes a faster precision only where a sample shows that it costs next to no
accuracy, and on a CPU only where what is left to extract is worth it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.decode import Limits, read_bytes
from offshelf.data.decoding.limits import DECODING
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import MAX_IMAGES, Calibration, EngineOptions
from offshelf.engine.openvino_engine.int8 import has_nncf
from offshelf.engine.openvino_engine.int8_winograd import int8_method
from offshelf.engine.processor import adds_bytes_exactly, computes_bfloat16
from offshelf.engine.selection import choose, installed
from offshelf.errors import ImageError
from offshelf.features.extraction import extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.heads.class_balance import deal_folds
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.jobs.setup.kept_decision import (
    PrecisionTrial,
    decision_file,
    keep_decision,
    reason_among,
    still_good,
)
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.workload import (
    FEW,
    FOLDS,
    MAX_SAMPLE,
    images_left,
    slower_than_fp32,
    workload,
)
from offshelf.progress import Progress, Silent, note_all, notifying
from offshelf.text import counted

AUTO = "auto"
FEW_LABELS = (
    "precision auto takes fp32: what another precision costs is measured on labelled images, at "
    f"least {FOLDS} to train of two classes, and here are not so many"
)


def resolve_precision(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    run: RunSettings,
    progress: Progress,
) -> EngineOptions:
    """Return the engine options with the precision decided and int8 calibrated.

    Args:
        table: the images; without labels ``auto`` takes fp32.
        backbone: the network.
        kinds: the features that are wanted; the first decides ``auto``.
        run: engine, seed, limits.
        progress: receives notes on what was decided and why.

    Returns:
        The options of ``run`` with one of ``fp32``, ``int8``, ``bf16`` and ``fp16``; of int8
        with its calibration, whose images are uint8, N x S x S x 3, N at most 100.

    Raises:
        EngineError: int8 is asked for where it cannot be had.

    >>> from offshelf.jobs.setup.settings import backbone_for
    >>> table = ImageTable(("a.png",), ("",), ("",), (), ())
    >>> backbone = backbone_for(None, RunSettings(), Silent())
    >>> resolve_precision(table, backbone, [], RunSettings(), Silent()).precision
    'fp32'
    """
    options = run.engine
    if options.precision == AUTO:
        told = _Notes(progress)
        options = _decided(table, backbone, kinds, run, told)
        return dataclasses.replace(options, reason=reason_among(told.notes))
    if options.precision != "int8":
        return options
    options = dataclasses.replace(options, calibration=calibration(table, backbone, run, progress))
    if choose(options) == ("openvino", "cpu"):
        with notifying(progress):
            slower = slower_than_fp32(backbone, kinds, options)
        if slower:
            progress.note(slower)
    return options


def _decided(
    table: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    run: RunSettings,
    progress: Progress,
) -> EngineOptions:
    """Return the options of the first faster precision that pays and is exact enough."""
    plain = dataclasses.replace(run.engine, precision="fp32")
    engine, device = choose(plain)
    if unasked := _no_trial(table, engine, device):
        progress.note(unasked)
        return plain
    reason, said, place = "precision auto takes fp32", [], None
    with notifying(progress):
        calibrated = functools.partial(calibration, table, backbone, run, progress)
        tried = tuple(_faster(plain, device, calibrated, progress))
        if device == "cpu" and tried:
            place = decision_file(table, backbone, kinds, tried[0], run.seed)
            known = still_good(
                place, tried, lambda taken: images_left(table, backbone, kinds, taken, run)
            )
            if known is not None:
                options, notes = known
                note_all(progress, notes)
                return options
        for faster in tried:
            count = MAX_SAMPLE
            if device == "cpu":
                work = workload(table, backbone, kinds, run, faster)
                if work.verdict() == "fp32":
                    reason = work.sentence(faster.precision)
                    continue
                count = work.sample
            sample = _fair(table, run.seed, count)
            trial = compared(sample, backbone, kinds, run, faster, progress)
            if trial is None:
                reason = FEW_LABELS
                break
            said.append(trial.sentence())
            progress.note(said[-1])
            if trial.accepted:
                if place is not None:
                    keep_decision(place, faster.precision, said)
                return faster
            reason = "precision auto takes fp32"
        progress.note(reason)
    return plain


def _no_trial(table: ImageTable, engine: str, device: str) -> str:
    """Return the line that says why fp32 is taken without a look at anything else, or ""."""
    if (engine, device) == ("torch", "cpu"):
        return "precision auto takes fp32: engine torch has nothing faster on a cpu"
    if not is_comparable(table):
        return FEW_LABELS
    if device == "cpu" and len(table) <= FEW:
        return f"precision auto takes fp32: with {counted(len(table), 'image')} no other pays"
    return ""


def calibration(
    table: ImageTable, backbone: Backbone, run: RunSettings, progress: Progress | None = None
) -> Calibration:
    """Return the calibration on a seeded sample of at most 100 training images.

    Where the images are looked at, which takes a while and happens once, *progress* has a note.
    The digest tells apart the ways in which int8 is made on different processors. Of a table
    without labels, and so without training images, the sample is taken from all.
    """
    rows = _sample(table, run.seed, MAX_IMAGES)
    paths = [table.paths[row] for row in rows]
    made = int8_method(backbone.spec.architecture)
    # All that decides which of them are usable, and their pixels.
    limits, tool = run.reading.limits, installed("nncf") if made == "nncf" else ""
    bits = 8 if adds_bytes_exactly() else 7
    how = f"offshelf int8 calibration 4 {made} {bits} {tool} {DECODING} {limits}"
    digest = hashlib.sha256(how.encode())
    for path in paths:
        digest.update(_digest(path, limits))

    def pixels() -> NDArray[np.uint8]:
        (progress or Silent()).note(
            f"int8: measuring the ranges of {backbone.spec.name} on {len(paths)} images, once; it "
            "takes some ten seconds, of large networks more"
        )
        return _pixels(paths, backbone, limits)

    return Calibration(digest.hexdigest(), pixels)


def is_comparable(table: ImageTable) -> bool:
    """Return whether labelled training images can tell whether a precision is exact enough."""
    return len(np.unique(_comparable(table)[1])) >= 2


def compared(
    sample: ImageTable,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    run: RunSettings,
    faster: EngineOptions,
    progress: Progress | None = None,
) -> PrecisionTrial | None:
    """Extract labelled images in fp32 and in a faster precision, and compare the first of *kinds*.

    The features stay in the store, so that no work is lost. None where too few images of a class
    can be used.
    """
    paths, labels = sample.paths, sample.targets()
    notes = _Notes(progress or Silent())
    both = [
        extract(
            paths, backbone, kinds, dataclasses.replace(options, images=None), run.reading, notes
        )
        for options in (dataclasses.replace(faster, precision="fp32", calibration=None), faster)
    ]
    usable = np.intersect1d(both[0].ok, both[1].ok)
    plain, found = (one.matrix(kinds[0], usable) for one in both)
    _, targets, counts = np.unique(labels[usable], return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.min() < FOLDS:
        return None
    return PrecisionTrial(
        precision=faster.precision,
        cosine=_cosine(plain, found),
        fp32=_cross_validated(plain, targets),
        accuracy=_cross_validated(found, targets),
        images=len(usable),
    )


class _Notes(Silent):
    """Passes notes on, and no progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def note(self, message: str) -> None:
        """See :class:`offshelf.progress.Progress`."""
        super().note(message)
        self._progress.note(message)


def _faster(
    base: EngineOptions, device: str, calibrated: Callable[[], Calibration], progress: Progress
) -> Iterator[EngineOptions]:
    if device != "cpu":
        from offshelf.engine.torch_engine import reference

        yield dataclasses.replace(base, precision=reference.half_of(device))
        return
    if has_nncf():
        yield dataclasses.replace(base, precision="int8", calibration=calibrated())
    else:
        progress.note("precision auto leaves out int8, which needs nncf: pip install nncf")
    if computes_bfloat16():
        yield dataclasses.replace(base, precision="bf16")


def _comparable(table: ImageTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the training images of classes with enough of them, and their classes."""
    rows = _training(table)
    rows = rows[table.targets()[rows] >= 0]
    targets = table.targets()[rows]
    _, number, counts = np.unique(targets, return_inverse=True, return_counts=True)
    enough = counts[number] >= FOLDS
    return rows[enough], targets[enough]


def _fair(table: ImageTable, seed: int, count: int) -> ImageTable:
    """Return about *count* seeded training images, of each class as many at a time as folds."""
    rows, targets = _comparable(table)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(rows))
    rows, targets = rows[order], targets[order]
    drawn = draw.permutation(int(targets.max()) + 1)[targets]
    together = np.lexsort((drawn,))
    first = np.searchsorted(drawn[together], drawn[together])
    turn = np.empty(len(rows), np.int64)
    turn[together] = (np.arange(len(rows)) - first) // FOLDS
    chosen = np.lexsort((drawn, turn))[: count - count % FOLDS]
    kept = np.sort(rows[chosen]).tolist()
    columns = (
        [column[row] for row in kept] for column in (table.paths, table.labels, table.splits)
    )
    paths, labels, splits = map(tuple, columns)
    return dataclasses.replace(table, paths=paths, labels=labels, splits=splits)


def _sample(table: ImageTable, seed: int, count: int) -> NDArray[np.int64]:
    draw = np.random.default_rng(seed)
    return np.sort(draw.permutation(_training(table))[:count])


def _training(table: ImageTable) -> NDArray[np.int64]:
    rows = table.rows("train")
    return rows if len(rows) else np.arange(len(table))


def _digest(path: str, limits: Limits) -> bytes:
    try:
        return hashlib.sha256(read_bytes(path, limits)).digest()
    except ImageError:
        return b""


def _pixels(paths: list[str], backbone: Backbone, limits: Limits) -> NDArray[np.uint8]:
    size = backbone.input.size
    pixels = []
    for path in paths:
        # A bad image is listed by the extraction that follows.
        with contextlib.suppress(ImageError):
            pixels.append(network_input(path, backbone.input, limits).pixels)
    return np.array(pixels, np.uint8).reshape(-1, size, size, 3)


def _cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean((left * right).sum(axis=1) / np.maximum(norms, 1e-12)))


def _cross_validated(features: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Return the share of rows that a head trained on the other folds gets right."""
    fold = deal_folds(targets, FOLDS, np.arange(len(targets)))
    classes = [str(number) for number in range(int(targets.max()) + 1)]
    targets = targets.astype(np.int64)
    correct = 0
    for held_out in range(FOLDS):
        inside = fold != held_out
        head = fit_head(Recipe(), features[inside], targets[inside], classes)
        scores = decision(head, features[~inside])
        correct += int((scores.argmax(axis=1) == targets[~inside]).sum())
    return correct / len(targets)
