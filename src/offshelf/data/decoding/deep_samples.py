"""Samples of more than 8 bits become RGB of 8 bits: grey as Pillow holds it, colour of a PNG.

Of PNG colour of 16 bits Pillow reads the high bytes alone. It can read the low byte in its
place, so the file is read twice; grey and alpha of 16 bits each are as long as four channels
of 8, and are read once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.levels import Levels, Values, found_levels, no_data
from offshelf.data.decoding.strips import Pixels, canvas, orientation, strips

RGB = tuple[int, int, int]
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT, _NO_DATA = 258, 262, 339, 42113


def deep_grey(image: Image.Image, background: RGB) -> Callable[[Image.Image], Pixels]:
    """Return what makes RGB of each strip of *image*, of one scale for all."""
    dtype = np.uint32 if _is_unsigned(image) else None

    def values_of(strip: Image.Image) -> Values:
        values = np.asarray(strip)
        return values if dtype is None else values.view(dtype)

    levels = _levels(image, (values_of(strip) for _, strip in strips(image)))
    clear = image.info.get("transparency")

    def convert(strip: Image.Image) -> Pixels:
        values = values_of(strip)
        pixels = three_channels(levels.grey8(values))
        if isinstance(clear, int):
            pixels[values == clear] = background
        return pixels

    return convert


def _levels(image: Image.Image, blocks: Iterator[Values]) -> Levels:
    tags = tags_of(image)
    missing = no_data(tags.get(_NO_DATA), np.dtype("f4" if image.mode == "F" else "i4"))
    white = _white(image)
    if white is None:
        levels = found_levels(blocks, missing)
    else:
        levels = Levels(black=0, white=white, missing=missing)
    # Where white is zero, Pillow leaves it so.
    return levels.inverted() if tags.get(_PHOTOMETRIC) == 0 else levels


def _white(image: Image.Image) -> int | None:
    """Return the value of white where the mode or the file says it."""
    if image.mode.startswith("I;16"):
        bits = tags_of(image).get(_BITS_PER_SAMPLE, (16,))[0]
        return (1 << bits) - 1 if 8 < bits < 16 else 65535
    return 65535 if image.mode == "I" and image.format == "PPM" else None


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether Pillow reads the unsigned 32 bits of a TIFF file as signed."""
    tags = tags_of(image)
    wide = image.mode == "I" and tags.get(_BITS_PER_SAMPLE) == (32,)
    return wide and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)


def tags_of(image: Image.Image) -> Any:
    """Return the tags of a TIFF file; a JPEG of several pictures has some, too."""
    return getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}


def composited(image: Image.Image, background: RGB) -> Pixels:
    """Return an image with transparency laid on *background*, H x W x 3."""
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    flat = Image.new("RGB", rgba.size, background)
    flat.paste(rgba, mask=rgba)
    return np.asarray(flat)


def three_channels(grey: Pixels) -> Pixels:
    """Return grey H x W as RGB H x W x 3.

    >>> three_channels(np.array([[7]], np.uint8)).tolist()
    [[[7, 7, 7]]]
    """
    pixels = np.empty((*grey.shape, 3), np.uint8)
    for channel in range(3):  # measured: half the time of repeat, a quarter of broadcasting
        pixels[:, :, channel] = grey
    return pixels


# How the file stores its pixels -> how they are read, high bytes first.
HALVES = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}
_LEVELS = Levels(black=0, white=65535)


def deep_png(image: Image.Image, raw: str, background: RGB) -> Pixels:
    """Return the pixels of an opened PNG, uint8 H x W x 3, upright; *image* is not loaded.

    *raw*, one of ``HALVES``, is how the file stores its pixels.
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
        return composited(Image.fromarray(pixels), background)
    if isinstance(clear, tuple):
        pixels[(values == clear).all(axis=-1)] = background
    return pixels
