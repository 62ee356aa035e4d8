"""Specs of any network of timm and torchvision, and the class names of ImageNet."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

from offshelf.backbones.catalogue.published_weights import TIMM_URL
from offshelf.backbones.construct.torch_context import import_timm, import_torchvision
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec, WeightsSpec
from offshelf.errors import BackboneError, did_you_mean

# These two normalise their input once more when built with their published weights. As
# offshelf builds them without, the same pixels come from these statistics: the ImageNet
# scaling is undone and (0.5, 0.5) applied.
_NORMALISED_TWICE = ("googlenet", "inception_v3")
_HALF = (0.5, 0.5, 0.5)


def library_spec(library: str, architecture: str) -> BackboneSpec:
    """Return the spec of a network that is in no catalogue.

    Args:
        library: ``timm`` or ``torchvision``.
        architecture: the library's name; timm's may end in ``.TAG``, the training.

    Raises:
        BackboneError: the library has no such network, or it cannot be used here.

    >>> library_spec("timm", "resnet10t").weights[0].file_name
    'resnet10t.c3_in1k.safetensors'
    """
    return _timm(architecture) if library == "timm" else _torchvision(architecture)


def published_prefix(file_name: str) -> str:
    """Return the beginning of the sha256 that torch's file names carry, or "".

    >>> published_prefix("resnet50-11ad3fa6.pth")
    '11ad3fa6'
    """
    found = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", file_name)
    return found[1] if found else ""


def _timm(architecture: str) -> BackboneSpec:
    timm = import_timm()
    name = f"timm/{architecture}"
    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        raise BackboneError(f"no backbone {name!r}.{did_you_mean(base, timm.list_models())}")
    try:
        config = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        trained = [full for full in timm.list_pretrained() if full.partition(".")[0] == base]
        raise BackboneError(
            f"{name}: timm knows no training {tag!r} of {base}; it has {', '.join(trained)}"
        ) from error
    if config is None:
        raise BackboneError(f"{name}: timm states no preprocessing for it, so it cannot be used")
    full = f"{base}.{config.tag}" if config.tag else base
    return BackboneSpec(name, "timm", full, (_timm_weights(name, full, config),))


def _timm_weights(name: str, architecture: str, config: Any) -> WeightsSpec:
    _, height, width = config.input_size
    if height != width:
        raise BackboneError(f"{name}: its input of {height} x {width} pixels is not square")
    url, file_name = _timm_origin(config, architecture)
    return WeightsSpec(
        tag=config.tag or "default",
        file_name=file_name,
        input=InputSpec(
            size=height,
            interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
            crop_share=min(1.0, config.crop_pct),
            mean=tuple(config.mean),
            std=tuple(config.std),
        ),
        sha256=published_prefix(file_name),
        url=url,
        licence=config.license or "not stated",
    )


def _timm_origin(config: Any, architecture: str) -> tuple[str, str]:
    if config.hf_hub_id:
        repository = config.hf_hub_id.rsplit("/", 1)[-1]
        return TIMM_URL.format(hub=config.hf_hub_id), f"{repository}.safetensors"
    # Arrays of NumPy (.npz) are in another framework's layout.
    if config.url and not config.url.endswith(".npz"):
        return config.url, config.url.rsplit("/", 1)[-1]
    return "", f"{architecture}.safetensors"


def _torchvision(architecture: str) -> BackboneSpec:
    models = import_torchvision().models
    name = f"torchvision/{architecture}"
    known = models.list_models(module=models)
    if architecture not in known:
        raise BackboneError(f"no backbone {name!r}.{did_you_mean(architecture, known)}")
    enumeration = models.get_model_weights(architecture)
    preferred = enumeration.DEFAULT
    parameters = preferred.meta["num_params"]
    # A training at another resolution can need another network (position embeddings).
    files = [one for one in enumeration if one.meta["num_params"] == parameters]
    files.sort(key=lambda one: one is not preferred)
    weights = tuple(_torchvision_weights(architecture, one) for one in files)
    return BackboneSpec(
        name=name,
        source="torchvision",
        architecture=architecture,
        weights=weights,
        parameters=parameters,
        channels_last=architecture.startswith("swin"),
    )


def _torchvision_weights(architecture: str, published: Any) -> WeightsSpec:
    transforms = published.transforms()
    twice = architecture in _NORMALISED_TWICE
    size, scaled = transforms.crop_size[0], transforms.resize_size[0]
    file_name = published.url.rsplit("/", 1)[-1]
    bicubic = transforms.interpolation.value == "bicubic"
    return WeightsSpec(
        tag=published.name.lower(),
        file_name=file_name,
        input=InputSpec(
            size=size,
            interpolation="bicubic" if bicubic else "bilinear",
            crop_share=min(1.0, size / scaled),
            mean=_HALF if twice else tuple(transforms.mean),
            std=_HALF if twice else tuple(transforms.std),
        ),
        sha256=published_prefix(file_name),
        size=round(published.meta["_file_size"] * 2**20),
        url=published.url,
        licence=f"see {published.meta['license']}"
        if "license" in published.meta
        else "BSD-3-Clause",
    )


CLASSES = 1000
_LIST = "_IMAGENET_CATEGORIES"


@functools.cache
def class_names() -> tuple[str, ...]:
    """Return the names by class number; no two are the same.

    >>> names = class_names()
    >>> names[281], names[970], len(set(names))
    ('tabby', 'alp', 1000)
    """
    return _read_source() or _ask_torchvision()


def _read_source() -> tuple[str, ...]:
    """Return the list as it stands in torchvision's source, () where it is not found."""
    package = importlib.util.find_spec("torchvision")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        path = Path(folder) / "models" / "_meta.py"
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _LIST:
                    names = tuple(ast.literal_eval(node.value))
                    if len(names) == CLASSES and all(isinstance(name, str) for name in names):
                        return names
        except (OSError, ValueError, SyntaxError):
            continue
    return ()


def _ask_torchvision() -> tuple[str, ...]:
    weights = import_torchvision().models.get_model_weights("resnet18")
    return tuple(weights.DEFAULT.meta["categories"])
