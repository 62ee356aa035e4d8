"""Small model files made by the tests, and ways to tamper with them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.specification.spec import InputSpec
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.head import FittedHead
from offshelf.model_file.feature_record import BackboneRecord, FeatureRecord
from offshelf.model_file.model import Model, Sample

EPOCH = (1980, 1, 1, 0, 0, 0)
SIDE, DIMENSION = 8, 5


def made_model(classes: tuple[str, ...] = ("cat", "dog", "owl"), samples: int = 2) -> Model:
    """A model with everything a file holds, that no network was needed for."""
    draw = np.random.default_rng(0)
    spec = get_spec("efficientnet_lite0")
    weights = dataclasses.replace(spec.weights[0], sha256="5" * 64)
    arrays = {
        "weight": draw.normal(size=(len(classes), DIMENSION)).astype(np.float32),
        "bias": draw.normal(size=len(classes)).astype(np.float32),
    }
    return Model(
        features=FeatureRecord.of_layer(
            BackboneRecord(
                spec=dataclasses.replace(spec, weights=(weights,)),
                input=InputSpec(SIDE),
                trained=True,
            ),
            FeatureKind("penultimate", "global_pool", "avg"),
        ),
        head=FittedHead("svm", classes, arrays, {"C": 1.0}, "l2", ("a note",)),
        metrics={"accuracy": 0.5},
        data={"n_images": 7},
        versions={"offshelf": "0"},
        seen=np.array([3, 2**64 - 1], np.uint64),
        samples=tuple(
            Sample(
                draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8),
                draw.normal(size=len(classes)).astype(np.float32),
                classes[number % len(classes)],
            )
            for number in range(samples)
        ),
    )


def with_network(model: Model, network: BackboneRecord) -> Model:
    """The model on one layer of another network."""
    return dataclasses.replace(model, features=FeatureRecord.of_layer(network, model.kind))


def members_of(path: Path) -> dict[str, bytes]:
    """The parts of a zip, in order."""
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip of *members* to *path*."""
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(zipfile.ZipInfo(name, EPOCH), content, compression)
    return path


def rehashed(members: dict[str, bytes]) -> dict[str, bytes]:
    """The same parts with a manifest whose hashes fit: what somebody who tampers does."""
    document = json.loads(members["manifest.json"])
    document["sha256"] = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in members.items()
        if name != "manifest.json"
    }
    return members | {"manifest.json": json.dumps(document).encode()}


def tampered(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Rewrite a model file after *change* was called with its manifest."""
    members = members_of(path)
    document = json.loads(members["manifest.json"])
    change(document)
    return zipped(path, members | {"manifest.json": json.dumps(document).encode()})


def with_tensors(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Rewrite a model file after *change* was called with its arrays; hashes are mended."""
    from safetensors.numpy import load, save

    members = members_of(path)
    tensors = {name: np.array(array) for name, array in load(members["head.safetensors"]).items()}
    change(tensors)
    return zipped(path, rehashed(members | {"head.safetensors": save(tensors)}))
