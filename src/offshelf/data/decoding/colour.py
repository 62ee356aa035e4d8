"""Colour conversion: any Pillow mode to upright RGB, 8 bits a channel.

ICC profiles are left out: the numbers of the file are taken as sRGB, as networks are
trained. Everything is done in strips, straight into the pixels that are returned. Where
no standard says what numbers mean, this is what is decided, and said in ``assumed``:

- CMYK in a JPEG without an Adobe marker holds inks (0 is paper), as in PDF files;
- a BMP whose alpha is 0 everywhere is opaque, as Windows shows it. Any other file that is
  clear everywhere shows the background, as its standard says.

Transparent values count as the file stores them; the colours of a TIFF palette, where none
is over 255, are 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from offshelf.data.decoding.deep_samples import (
    HALVES,
    RGB,
    composited,
    deep_grey,
    deep_png,
    tags_of,
    three_channels,
)
from offshelf.data.decoding.levels import Levels, Values, found_levels
from offshelf.data.decoding.strips import STRIP_PIXELS, Pixels, drawn, orientation, strips

__all__ = [
    "RGB",
    "conversion_bytes",
    "grey8",
    "on_background",
    "picture",
    "three_channels",
]

_STRIP_BYTES = 64 * STRIP_PIXELS  # what the conversion of one strip takes at most
_COLOUR_MAP, _EXTRA_SAMPLES = 320, 338
# How a PNG stores its pixels -> what makes its transparent value one of Pillow's.
_KEYS = {
    "L;2": (3, 85),
    "L;4": (15, 17),
    "L": (255, 1),
    "RGB": (255, 1),
}
INKS = "CMYK without an Adobe marker read as inks"
NO_ALPHA = "4 bands of a TIFF without ExtraSamples: the first three read as RGB"
OPAQUE = "BMP with alpha 0 everywhere read as opaque"


def conversion_bytes(mode: str, width: int, height: int, clear: bool = False) -> int:
    """Return the bytes that :func:`picture` takes beside the loaded image, at most.

    A file of the Pillow mode *mode* may name a transparent colour: *clear*.

    >>> conversion_bytes("F", 1000, 1000) - conversion_bytes("L", 1000, 1000)
    2000000
    """
    channels = 1 if mode == "L" and not clear else 3
    return width * height * channels + min(4 * width * height * 64, _STRIP_BYTES)


def picture(image: Image.Image, background: RGB) -> tuple[Pixels, str]:
    """Load an opened image and return its pixels, upright.

    A TIFF file is turned by its reader. Metadata that cannot be read turn nothing.

    Returns:
        uint8, H x W for 8-bit grey that is opaque and H x W x 3 for everything else,
        perhaps read-only; and what was assumed where no standard decides, or ``""``.
    """
    raw = _raw_mode(image)
    if raw in HALVES:
        return deep_png(image, raw, background), ""
    image.load()
    turn = orientation(image)
    if image.mode == "L" and "transparency" not in image.info:
        return drawn(image, _plain, turn, channels=1), ""
    convert, assumed = _conversion(image, background, raw)
    return drawn(image, convert, turn), assumed


def on_background(pixels: Pixels, background: RGB) -> Pixels:
    """Return RGBA pixels, H x W x 4, laid on *background*, H x W x 3.

    >>> on_background(np.array([[[9, 9, 9, 0]]], np.uint8), (1, 2, 3)).tolist()
    [[[1, 2, 3]]]
    """
    return picture(Image.fromarray(np.ascontiguousarray(pixels)), background)[0]


def grey8(values: Values, top: int | None = None) -> Pixels:
    """Scale grey values to 0..255, rounding to the nearest.

    With *top*, the value of white, 0..top is scaled linearly: 16 bits are divided by
    257. Without it the values themselves decide, see
    :func:`offshelf.data.decoding.levels.found_levels`. NaN and infinities are drawn black.

    >>> grey8(np.array([[0, 257, 65535]], np.uint16), top=65535)
    array([[  0,   1, 255]], dtype=uint8)
    >>> grey8(np.array([[0.0, 0.5, 1.0001]]))
    array([[  0, 128, 255]], dtype=uint8)
    >>> grey8(np.array([[-40.0, 10.0]]))
    array([[  0, 255]], dtype=uint8)
    """
    levels = found_levels([values]) if top is None else Levels(black=0, white=top)
    return levels.grey8(values)


def _plain(strip: Image.Image) -> Pixels:
    return np.asarray(strip)


def _conversion(
    image: Image.Image, background: RGB, raw: str
) -> tuple[Callable[[Image.Image], Pixels], str]:
    """Return what makes RGB of each strip of the loaded *image*, and what that assumes."""
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return lambda strip: _plain(ImageChops.invert(strip).convert("RGB")), INKS
    if image.format == "TIFF" and image.mode == "RGBA" and _EXTRA_SAMPLES not in tags_of(image):
        return lambda strip: _plain(strip.convert("RGB")), NO_ALPHA
    if image.format == "BMP" and image.mode == "RGBA" and _all_clear(image):
        return lambda strip: _plain(strip.convert("RGB")), OPAQUE
    return _usual_conversion(image, background, raw), ""


def _usual_conversion(
    image: Image.Image, background: RGB, raw: str
) -> Callable[[Image.Image], Pixels]:
    if image.mode.startswith(("I", "F")):
        return deep_grey(image, background)
    if image.mode in ("P", "PA") and _holds_bytes(image):
        return _with_palette(image, background)
    if image.mode == "RGB" and "transparency" not in image.info:
        return _plain
    if image.has_transparency_data:
        clear = _clear_value(image, raw)
        return lambda strip: _laid(strip, background, clear)
    return lambda strip: _plain(strip.convert("RGB"))


def _laid(strip: Image.Image, background: RGB, clear: Any) -> Pixels:
    if strip.info.get("transparency") != clear:
        strip = strip.copy()  # the caller's image stays as it is
        strip.info["transparency"] = clear
    return composited(strip, background)


def _raw_mode(image: Image.Image) -> str:
    """Return how a PNG file that is not loaded stores its pixels; Pillow forgets it."""
    tile = getattr(image, "tile", None) if image.format == "PNG" else None
    return str(tile[0].args) if tile else ""


def _clear_value(image: Image.Image, raw: str) -> Any:
    """Return the transparent value as Pillow's pixels hold it, which may be scaled."""
    clear = image.info.get("transparency")
    if raw not in _KEYS or isinstance(clear, bytes) or clear is None:
        return clear
    mask, factor = _KEYS[raw]
    if isinstance(clear, tuple):
        return tuple((part & mask) * factor for part in clear)
    return (clear & mask) * factor


def _all_clear(image: Image.Image) -> bool:
    return all(strip.getchannel("A").getbbox() is None for _, strip in strips(image))


def _holds_bytes(image: Image.Image) -> bool:
    """Return whether the palette of a TIFF was written with 8-bit values, not 16."""
    colours = tags_of(image).get(_COLOUR_MAP, (256,))
    return max(colours, default=256) < 256


def _with_palette(image: Image.Image, background: RGB) -> Callable[[Image.Image], Pixels]:
    colours = np.asarray(tags_of(image)[_COLOUR_MAP], np.uint8)
    palette = colours.reshape(3, -1).T.tobytes()

    def convert(strip: Image.Image) -> Pixels:
        strip = strip.copy()
        strip.putpalette(palette)
        if strip.mode == "PA":
            return _laid(strip, background, None)
        return _plain(strip.convert("RGB"))

    return convert
