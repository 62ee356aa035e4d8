"""The ``.offshelf`` model file: everything a prediction needs except the network's weights.

A zip of ``manifest.json``, ``head.safetensors`` and a few test images as PNG with the
scores they must get. It is checked before anything is built from it, and holds no pickle. The
weights file is named by its sha256, and never guessed. What cannot be loaded is not saved.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec
from offshelf.card import Brief
from offshelf.engine.contract import PRECISIONS, Calibration
from offshelf.errors import DataError, ModelFileError
from offshelf.features.feature_kind import FeatureKind
from offshelf.files import sha256_bytes
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.certainty_document import certainty_arrays, certainty_from_json
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.model_file import zip_file
from offshelf.model_file.specs import (
    RANDOM_SHA256,
    input_from_json,
    kind_from_json,
    spec_from_json,
    spec_to_json,
    storable_name,
)
from offshelf.text import shown

SCHEMA = 1
_NETWORK = ("network.xml", "network.bin")
_CERTAINTY = "certainty."
_OTHER_ARRAYS = {"data.seen", "samples.scores", *_NETWORK}
_TEXT = 300


@dataclass(frozen=True, kw_only=True, repr=False)
class BackboneRecord(Brief):
    """Which network and weights a model was made with.

    Attributes:
        spec: the architecture, with one weights file whose full sha256 is known.
        input: the preprocessing in force, the caller's resize included.
        trained: False for a model on random weights.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        calibrated: for int8 the network itself and the sample that set its ranges: both
            depend on the training images and cannot be made again without them.
        platform: engine, device and kind of processor that computed the features, in other
            precisions than fp32; "" where that is not known. The file calls it ``made_on``.
    """

    spec: BackboneSpec
    input: InputSpec
    trained: bool
    precision: str = "fp32"
    calibrated: Calibration | None = None
    platform: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Sample(Brief):
    """A test image that every load of the model must score as it was scored at first.

    Attributes:
        pixels: what the network saw, uint8, S x S x 3.
        scores: float32, one per class.
        label: its true class.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    label: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model(Brief):
    """A trained classifier as it is written to a file.

    Attributes:
        backbone: network, weights hash and preprocessing.
        kind: layer and pooling.
        head: the classifier on the features, with its class list.
        metrics: figures of the evaluation when it was trained; JSON.
        data: fingerprint of the images and how they were split; JSON.
        versions: of the libraries that made it.
        seen: first 8 bytes of the sha256 of every training image, uint64, sorted: an
            evaluation can tell which images the model was trained on.
        samples: the self-test.
        certainty: probabilities of the scores, and which images are unknown or unlike the
            training images; of a file from before there were any, none.
    """

    backbone: BackboneRecord
    kind: FeatureKind
    head: FittedHead
    metrics: Mapping[str, Any]
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    seen: NDArray[np.uint64]
    samples: tuple[Sample, ...]
    certainty: Certainty = field(default_factory=Certainty)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        return self.head.classes


def record(
    backbone: Backbone, precision: str = "fp32", calibrated: Calibration | None = None
) -> BackboneRecord:
    """Return what a model file keeps of *backbone*.

    Args:
        backbone: the network, with the sha256 of its weights file.
        precision: that of the features.
        calibrated: the finished int8 network; only its bytes are kept.
    """
    file = backbone.file
    weights = dataclasses.replace(
        file.spec,
        sha256=file.sha256,
        file_name=storable_name(file.spec.file_name),
        tag=storable_name(file.spec.tag) or "given",
    )
    spec = dataclasses.replace(backbone.spec, weights=(weights,))
    if calibrated is not None and calibrated.network is not None:
        calibrated = Calibration(network_digest(calibrated.network), network=calibrated.network)
    return BackboneRecord(
        spec=spec,
        input=backbone.input,
        trained=backbone.trained,
        precision=precision,
        calibrated=calibrated,
    )


def network_digest(network: tuple[bytes, bytes]) -> str:
    """Return the sha256 over an int8 network, 64 hexadecimal digits.

    It is the key of what the network computes. A key that a model file could choose would
    let a made-up network pass for one that was calibrated here, in every later job.
    """
    return sha256_bytes("".join(map(sha256_bytes, network)).encode())


def save_model(model: Model, path: str | Path) -> Path:
    """Write *model* to *path*, whole or not at all, and return the path.

    Raises:
        ModelFileError: the file cannot be written there, or would not load.
    """
    arrays, head = pack_head(model.head)
    calibrated = model.backbone.calibrated
    manifest = {
        "schema": SCHEMA,
        "backbone": {
            "spec": spec_to_json(model.backbone.spec),
            "input": model.backbone.input.to_json(),
            "trained": model.backbone.trained,
            "precision": model.backbone.precision,
            "calibration": calibrated.digest if calibrated else "",
            **({"made_on": model.backbone.platform} if model.backbone.platform else {}),
        },
        "features": dataclasses.asdict(model.kind) | {"dimension": model.head.dimension},
        "head": head,
        "certainty": model.certainty.to_json(),
        "metrics": dict(model.metrics),
        "data": dict(model.data),
        "versions": dict(model.versions),
        "samples": [{"label": sample.label} for sample in model.samples],
    }
    tensors: dict[str, NDArray[Any]] = {f"head.{name}": one for name, one in arrays.items()}
    tensors["data.seen"] = model.seen
    for name, one in certainty_arrays(model.certainty).items():
        tensors[f"{_CERTAINTY}{name}"] = one
    if calibrated and calibrated.network:
        for part, content in zip(_NETWORK, calibrated.network, strict=True):
            tensors[part] = np.frombuffer(content, np.uint8)
    if model.samples:
        tensors["samples.scores"] = np.stack([sample.scores for sample in model.samples])
    pictures = [sample.pixels for sample in model.samples]
    # As JSON gives it back: lists for tuples.
    as_read = json.loads(json.dumps(manifest, allow_nan=False))
    inspect(Path(path), (as_read, tensors, pictures))
    return zip_file.write(Path(path), manifest, tensors, pictures)


