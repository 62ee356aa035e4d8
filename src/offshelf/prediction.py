"""From a model and images to labels: the same functions for the command line and a server.

A model is opened on an engine once: its weights are found by their sha256 and its own
test images are run again. Only a model that still gives the scores it gave when it was
trained answers.
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
from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.weights_file import locate as weights_files
from offshelf.engine.contract import Engine, EngineOptions
from offshelf.engine.processor import computes_bfloat16
from offshelf.engine.selection.numeric_environment import made_on
from offshelf.engine.selection.select import choose, open_engine
from offshelf.errors import ModelFileError, WeightsError
from offshelf.features.extraction import Extraction, extract
from offshelf.features.reader import ReadOptions
from offshelf.heads.fitting.fit_head import decision
from offshelf.model_file.model import Model, load_model
from offshelf.progress import Progress, Silent, notifying
from offshelf.text import shown, spelled

SELF_TEST_TOLERANCE = 1e-3
HALF = ("bf16", "fp16")
COARSE_TOLERANCE = 2e-2
# Of a model that another kind of processor made. Seen on 300 images of 15-Scene: 0.06 for bf16
# in fp32; 0.40 for int8 without VNNI, where sums of two products of 8 bits are cut to 16.
ELSEWHERE = {"bf16": 0.1, "fp16": 0.1, "int8": 0.5}
ROWS_AT_A_TIME = 2048


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says of one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no label.
        reason: the same in a sentence.
        label: the class with the largest score; None without features.
        scores: class name -> decision value of the head, the largest first. These are
            distances, not probabilities: below zero a one-vs-rest head says "not this".
        probabilities: class name -> probability, in the order of the scores, with the sum
            1; {} where the model is not calibrated. Of an image that is of no class of the
            model they say nothing.
        unknown: whether the model calls the image one of no known class; ``label`` then
            names the nearest.
    """

    path: str
    status: str
    reason: str
    label: str | None
    scores: dict[str, float]
    probabilities: dict[str, float] = field(default_factory=dict)
    unknown: bool = False

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
        }


def backbone_of(
    model: Model,
    *,
    weights: str | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Backbone:
    """Find the weights that *model* was trained on; another file is never taken.

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

    Raises:
        ModelFileError: the file is not what it should be, or fails its self-test.
        WeightsError: its weights are not on this machine.
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
            difference = self_test(model, engine, str(path), _elsewhere(model, options))
        if difference > COARSE_TOLERANCE:
            progress.note(
                f"{shown(path)}: made in {model.backbone.precision} on another kind of processor: "
                f"scores of its own test images differ by {difference:.2g} here, and a few labels "
                "in a hundred may, too; a model of fp32 gives the same everywhere"
            )
    return model, backbone


def _elsewhere(model: Model, options: EngineOptions) -> bool:
    """Return whether *model* computes here as where it was made only by and large."""
    chosen, made = engine_of(model, options), model.backbone
    return made.precision != chosen.precision or made.made_on != made_on(chosen)


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


def self_test(model: Model, engine: Engine, source: str, elsewhere: bool = False) -> float:
    """Score the model's own test images again; return the largest difference.

    Args:
        model: the model.
        engine: opened for the model's tap.
        source: what messages call the model.
        elsewhere: whether another engine or kind of processor made it, or nobody knows.

    Raises:
        ModelFileError: a score differs by more than 1e-3 of the largest (of 1 where all
            are smaller). For a model of int8, bf16 or fp16 it is 2e-2; elsewhere, 0.1 for
            one of bf16 or fp16 and 0.5 for one of int8, whose bits are the processor's.
    """
    if not model.samples:
        return 0.0
    pixels = np.stack([sample.pixels for sample in model.samples])
    expected = np.stack([sample.scores for sample in model.samples])
    found = decision(model.head, _features(model, engine, pixels))
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max()) / scale
    precision = model.backbone.precision
    coarse = precision != "fp32"
    allowed = COARSE_TOLERANCE if coarse else SELF_TEST_TOLERANCE
    if coarse and elsewhere:
        allowed = ELSEWHERE[precision]
    if not difference <= allowed:
        doubt = f"; {precision} of another processor? train in fp32"
        remedy = doubt if coarse and elsewhere else ""
        raise ModelFileError(
            f"{shown(source)}: fails its self-test on this machine: scores of its own test images "
            f"differ by {difference:.2g}; the network or an engine is not what it was{remedy}"
        )
    return difference


def score_arrays(
    model: Model, engine: Engine, images: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """Return the scores of decoded RGB images, float32, N x K.

    Args:
        model: the model.
        engine: opened for the model's tap.
        images: uint8 arrays, H x W x 3.
    """
    pixels = np.stack([prepare(image, model.backbone.input) for image in images])
    return decision(model.head, _features(model, engine, pixels))


def predict_paths(
    model: Model,
    backbone: Backbone,
    paths: Sequence[str],
    options: EngineOptions | None = None,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> tuple[list[Prediction], Extraction]:
    """Label image files through the feature store; one row per path, in order.

    Args:
        model: the model.
        backbone: its network, from :func:`open_model`.
        paths: N files.
        options: engine and cache folder.
        reading: threads that read and decode, bounds on bytes and pixels, place of the store.
        progress: is told how many images are done.
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
        found = answer(model, extraction.matrix(model.kind, chunk))
        answers.update(zip(chunk.tolist(), found, strict=True))
    return answers


def answer(model: Model, features: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return ``label``, ``scores``, ``probabilities`` and ``unknown`` of each feature row.

    Args:
        model: the model.
        features: N x D float32.
    """
    scores = decision(model.head, features)
    probabilities = model.certainty.probabilities(scores)
    unknown = model.certainty.unknown(probabilities, features)
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
            }
        )
    return answers


def _named(
    classes: tuple[str, ...], order: NDArray[np.intp], values: NDArray[np.floating[Any]]
) -> dict[str, float]:
    return {classes[k]: float(values[k]) for k in order}


def _features(model: Model, engine: Engine, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return engine.run(pixels)[model.kind.tap].reshape(len(pixels), -1)
