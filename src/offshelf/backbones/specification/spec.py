"""Specs of backbones, as data: architecture, weights, preprocessing, layer names.

Preprocessing belongs to the weights, never to the caller: an :class:`InputSpec` hangs
on each :class:`WeightsSpec`, and two weights files of one architecture may disagree.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

Resize = Literal["squash", "crop", "letterbox"]
Interpolation = Literal["bilinear", "bicubic"]
Source = Literal["torchvision", "timm"]
Channels = Literal["replicate", "summed", "luma"]
Decode = Literal["full", "reduced"]
DECODES: tuple[Decode, ...] = ("full", "reduced")
RESIZES: tuple[Resize, ...] = ("squash", "crop", "letterbox")
CHANNELS: tuple[Channels, ...] = ("replicate", "summed", "luma")


@dataclass(frozen=True)
class InputSpec:
    """How an RGB image becomes the array a network expects.

    Attributes:
        size: height and width of the square input, in pixels.
        resize: ``squash`` stretches the whole image to the square, ``crop`` scales the
            short side to ``size / crop_share`` and takes the centre, ``letterbox``
            keeps the shape and fills the rest with the mean colour.
        interpolation: Pillow's filter for the resize.
        crop_share: share of the scaled side that ``crop`` keeps, in (0, 1].
        mean: mean of each channel, R G B, of pixels scaled to [0, 1].
        std: standard deviation of each channel, R G B, of pixels scaled to [0, 1].
        channels: how grey becomes RGB. ``replicate`` feeds colour as it is and grey as
            three equal channels. ``luma`` removes colour first (ITU-R BT.601 luma, as
            Pillow's mode L) and replicates what is left. ``summed`` gives the features of
            ``luma`` through a first convolution whose weights are summed over colour:
            the same network, with a third of the first layer's input.
        decode: ``full``, or ``reduced``: a large JPEG is decoded at a half, quarter or
            eighth of its scale, as long as both sides keep twice what the network sees.
        mirrored: whether left and right of the square change places, for test-time flips.

    >>> InputSpec(size=224).resize
    'squash'
    """

    size: int
    resize: Resize = "squash"
    interpolation: Interpolation = "bilinear"
    crop_share: float = 0.875
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: Channels = "replicate"
    decode: Decode = "full"
    mirrored: bool = False

    @property
    def decoded_side(self) -> int:
        """Pixels that each side keeps in a reduced decoding; 0 for a full one.

        >>> InputSpec(size=224, decode="reduced").decoded_side
        448
        """
        if self.decode == "full":
            return 0
        share = self.crop_share if self.resize == "crop" else 1.0
        return math.ceil(2 * self.size / share)

    def changes(self, own: InputSpec) -> tuple[str, ...]:
        """Return what differs from the *own* preprocessing of the weights, as options name it.

        >>> InputSpec(size=224, decode="reduced").changes(InputSpec(size=224))
        ('decode reduced',)
        """
        pairs = {"size": "input-size", "resize": "resize", "channels": "grey", "decode": "decode"}
        return tuple(
            f"{option} {getattr(self, field)}"
            for field, option in pairs.items()
            if getattr(self, field) != getattr(own, field)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values.

        ``channels``, ``decode`` and ``mirrored`` are left out where they are the usual: this
        document is part of the key of every stored feature, and older features stay good.
        """
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
            if (key, value)
            not in {("channels", "replicate"), ("decode", "full"), ("mirrored", False)}
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> InputSpec:
        """Build the spec that :meth:`to_json` wrote.

        Raises:
            ValueError: the resize mode or the channel policy is unknown.

        >>> InputSpec.from_json(InputSpec(size=96).to_json()) == InputSpec(size=96)
        True
        """
        fields = dict(document)
        fields["mean"], fields["std"] = tuple(fields["mean"]), tuple(fields["std"])
        spec = cls(**fields)
        words = (spec.resize, spec.channels, spec.decode)
        if any(
            w not in known for w, known in zip(words, (RESIZES, CHANNELS, DECODES), strict=True)
        ):
            raise ValueError(f"unknown preprocessing {', '.join(map(repr, words))}")
        return spec


@dataclass(frozen=True)
class WeightsSpec:
    """One weights file that belongs to a backbone.

    Attributes:
        tag: short name of this training, for example ``imagenet1k_v1``.
        file_name: the publisher's file name; where that is the same for every network
            (``model.safetensors``), the name under which offshelf keeps the file.
        input: the preprocessing that these weights were trained with.
        sha256: full hash, or the publisher's prefix of it (8 digits or more), or "".
        size: bytes as published, good to about a kilobyte; 0 when not known.
        url: where it can be downloaded, or "".
        licence: SPDX identifier or a short phrase.
        package: import name of an installed package that carries the file, or "".
        covers: top-level modules whose tensors the file holds; empty means all.
        by_order: the tensors come in the order of the architecture's state dict, under
            other names.
    """

    tag: str
    file_name: str
    input: InputSpec
    sha256: str = ""
    size: int = 0
    url: str = ""
    licence: str = "BSD-3-Clause"
    package: str = ""
    covers: tuple[str, ...] = ()
    by_order: bool = False


@dataclass(frozen=True)
class BackboneSpec:
    """A pretrained network by name.

    Attributes:
        name: what a person types, for example ``vgg16``.
        source: the library that builds the architecture.
        architecture: the builder's name in that library.
        weights: the known weights files, the preferred one first.
        layers: pairs (layer name, module path), in order of depth; holds at least
            ``penultimate`` and ``logits`` for catalogued backbones.
        extra: the optional part of offshelf that brings the weights, or "".
        parameters: the published number of parameters, 0 when not known.
        channels_last: 4-D activations are N, H, W, C instead of N, C, H, W.
    """

    name: str
    source: Source
    architecture: str
    weights: tuple[WeightsSpec, ...]
    layers: tuple[tuple[str, str], ...] = ()
    extra: str = ""
    parameters: int = 0
    channels_last: bool = False
