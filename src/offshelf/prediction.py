"""Prediction: opening a model file with its weights and self-test, and labels for images.

A model only answers if its own test images still get the scores that they got when it was
trained, within a tolerance.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.weights_file import locate as weights_files
from offshelf.card import Line
from offshelf.engine.contract import Engine, EngineOptions
from offshelf.engine.processor import computes_bfloat16
from offshelf.engine.selection import choose, open_engine, platform_of
from offshelf.errors import ModelFileError, WeightsError
from offshelf.features.extraction import Extraction, extract
from offshelf.features.reader import ReadOptions
from offshelf.heads.fitting.fit_head import decision
from offshelf.model_file.model import Model, load_model
from offshelf.progress import Progress, Silent, notifying
from offshelf.text import shown, spelled

HALF = ("bf16", "fp16")
# Tolerances of the self-test, as a share of the largest score: in fp32, in other precisions,
# and in those on another platform than the model was trained on. Seen there on 300 images of
# 15-Scene: 0.06 for bf16 in fp32; 0.40 for int8 without VNNI, where sums of two products of
# 8 bits are cut to 16.
FP32_TOLERANCE, TOLERANCE = 1e-3, 2e-2
OTHER_PLATFORM_TOLERANCE = {"bf16": 0.1, "fp16": 0.1, "int8": 0.5}
ROWS_AT_A_TIME = 2048


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(Line):
    """The prediction for one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no label.
        reason: the same in a sentence.
        label: the class with the largest score; None without features.
        scores: class name -> decision value of the head, the largest first. These are
            distances, not probabilities: below zero a one-vs-rest head says "not this".
        probabilities: class name -> probability, in the order of the scores, with the sum
            1, given that the image is of one of the classes; {} where the model is not
            calibrated.
        unknown: whether the model rejects the image as one of no known class; ``label`` is
            then the nearest class.
        unlike: whether the image is unlike the training images; None where the model keeps no
            measure of that. The label stays as it is.
    """

    path: str
    status: str
    reason: str
    label: str | None
    scores: dict[str, float]
    probabilities: dict[str, float] = field(default_factory=dict)
    unknown: bool = False
    unlike: bool | None = None

    def __str__(self) -> str:
        if self.label is None:
            return f"{shown(self.path)}: {self.status}, {self.reason}"
        said = f"unknown (nearest: {self.label})" if self.unknown else self.label
        share = self.probabilities.get(self.label)
        figure = (
            f"score {self.scores[self.label]:+.3f}" if share is None else f"{100 * share:.2f} %"
        )
        return f"{shown(self.path)}: {said} {figure}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "path": spelled(self.path),
            "status": self.status,
            "reason": self.reason,
            "label": self.label,
            "scores": self.scores,
            "probabilities": self.probabilities,
            "unknown": self.unknown,
            "unlike": self.unlike,
        }


def backbone_of(
    model: Model,
    *,
    weights: str | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Backbone:
    """Find the weights that *model* was trained on; another file is never taken.

    Args:
        model: a loaded model file.
        weights: their file, where it is in none of the usual places.
        cache_dir: the root of offshelf's own folders.
        progress: receives notes.

    Raises:
        WeightsError: no file with the model's sha256 is on this machine.
    """
    spec = model.backbone.spec
    chosen = weights if model.backbone.trained else "random"
    expected = spec.weights[0].sha256
    try:
        file = weights_files.locate(
            spec, weights=chosen, cache_dir=cache_dir, download=False, progress=progress
        )
    except WeightsError as error:
        raise WeightsError(f"{error} (this model needs the sha256 {expected})") from error
    if file.sha256 != expected:
        raise WeightsError(
            f"{file.path or file.origin}: is not the weights file this model was trained on: "
            f"sha256 {file.sha256[:16]}..., expected {expected[:16]}...; "
            "name the right one with --weights FILE"
        )
    return Backbone(spec, file, model.backbone.input)


def engine_of(model: Model, options: EngineOptions) -> EngineOptions:
    """Return *options* with the precision that *model* was trained in.

    A model of int8 brings its own network. One of bf16 or fp16 runs in fp32 where the
    processor or device has neither; its self-test allows for that.
    """
    precision = model.backbone.precision
    if precision in HALF and not _has(precision, *choose(options)):
        precision = "fp32"
    return dataclasses.replace(options, precision=precision, calibration=model.backbone.calibrated)


def _has(precision: str, engine: str, device: str) -> bool:
    if device == "cpu":
        return precision == "bf16" and engine == "openvino" and computes_bfloat16()
    if precision == "fp16":
        return True
    from offshelf.engine.torch_engine import reference

    return reference.half_of(device) == precision


def open_model(
    path: str | Path,
    *,
    weights: str | None = None,
    options: EngineOptions | None = None,
    progress: Progress | None = None,
) -> tuple[Model, Backbone]:
    """Load a model file, find its weights, and run its self-test.

    Args:
        path: a ``.offshelf`` file.
        weights: the weights file, where it is in none of the usual places.
        options: engine, device and cache folder; the precision is the model's.
        progress: receives notes.

    Returns:
        The model, and its network with the weights that it was trained on.

    Raises:
        ModelFileError: the file is not what it should be, or fails its self-test.
        WeightsError: its weights are not on this machine.

    >>> open_model("none.offshelf")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.ModelFileError: none.offshelf: no such model file; 'offshelf fit ...
    """
    options, progress = options or EngineOptions(), progress or Silent()
    model = load_model(path)
    backbone = backbone_of(model, weights=weights, cache_dir=options.cache_dir, progress=progress)
    backbone.note_untrained(progress)
    if model.samples or model.backbone.calibrated:
        with (
            notifying(progress),
            contextlib.closing(_engine(model, backbone, options, str(path))) as engine,
        ):
            difference = self_test(model, engine, str(path), _other_platform(model, options))
        if difference > TOLERANCE:
            progress.note(
                f"{shown(path)}: made in {model.backbone.precision} on another kind of processor: "
                f"scores of its own test images differ by {difference:.2g} here, and a few labels "
                "in a hundred may, too; a model of fp32 gives the same everywhere"
            )
    return model, backbone


def _other_platform(model: Model, options: EngineOptions) -> bool:
    """Return whether *model* was trained on another platform, or in a precision not had here."""
    chosen, made = engine_of(model, options), model.backbone
    return made.precision != chosen.precision or made.platform != platform_of(chosen)


def _engine(model: Model, backbone: Backbone, options: EngineOptions, source: str) -> Engine:
    """Open the engine for *model*; a network that the file brings may be anything."""
    chosen = engine_of(model, options)
    try:
        engine = open_engine(backbone, [model.kind.tap], chosen)
        dimension = int(np.prod(engine.shapes[model.kind.tap]))
    except (RuntimeError, ValueError) as error:
        if model.backbone.calibrated is None:
            raise
        raise ModelFileError(f"{shown(source)}: its int8 network cannot be run") from error
    if dimension != model.head.dimension:
        raise ModelFileError(
            f"{shown(source)}: its network gives {dimension} features, its head takes "
            f"{model.head.dimension}"
        )
    return engine


def self_test(model: Model, engine: Engine, source: str, other_platform: bool = False) -> float:
    """Score the model's own test images again; return the largest difference.

    Args:
        model: the model, with its test images (uint8, S x S x 3) and their scores.
        engine: opened for the model's tap.
        source: what messages call the model.
        other_platform: whether another engine or kind of processor trained it, or that is not
            known.

    Returns:
        The largest difference of a score, as a share of the largest score (of 1 where all are
        smaller).

    Raises:
        ModelFileError: that is more than 1e-3. For a model of int8, bf16 or fp16 it may be
            2e-2; on another platform, 0.1 for bf16 and fp16 and 0.5 for int8.
    """
    if not model.samples:
        return 0.0
    pixels = np.stack([sample.pixels for sample in model.samples])
    expected = np.stack([sample.scores for sample in model.samples])
    found = decision(model.head, _features(model, engine, pixels))
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max()) / scale
    precision = model.backbone.precision
    allowed, remedy = FP32_TOLERANCE if precision == "fp32" else TOLERANCE, ""
    if other_platform and precision != "fp32":
        allowed = OTHER_PLATFORM_TOLERANCE[precision]
        remedy = f"; {precision} of another processor? train in fp32"
    if not difference <= allowed:
        raise ModelFileError(
            f"{shown(source)}: fails its self-test on this machine: scores of its own test images "
            f"differ by {difference:.2g}; the network or an engine is not what it was{remedy}"
        )
    return difference


def predict_paths(
    model: Model,
    backbone: Backbone,
    paths: Sequence[str],
    options: EngineOptions | None = None,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> tuple[list[Prediction], Extraction]:
    """Label image files through the feature store.

    Args:
        model: the model.
        backbone: its network, from :func:`open_model`.
        paths: N files.
        options: engine and cache folder.
        reading: threads that read and decode, bounds on bytes and pixels, place of the store.
        progress: receives how many images are done.

    Returns:
        N predictions, one per path, in order; and the extraction, with the features.

    Raises:
        EngineError: the engine or device cannot be had.
        StoreError: the store cannot be written.
    """
    chosen = engine_of(model, options or EngineOptions())
    extraction = extract(paths, backbone, [model.kind], chosen, reading, progress)
    answers = _answers(model, extraction)
    predictions = []
    for number, row in enumerate(extraction.rows):
        ledger = Prediction(
            path=row.path, status=row.status, reason=row.reason, label=None, scores={}
        )
        predictions.append(dataclasses.replace(ledger, **answers.get(number, {})))
    return predictions, extraction


def _answers(model: Model, extraction: Extraction) -> dict[int, dict[str, Any]]:
    """Answer for the rows that have features, a bounded number of feature rows at a time."""
    rows = extraction.ok
    answers: dict[int, dict[str, Any]] = {}
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        chunk = rows[start : start + ROWS_AT_A_TIME]
        found = answered(model, extraction.matrix(model.kind, chunk))
        answers.update(zip(chunk.tolist(), found, strict=True))
    return answers


def answered(model: Model, features: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return the fields of :class:`Prediction` that each of N x D features has."""
    scores = decision(model.head, features)
    probabilities = model.certainty.probabilities(scores)
    unknown, unlike = model.certainty.verdicts(probabilities, features)
    answers = []
    for row, values in enumerate(scores):
        # A stable sort keeps the order of the classes among equal scores, as argmax does.
        order = np.argsort(-values, kind="stable")
        answers.append(
            {
                "label": model.classes[order[0]],
                "scores": _named(model.classes, order, values),
                "probabilities": (
                    {}
                    if probabilities is None
                    else _named(model.classes, order, probabilities[row])
                ),
                "unknown": unknown is not None and bool(unknown[row]),
                "unlike": None if unlike is None else bool(unlike[row]),
            }
        )
    return answers


def _named(
    classes: tuple[str, ...], order: NDArray[np.intp], values: NDArray[np.floating[Any]]
) -> dict[str, float]:
    return {classes[k]: float(values[k]) for k in order}


def _features(model: Model, engine: Engine, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return engine.run(pixels)[model.kind.tap].reshape(len(pixels), -1)
