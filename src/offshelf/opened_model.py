"""Opening of a model file: its weights, its engine, and its self-test.

A model only answers if its own test images still get the scores that they got when it was
trained, within a tolerance.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.weights_file import locate as weights_files
from offshelf.engine.contract import Engine, EngineOptions
from offshelf.engine.processor import computes_bfloat16
from offshelf.engine.selection import choose, open_engine, platform_of
from offshelf.errors import ModelFileError, WeightsError
from offshelf.feature_sets.feature_set import FeaturePart, FeatureSet, Matrix
from offshelf.features.feature_kind import FeatureKind
from offshelf.files import sha256_file
from offshelf.heads.fitting.fit_head import averaged_decision
from offshelf.model_file.feature_record import BackboneRecord
from offshelf.model_file.model import Model, load_model
from offshelf.progress import Progress, Silent, notifying
from offshelf.text import shown

Parts = dict[tuple[Backbone, FeatureKind], Matrix]
HALF = ("bf16", "fp16")
# Tolerances of the self-test, as a share of the largest score: in fp32, in other precisions,
# and in those on another platform than the model was trained on. Seen there on 300 images of
# 15-Scene: 0.06 for bf16 in fp32; 0.40 for int8 without VNNI, where sums of two products of
# 8 bits are cut to 16.
FP32_TOLERANCE, TOLERANCE = 1e-3, 2e-2
OTHER_PLATFORM_TOLERANCE = {"bf16": 0.1, "fp16": 0.1, "int8": 0.5}


def features_of(
    model: Model,
    *,
    weights: str | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> FeatureSet:
    """Find the weights that *model* was trained on; another file is never taken.

    Args:
        model: a loaded model file.
        weights: their file, where it is in none of the usual places; of several networks, that
            of the one that it belongs to.
        cache_dir: the root of offshelf's own folders.
        progress: receives notes.

    Raises:
        WeightsError: no file with the model's sha256 is on this machine.
    """
    record = model.features
    backbones = [
        _backbone(one, weights, cache_dir, progress, len(record.networks) > 1)
        for one in record.networks
    ]
    parts = (FeaturePart(backbones[p.network], p.kind, p.normalisation) for p in record.parts)
    return FeatureSet(tuple(parts), record.product, record.flips, record.seed)


def _backbone(
    network: BackboneRecord,
    weights: str | None,
    cache_dir: str | Path | None,
    progress: Progress | None,
    several: bool,
) -> Backbone:
    spec, expected = network.spec, network.spec.weights[0].sha256
    if several and weights is not None and not _is_file_of(weights, expected):
        weights = None
    chosen = weights if network.trained else "random"
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
    return Backbone(spec, file, network.input)


def _is_file_of(weights: str, digest: str) -> bool:
    try:
        return sha256_file(Path(weights)) == digest
    except OSError:
        return False


def engine_of(network: BackboneRecord, options: EngineOptions) -> EngineOptions:
    """Return *options* with the precision that a network of a model was run in.

    An int8 network comes with the model. One of bf16 or fp16 runs in fp32 where the processor or
    device has neither; the model's self-test allows for that.
    """
    precision = network.precision
    if precision in HALF and not _has(precision, *choose(options)):
        precision = "fp32"
    return dataclasses.replace(options, precision=precision, calibration=network.calibrated)


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
    several: bool = False,
) -> tuple[Model, FeatureSet]:
    """Load a model file, find its weights, and run its self-test.

    Args:
        path: a ``.offshelf`` file.
        weights: the weights file, where it is in none of the usual places.
        options: engine, device and cache folder; the precision is the model's.
        progress: receives notes.
        several: whether a model of several labels for each image is taken, too.

    Returns:
        The model, and its features: networks with the weights that it was trained on.

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
    _check_answers(model, path, several)
    features = features_of(model, weights=weights, cache_dir=options.cache_dir, progress=progress)
    for backbone in features.backbones:
        backbone.note_untrained(progress)
    if model.samples or any(one.calibrated for one in model.features.networks):
        with notifying(progress):
            difference = self_test(model, features, options, str(path))
        if difference > TOLERANCE:
            progress.note(
                f"{shown(path)}: made in {_precision(model)} on another kind of processor: "
                f"scores of its own test images differ by {difference:.2g} here, and a few labels "
                "in a hundred may, too; a model of fp32 gives the same everywhere"
            )
    return model, features


def _check_answers(model: Model, path: str | Path, several: bool) -> None:
    if model.head.decisions is not None and not several:
        raise ModelFileError(
            f"{shown(path)}: gives several labels of each image, and this takes a model of one; "
            "predict, evaluate and show take it"
        )


