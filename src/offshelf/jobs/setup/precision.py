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
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.network_input import network_input
from offshelf.jobs.setup.kept_decision import (
    decision_file,
    keep_decision,
    reason_among,
    still_good,
)
from offshelf.jobs.setup.precision_trial import (
    NotesOnly,
    compared,
    fair_sample,
    is_comparable,
    training_rows,
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
FEW_GROUPS = (
    "precision auto takes fp32: what another precision costs is measured on groups of images that "
    f"are held out, of at least {FOLDS} images and two groups of two classes, and here are not so "
    "many"
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
        told = NotesOnly(progress)
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
            sample = fair_sample(table, run.seed, count)
            trial = compared(sample, backbone, kinds, run, faster, progress)
            if trial is None:
                reason = _too_few(table)
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
        return _too_few(table)
    if device == "cpu" and len(table) <= FEW:
        return f"precision auto takes fp32: with {counted(len(table), 'image')} no other pays"
    return ""


def _too_few(table: ImageTable) -> str:
    return FEW_GROUPS if table.groups else FEW_LABELS


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


def _sample(table: ImageTable, seed: int, count: int) -> NDArray[np.int64]:
    draw = np.random.default_rng(seed)
    return np.sort(draw.permutation(training_rows(table))[:count])


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
