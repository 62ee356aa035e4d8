"""The features of a model: which networks and layers, as its file states them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec
from offshelf.card import Brief
from offshelf.engine.contract import PRECISIONS, Calibration
from offshelf.feature_sets.feature_set import FLIPS, NO_FLIPS, FeatureSet, Joining
from offshelf.feature_sets.notation import (
    MAX_PARTS,
    PART_NORMALISATIONS,
    PLAIN,
    NamedPart,
    PartNormalisation,
    spoken,
    written,
)
from offshelf.features.feature_kind import FeatureKind
from offshelf.files import sha256_bytes
from offshelf.heads.options import MAX_SEED
from offshelf.model_file.specs import (
    RANDOM_SHA256,
    input_from_json,
    kind_from_json,
    spec_from_json,
    spec_to_json,
    storable_name,
)

Tensors = Mapping[str, NDArray[Any]]


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


@dataclass(frozen=True)
class PartRecord:
    """The features of one layer.

    Attributes:
        network: which of the networks, from 0.
        kind: layer and pooling.
        normalisation: of each row before parts are joined.
    """

    network: int
    kind: FeatureKind
    normalisation: PartNormalisation = PLAIN


@dataclass(frozen=True, kw_only=True, repr=False)
class FeatureRecord(Brief):
    """The features that a model was trained on; see :class:`.FeatureSet`.

    Attributes:
        networks: at least one.
        parts: layers of these, at least one.
        product: whether the parts are multiplied.
        flips: where mirror images are used.
        seed: of the product.
    """

    networks: tuple[BackboneRecord, ...]
    parts: tuple[PartRecord, ...]
    product: bool = False
    flips: str = NO_FLIPS
    seed: int = 0

    @classmethod
    def of_layer(cls, backbone: BackboneRecord, kind: FeatureKind) -> FeatureRecord:
        """Return the features of one layer of one network."""
        return cls(networks=(backbone,), parts=(PartRecord(0, kind),))

    @classmethod
    def of(
        cls, features: FeatureSet, network: Callable[[Backbone], BackboneRecord]
    ) -> FeatureRecord:
        """Return what a file keeps of *features*, each of whose backbones *network* records."""
        numbers = {backbone: number for number, backbone in enumerate(features.backbones)}
        parts = (PartRecord(numbers[p.backbone], p.kind, p.normalisation) for p in features.parts)
        return cls(
            networks=tuple(map(network, features.backbones)),
            parts=tuple(parts),
            product=features.product,
            flips=features.flips,
            seed=features.seed,
        )

    def __str__(self) -> str:
        return written(self._named(), self.product)

    @property
    def title(self) -> str:
        """Networks, layers and poolings, for a person."""
        return spoken(self._named(), self.product)

    def _named(self) -> list[NamedPart]:
        named = []
        for part in self.parts:
            network = self.networks[part.network]
            own = network.spec.weights[0].input.size
            named.append(
                NamedPart(
                    backbone=network.spec.name,
                    size=None if network.input.size == own else network.input.size,
                    layer=part.kind.layer,
                    pooling=part.kind.pooling,
                    normalisation=part.normalisation,
                )
            )
        return named

    @property
    def plain(self) -> bool:
        """Whether it is one layer and nothing else, as files of schema 1 hold it."""
        joining = Joining(tuple(p.normalisation for p in self.parts), self.product, self.seed)
        return joining == Joining((PLAIN,), seed=self.seed) and self.flips == NO_FLIPS

    @property
    def trained(self) -> bool:
        """False where a network has random weights."""
        return all(network.trained for network in self.networks)


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


def features_to_json(features: FeatureRecord, dimension: int) -> dict[str, Any]:
    """Return the members of the manifest that state the features, D of an image."""
    networks = [_network_to_json(one) for one in features.networks]
    if features.plain:
        kind = dataclasses.asdict(features.parts[0].kind)
        return {"backbone": networks[0], "features": kind | {"dimension": dimension}}
    parts = [
        {"network": part.network, "normalisation": part.normalisation}
        | dataclasses.asdict(part.kind)
        for part in features.parts
    ]
    document = {
        "parts": parts,
        "product": features.product,
        "flips": features.flips,
        "seed": features.seed,
        "dimension": dimension,
    }
    return {"networks": networks, "features": document}


def features_from_json(manifest: dict[str, Any], tensors: Tensors) -> tuple[FeatureRecord, int]:
    """Build the features, and D of an image, from an untrusted manifest.

    Raises:
        ValueError: a member is missing, of another type or out of its pattern.
    """
    document = dict(manifest["features"])
    dimension = document.pop("dimension")
    if type(dimension) is not int or dimension < 1:
        raise ValueError("no such dimension")
    if "networks" not in manifest:
        network = _network(manifest["backbone"], tensors, 0)
        return FeatureRecord.of_layer(network, kind_from_json(document)), dimension
    listed, parts = manifest["networks"], document["parts"]
    for many in (listed, parts):
        if not isinstance(many, list) or not 1 <= len(many) <= MAX_PARTS:
            raise ValueError("the networks or parts are no list of such length")
    networks = tuple(_network(one, tensors, number) for number, one in enumerate(listed))
    product, flips, seed = document["product"], document["flips"], document["seed"]
    if type(product) is not bool or flips not in FLIPS or not _is_seed(seed):
        raise ValueError("the joining of the parts is invalid")
    found = FeatureRecord(
        networks=networks,
        parts=tuple(_part(one, len(networks)) for one in parts),
        product=product,
        flips=flips,
        seed=seed,
    )
    if {part.network for part in found.parts} != set(range(len(networks))):
        raise ValueError("a network has no part")
    if found.plain or (product and len(parts) < 2) or len(set(found.parts)) < len(parts):
        raise ValueError("the parts are not what a file states in this way")
    return found, dimension


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_SEED


def _part(document: Any, networks: int) -> PartRecord:
    rest = dict(document)
    network, normalisation = rest.pop("network"), rest.pop("normalisation")
    if type(network) is not int or not 0 <= network < networks:
        raise ValueError("a part is of no network")
    if normalisation not in PART_NORMALISATIONS:
        raise ValueError("no such normalisation of a part")
    return PartRecord(network, kind_from_json(rest), normalisation)


def network_arrays(number: int) -> tuple[str, str]:
    """Return the names of the two arrays that hold an int8 network.

    >>> network_arrays(0), network_arrays(1)
    (('network.xml', 'network.bin'), ('network.1.xml', 'network.1.bin'))
    """
    middle = f".{number}" if number else ""
    return f"network{middle}.xml", f"network{middle}.bin"


def feature_arrays(features: FeatureRecord) -> dict[str, NDArray[Any]]:
    """Return the arrays of the int8 networks."""
    return {
        name: np.frombuffer(content, np.uint8)
        for number, one in enumerate(features.networks)
        if one.calibrated and one.calibrated.network
        for name, content in zip(network_arrays(number), one.calibrated.network, strict=True)
    }


def _network_to_json(one: BackboneRecord) -> dict[str, Any]:
    return {
        "spec": spec_to_json(one.spec),
        "input": one.input.to_json(),
        "trained": one.trained,
        "precision": one.precision,
        "calibration": one.calibrated.digest if one.calibrated else "",
        **({"made_on": one.platform} if one.platform else {}),
    }


def _network(document: dict[str, Any], tensors: Tensors, number: int) -> BackboneRecord:
    spec, trained = spec_from_json(document["spec"]), document["trained"]
    if not isinstance(trained, bool) or trained == (spec.weights[0].sha256 == RANDOM_SHA256):
        raise ValueError("weights and 'trained' contradict each other")
    precision = document["precision"]
    if precision not in PRECISIONS:
        raise ValueError("no such precision")
    calibrated = None
    if precision == "int8":
        calibrated = _calibrated(document["calibration"], tensors, network_arrays(number))
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


def _calibrated(digest: Any, tensors: Tensors, names: tuple[str, str]) -> Calibration:
    parts = [tensors[name] for name in names]
    if any(part.dtype != np.uint8 or part.ndim != 1 for part in parts):
        raise ValueError("the int8 network is no bytes")
    network = (parts[0].tobytes(), parts[1].tobytes())
    if digest != network_digest(network):
        raise ValueError("the int8 network has another digest")
    return Calibration(digest, network=network)