def _precision(model: Model) -> str:
    """Return the precision of the networks that is the least exact."""
    found = {one.precision for one in model.features.networks}
    return max(found, key=lambda one: OTHER_PLATFORM_TOLERANCE.get(one, 0.0))


def other_platform(network: BackboneRecord, options: EngineOptions) -> bool:
    """Return whether a network was run on another platform, or in a precision not had here."""
    chosen = engine_of(network, options)
    return network.precision != chosen.precision or network.platform != platform_of(chosen)


def self_test(model: Model, features: FeatureSet, options: EngineOptions, source: str) -> float:
    """Score the model's own test images again; return the largest difference.

    Args:
        model: the model, with its test images (uint8, S x S x 3) and their scores.
        features: its networks, from :func:`features_of`.
        options: engine, device and cache folder.
        source: what messages call the model.

    Returns:
        The largest difference of a score, as a share of the largest score (of 1 where all are
        smaller).

    Raises:
        ModelFileError: that is more than 1e-3. For a model of int8, bf16 or fp16 it may be
            2e-2; on another platform, 0.1 for bf16 and fp16 and 0.5 for int8.
    """
    rows, mirrors = _sample_features(model, features, options, source)
    if not model.samples:
        return 0.0
    expected = np.stack([sample.scores for sample in model.samples])
    found = averaged_decision(model.head, rows, mirrors)
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max()) / scale
    precision = _precision(model)
    allowed, remedy = FP32_TOLERANCE if precision == "fp32" else TOLERANCE, ""
    other = any(other_platform(one, options) for one in model.features.networks)
    if other and precision != "fp32":
        allowed = OTHER_PLATFORM_TOLERANCE[precision]
        remedy = f"; {precision} of another processor? train in fp32"
    if not difference <= allowed:
        raise ModelFileError(
            f"{shown(source)}: fails its self-test on this machine: scores of its own test images "
            f"differ by {difference:.2g}; the network or an engine is not what it was{remedy}"
        )
    return difference


def _sample_features(
    model: Model, features: FeatureSet, options: EngineOptions, source: str
) -> tuple[Matrix, Matrix | None]:
    """Return the features of the model's own test images, and of their mirror images."""
    found: Parts = {}
    flipped: Parts = {}
    for number, (backbone, network) in enumerate(networks_of(model, features).items()):
        kinds, side = features.kinds_of(backbone), backbone.input.size
        pictures = [sample.pictures[number] for sample in model.samples]
        pixels = np.stack(pictures) if pictures else np.empty((0, side, side, 3), np.uint8)
        with contextlib.closing(_engine(network, backbone, kinds, options, source)) as engine:
            found |= _seen(engine, backbone, kinds, pixels)
            if features.averages:
                flipped |= _seen(engine, backbone, kinds, pixels[:, :, ::-1])
    joined = _joined(features, found)
    if joined.shape[1] != model.head.dimension:
        raise ModelFileError(
            f"{shown(source)}: its network gives {joined.shape[1]} features, its head takes "
            f"{model.head.dimension}"
        )
    return joined, _joined(features, flipped) if features.averages else None


def _joined(features: FeatureSet, found: Parts) -> Matrix:
    return features.joining.join([found[part.backbone, part.kind] for part in features.parts])


def _seen(
    engine: Engine, backbone: Backbone, kinds: Sequence[FeatureKind], pixels: NDArray[np.uint8]
) -> Parts:
    """Return the features of network inputs N x S x S x 3; N may be 0."""
    shapes = {kind: (0, *engine.shapes[kind.tap]) for kind in kinds}
    made = engine.run(pixels) if len(pixels) else {}
    rows = {kind: made.get(kind.tap, np.empty(shape, np.float32)) for kind, shape in shapes.items()}
    return {
        (backbone, kind): values.reshape(len(pixels), int(np.prod(shapes[kind][1:])))
        for kind, values in rows.items()
    }


def networks_of(model: Model, features: FeatureSet) -> dict[Backbone, BackboneRecord]:
    """Return each network of a model with its record, in order."""
    pairs = zip(features.parts, model.features.parts, strict=True)
    numbers = {part.backbone: recorded.network for part, recorded in pairs}
    ordered = sorted(numbers, key=lambda backbone: numbers[backbone])
    return {backbone: model.features.networks[numbers[backbone]] for backbone in ordered}


def _engine(
    network: BackboneRecord,
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    options: EngineOptions,
    source: str,
) -> Engine:
    """Open the engine for the layers of one network; one that the file brings may be anything."""
    try:
        return open_engine(backbone, [kind.tap for kind in kinds], engine_of(network, options))
    except (RuntimeError, ValueError) as error:
        if network.calibrated is None:
            raise
        raise ModelFileError(f"{shown(source)}: its int8 network cannot be run") from error
