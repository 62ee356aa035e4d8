"""The ``.offshelf`` model file: everything a prediction needs except the network's weights.

A zip of ``manifest.json``, ``head.safetensors`` and a few test images as PNG with the
scores they must get. It is checked before anything is built from it, and holds no pickle. The
weights file is named by its sha256, and never guessed. What cannot be loaded is not saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.data.tables.label_sets import label_set
from offshelf.errors import DataError, ModelFileError
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.certainty_document import certainty_arrays, certainty_from_json
from offshelf.heads.probabilities.decision_rule import DecisionRule
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.model_file import zip_file
from offshelf.model_file.feature_record import (
    BackboneRecord,
    FeatureRecord,
    feature_arrays,
    features_from_json,
    features_to_json,
)
from offshelf.model_file.saved_rule import read_rule
from offshelf.text import shown

# Files of one layer, without mirror images or a rule, are those that any version reads.
SCHEMAS = PLAIN_SCHEMA, SCHEMA = 1, 2
_CERTAINTY = "certainty."
_OTHER_ARRAYS = {"data.seen", "samples.scores"}
_TEXT = 300


@dataclass(frozen=True, eq=False, repr=False)
class Sample(Brief):
    """A test image that every load of the model must score as it was scored at first.

    Attributes:
        pixels: what the first network saw, uint8, S x S x 3.
        scores: float32, one per class.
        label: its true class.
        others: what each other network saw, in their order.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    label: str
    others: tuple[NDArray[np.uint8], ...] = ()

    @property
    def pictures(self) -> tuple[NDArray[np.uint8], ...]:
        """What each network saw."""
        return (self.pixels, *self.others)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model(Brief):
    """A trained classifier as it is written to a file.

    Attributes:
        features: networks, weights hashes, preprocessing and layers.
        head: the classifier on the features, with its class list.
        metrics: figures of the evaluation when it was trained; JSON.
        data: fingerprint of the images and how they were split; JSON.
        versions: of the libraries that made it.
        seen: first 8 bytes of the sha256 of every training image, uint64, sorted: an
            evaluation can tell which images the model was trained on.
        samples: the self-test.
        certainty: probabilities of the scores, and which images are unknown or unlike the
            training images; of a file from before there were any, none.
        rule: what decides the label in place of the largest score; None for nothing.
    """

    features: FeatureRecord
    head: FittedHead
    metrics: Mapping[str, Any]
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    seen: NDArray[np.uint64]
    samples: tuple[Sample, ...]
    certainty: Certainty = field(default_factory=Certainty)
    rule: DecisionRule | None = None

    @property
    def backbone(self) -> BackboneRecord:
        """The first network."""
        return self.features.networks[0]

    @property
    def kind(self) -> FeatureKind:
        """The features of the first part."""
        return self.features.parts[0].kind

    @property
    def schema(self) -> int:
        """That of its file: older offshelfs refuse what they would answer otherwise."""
        return PLAIN_SCHEMA if self.features.plain and self.rule is None else SCHEMA

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the scores."""
        return self.head.classes


def save_model(model: Model, path: str | Path) -> Path:
    """Write *model* to *path*, whole or not at all, and return the path.

    Raises:
        ModelFileError: the file cannot be written there, or would not load.
    """
    arrays, head = pack_head(model.head)
    manifest = {
        "schema": model.schema,
        **features_to_json(model.features, model.head.dimension),
        "head": head,
        "certainty": model.certainty.to_json(),
        **({"decision": model.rule.to_json()} if model.rule else {}),
        "metrics": dict(model.metrics),
        "data": dict(model.data),
        "versions": dict(model.versions),
        "samples": [{"label": sample.label} for sample in model.samples],
    }
    tensors: dict[str, NDArray[Any]] = {f"head.{name}": one for name, one in arrays.items()}
    tensors["data.seen"] = model.seen
    for name, one in certainty_arrays(model.certainty).items():
        tensors[f"{_CERTAINTY}{name}"] = one
    tensors |= feature_arrays(model.features)
    if model.samples:
        tensors["samples.scores"] = np.stack([sample.scores for sample in model.samples])
    pictures = [picture for sample in model.samples for picture in sample.pictures]
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
    return inspect(source, zip_file.read(source, SCHEMAS))


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
    head = unpack_head(arrays, manifest["head"], "its contents")
    features, dimension = features_from_json(manifest, tensors)
    if dimension != head.dimension:
        raise ModelFileError("the head does not fit the dimension in the manifest")
    known = {*of_head, *of_certainty, *feature_arrays(features), *_OTHER_ARRAYS}
    if unexpected := set(tensors) - known:
        raise ModelFileError(f"contains {len(unexpected)} unexpected arrays")
    certainty = _certainty(manifest.get("certainty"), tensors, head)
    return Model(
        features=features,
        head=head,
        metrics=_object("metrics", manifest),
        data=_object("data", manifest),
        versions=_object("versions", manifest),
        seen=_seen(tensors),
        samples=_samples(manifest["samples"], tensors, pictures, head, features),
        certainty=certainty,
        rule=read_rule(manifest.get("decision"), head, certainty),
    )


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
    features: FeatureRecord,
) -> tuple[Sample, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("samples is no list of objects")
    blank = np.empty((0, len(head.classes)), np.float32)
    scores = tensors.get("samples.scores", blank)
    sides = [network.input.size for network in features.networks]
    shapes = [(side, side, 3) for side in sides] * len(rows)
    fits = scores.shape == (len(rows), len(head.classes))
    if not fits or [picture.shape for picture in pictures] != shapes:
        raise ModelFileError("its test images do not fit its classes or its input size")
    if scores.dtype != np.float32 or not np.isfinite(scores).all():
        raise ModelFileError("the scores of its test images are not finite float32 numbers")
    labels, known = [row["label"] for row in rows], set(head.classes)
    # Of several labels, or none, the text has them all.
    several = head.decisions is not None
    if not {one for text in labels for one in (label_set(text) if several else (text,))} <= known:
        raise ModelFileError("a test image is of none of its classes")
    seen = [pictures[start : start + len(sides)] for start in range(0, len(pictures), len(sides))]
    return tuple(
        Sample(first, own, label, tuple(others))
        for (first, *others), own, label in zip(seen, scores, labels, strict=True)
    )
