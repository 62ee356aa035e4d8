"""The network input of an image, for everything that runs or shows a network."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.specification.spec import InputSpec
from offshelf.card import Brief
from offshelf.data.decode import DEFAULT_LIMITS, Limits, as_rgb, decoding, read_bytes
from offshelf.data.decoding.limits import Decoded, Facts
from offshelf.features.profile import Stopwatch
from offshelf.text import shown


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NetworkInput(Brief):
    """One image, decoded and prepared.

    Attributes:
        name: the path of its file, or ``image`` for one in memory.
        pixels: what the network gets, uint8, S x S x 3.
        facts: of the file; of an image in memory its width and height.
    """

    name: str
    pixels: NDArray[np.uint8]
    facts: Facts

    @property
    def title(self) -> str:
        """The file's name without its folders."""
        return Path(self.name).name


def network_input(
    image: Any, spec: InputSpec, limits: Limits = DEFAULT_LIMITS, watch: Stopwatch | None = None
) -> NetworkInput:
    r"""Decode an image as *spec* asks for and prepare it.

    Args:
        image: the bytes of a file; the path of one; or a PIL image or uint8 array (H x W, or
            H x W x 1, 3 or 4), which is decoded already: ``spec.decode`` is about files.
        spec: the preprocessing.
        limits: bounds on bytes and pixels.
        watch: measures decoding and resizing.

    Raises:
        ImageError: the file or PIL image cannot be decoded; the reason names no file.
        DataError: it is no image.

    >>> found = network_input(b"P5 2 1 255 \x00\xff", InputSpec(size=8))
    >>> found.pixels.shape, found.facts.width
    ((8, 8, 3), 2)
    """
    name = "image"
    if isinstance(image, str | Path):
        name, image = shown(image), read_bytes(image, limits)
    with contextlib.ExitStack() as held:
        with _stage(watch, "decode"):
            decoded = held.enter_context(_decoding(image, spec, limits))
        with _stage(watch, "resize"):
            pixels = prepare(decoded.pixels, spec)
        found = NetworkInput(name=name, pixels=pixels, facts=decoded.facts)
        # The pixels go before their memory is given back.
        del decoded
    return found


def _decoding(image: Any, spec: InputSpec, limits: Limits) -> AbstractContextManager[Decoded]:
    if isinstance(image, bytes):
        return decoding(image, limits, spec.decoded_side)
    rgb = as_rgb(image, limits)
    facts = Facts(width=rgb.shape[1], height=rgb.shape[0])
    return contextlib.nullcontext(Decoded(pixels=rgb, facts=facts))


def _stage(watch: Stopwatch | None, name: str) -> AbstractContextManager[None]:
    return contextlib.nullcontext() if watch is None else watch.stage(name)