def load_model(path: str | Path) -> Model:
    """Read a model file and check all that can be checked without running it.

    Returns:
        The classifier: its head takes D float32 features of an image and gives K float32
        scores, one per class. :func:`offshelf.prediction.open_model` also finds its weights.

    Raises:
        ModelFileError: it is missing, damaged, of another schema, or contains what a model
            file cannot contain.

    >>> load_model("none.offshelf")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.ModelFileError: none.offshelf: no such model file; 'offshelf fit ...
    """
    source = Path(path)
    return inspect(source, zip_file.read(source, SCHEMA))


def inspect(source: Path, parts: zip_file.Contents) -> Model:
    """Build a model from the parts of the file *source*, trusting none of them.

    Raises:
        ModelFileError: the parts do not make a model.
    """
    name = shown(source)
    try:
        return _build(*parts)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {_brief(error)}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {_brief(error)}"
        raise ModelFileError(
            f"{name}: its manifest does not describe a model ({reason})"
        ) from error


def _brief(error: Exception) -> str:
    # A made-up manifest can bring any text into a message.
    text = shown(" ".join(str(error).split()))
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def _build(
    manifest: dict[str, Any],
    tensors: dict[str, NDArray[Any]],
    pictures: list[NDArray[np.uint8]],
) -> Model:
    of_head = [name for name in tensors if name.startswith("head.")]
    arrays = {name.removeprefix("head."): tensors[name] for name in of_head}
    of_certainty = {name for name in tensors if name.startswith(_CERTAINTY)}
    if unexpected := set(tensors) - {*of_head, *of_certainty, *_OTHER_ARRAYS}:
        raise ModelFileError(f"contains {len(unexpected)} unexpected arrays")
    head = unpack_head(arrays, manifest["head"], "its contents")
    features = dict(manifest["features"])
    if features.pop("dimension") != head.dimension:
        raise ModelFileError("the head does not fit the dimension in the manifest")
    backbone = _backbone(manifest["backbone"], tensors)
    return Model(
        backbone=backbone,
        kind=kind_from_json(features),
        head=head,
        metrics=_object("metrics", manifest),
        data=_object("data", manifest),
        versions=_object("versions", manifest),
        seen=_seen(tensors),
        samples=_samples(manifest["samples"], tensors, pictures, head, backbone.input),
        certainty=_certainty(manifest.get("certainty"), tensors, head),
    )


def _backbone(document: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> BackboneRecord:
    spec, trained = spec_from_json(document["spec"]), document["trained"]
    if not isinstance(trained, bool) or trained == (spec.weights[0].sha256 == RANDOM_SHA256):
        raise ValueError("weights and 'trained' contradict each other")
    precision = document["precision"]
    if precision not in PRECISIONS:
        raise ValueError("no such precision")
    calibrated = _calibrated(document["calibration"], tensors) if precision == "int8" else None
    platform = document.get("made_on", "")
    if not isinstance(platform, str):
        raise ValueError("'made_on' is no text")
    return BackboneRecord(
        spec=spec,
        input=input_from_json(document["input"]),
        trained=trained,
        precision=precision,
        calibrated=calibrated,
        platform=platform,
    )


def _calibrated(digest: Any, tensors: dict[str, NDArray[Any]]) -> Calibration:
    parts = [tensors[name] for name in _NETWORK]
    if any(part.dtype != np.uint8 or part.ndim != 1 for part in parts):
        raise ValueError("the int8 network is no bytes")
    network = (parts[0].tobytes(), parts[1].tobytes())
    if digest != network_digest(network):
        raise ValueError("the int8 network has another digest")
    return Calibration(digest, network=network)


def _object(key: str, manifest: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(manifest[key], dict):
        raise ValueError(f"{key} is no object")
    return dict(manifest[key])


def _certainty(document: Any, tensors: dict[str, NDArray[Any]], head: FittedHead) -> Certainty:
    arrays = {
        name.removeprefix(_CERTAINTY): one
        for name, one in tensors.items()
        if name.startswith(_CERTAINTY)
    }
    try:
        return certainty_from_json(document, arrays, len(head.classes), head.dimension)
    except DataError as error:
        raise ModelFileError(str(error)) from error


def _seen(tensors: dict[str, NDArray[Any]]) -> NDArray[np.uint64]:
    seen = tensors["data.seen"]
    if seen.dtype != np.uint64 or seen.ndim != 1:
        raise ModelFileError("its list of training images is no list of hashes")
    return seen


def _samples(
    rows: Any,
    tensors: dict[str, NDArray[Any]],
    pictures: list[NDArray[np.uint8]],
    head: FittedHead,
    preprocessing: InputSpec,
) -> tuple[Sample, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("samples is no list of objects")
    blank = np.empty((0, len(head.classes)), np.float32)
    scores = tensors.get("samples.scores", blank)
    square = (preprocessing.size, preprocessing.size, 3)
    fits = scores.shape == (len(rows), len(head.classes)) and len(pictures) == len(rows)
    if not fits or any(picture.shape != square for picture in pictures):
        raise ModelFileError("its test images do not fit its classes or its input size")
    if scores.dtype != np.float32 or not np.isfinite(scores).all():
        raise ModelFileError("the scores of its test images are not finite float32 numbers")
    labels = [row["label"] for row in rows]
    if not set(labels) <= set(head.classes):
        raise ModelFileError("a test image is of none of its classes")
    return tuple(map(Sample, pictures, scores, labels))
