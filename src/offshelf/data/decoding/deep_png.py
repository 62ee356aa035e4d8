"""PNG colour of 16 bits: both bytes count, where Pillow reads the high one alone.

Pillow can be told to take the low byte in its place, so the file is read twice; grey and
alpha of 16 bits each are as long as four channels of 8, and are read once.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.deep_grey import RGB, laid_on
from offshelf.data.decoding.levels import Levels
from offshelf.data.decoding.strips import Pixels, canvas, orientation, strips

# How the file stores its pixels -> how they are read, high bytes first.
HALVES = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}
_LEVELS = Levels(black=0, white=65535)


def deep_png(image: Image.Image, raw: str, background: RGB) -> Pixels:
    """Return the pixels of an opened PNG, uint8 H x W x 3, upright.

    Args:
        image: not loaded, and left so.
        raw: how the file stores its pixels, one of ``HALVES``.
        background: under transparent pixels.
    """
    content = _content(image)
    halves = [_read(content, half) for half in HALVES[raw]]
    width, height = image.size
    upright, stored = canvas((height, width, 3), orientation(halves[0]))
    for parts in zip(*map(strips, halves), strict=True):
        values = _joined([np.asarray(strip) for _, strip in parts])
        stored[parts[0][0]] = _rgb(values, image.info.get("transparency"), background)
    return upright


def _content(image: Image.Image) -> bytes:
    file: Any = image.fp  # type: ignore[attr-defined]
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    place = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(place)
    return content


def _read(content: bytes, raw: str) -> Image.Image:
    image: Any = Image.open(io.BytesIO(content), formats=("PNG",))
    image.tile = [image.tile[0]._replace(args=raw)]
    image.load()
    opened: Image.Image = image
    return opened


def _joined(halves: list[Pixels]) -> NDArray[np.uint16]:
    """Return values of 16 bits; one array alone has high and low bytes by turns."""
    high, low = halves if len(halves) == 2 else (halves[0][..., 0::2], halves[0][..., 1::2])
    values = high.astype(np.uint16)
    values <<= 8
    values |= low
    return values


def _rgb(values: NDArray[np.uint16], clear: Any, background: RGB) -> Pixels:
    pixels = _LEVELS.grey8(values)
    if pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    if pixels.shape[2] == 4:
        return laid_on(Image.fromarray(pixels), background)
    if isinstance(clear, tuple):
        pixels[(values == clear).all(axis=-1)] = background
    return pixels
