"""Any mode of Pillow becomes RGB, 8 bits a channel, upright.

ICC profiles are left out: the numbers of the file are taken as sRGB, as networks are
trained. 16-bit colour (not grey) loses its low byte in Pillow's reader.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

RGB = tuple[int, int, int]
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WITH_ORIENTATION = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_STRIP_PIXELS = 2**17
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262


def upright(image: Image.Image) -> Image.Image:
    """Return *image* turned as its EXIF (or XMP) orientation says.

    A TIFF file was turned by its reader already. Metadata that cannot be read turn nothing.
    """
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def turned(pixels: NDArray[np.uint8], image: Image.Image) -> NDArray[np.uint8]:
    """Return *pixels*, decoded from the file of *image*, turned as :func:`upright` does."""
    turn = _turn(image)
    return pixels if turn is None else np.asarray(Image.fromarray(pixels).transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    if not any(key in image.info for key in _WITH_ORIENTATION):
        return None
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata raise nearly anything, and the picture is whole
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def rgb_pixels(image: Image.Image, background: RGB) -> NDArray[np.uint8]:
    """Return the pixels of a loaded image, uint8 H x W x 3.

    Transparent pixels are laid on *background*; CMYK, YCbCr, LAB, palettes and 1-bit
    images are converted by Pillow; grey of more than 8 bits is scaled by :func:`grey8`.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return _array(image)
    if image.mode == "L" and "transparency" not in image.info:
        return three_channels(np.asarray(image))
    if image.mode.startswith(("I", "F")):
        return _deep_grey(image, background)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        flat = Image.new("RGB", rgba.size, background)
        flat.paste(rgba, mask=rgba)
        return _array(flat)
    return _array(image.convert("RGB"))


def grey8(values: NDArray[np.generic], top: int | None = None) -> NDArray[np.uint8]:
    """Scale grey values to 0..255, rounding to the nearest.

    With *top*, the value of white, 0..top is scaled linearly: 16 bits are divided by
    257. Without it the values themselves decide, by the first that holds: floats within
    [0, 1] are shares of white; values within [0, 255] are 8 bits; whole numbers within
    [0, 65535] are 16 bits; anything else is stretched from its least to its greatest
    value. NaN and infinities count as 0.

    >>> grey8(np.array([[0, 257, 65535]], np.uint16), top=65535)
    array([[  0,   1, 255]], dtype=uint8)
    >>> grey8(np.array([[0.0, 0.5, 1.0]]))
    array([[  0, 128, 255]], dtype=uint8)
    >>> grey8(np.array([[-40.0, 10.0]]))
    array([[  0, 255]], dtype=uint8)
    """
    if top is not None:
        wide = values.astype(np.uint32)
        return ((wide * 510 + top) // (2 * top)).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    whole = np.issubdtype(values.dtype, np.integer)
    if low < 0 or high > (65535 if whole else 255):
        finite, high = finite - low, (high - low) or 1.0
    elif high > 255:
        high = 65535.0
    else:
        high = 1.0 if high <= 1 and not whole else 255.0
    return np.floor(finite * (255 / high) + 0.5).astype(np.uint8)


def three_channels(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey H x W as RGB H x W x 3.

    >>> three_channels(np.array([[7]], np.uint8)).tolist()
    [[[7, 7, 7]]]
    """
    pixels = np.empty((*grey.shape, 3), np.uint8)
    for channel in range(3):  # measured: half the time of repeat, a quarter of broadcasting
        pixels[:, :, channel] = grey
    return pixels


def _array(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an RGB image.

    Pillow hands out the bytes in two steps, each as large as the image; for a large one
    it is twice as fast to do that in strips that stay in the processor's cache.
    """
    width, height = image.size
    rows = max(_STRIP_PIXELS // width, 1)
    if height <= 4 * rows:
        return np.asarray(image)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        below = min(top + rows, height)
        pixels[top:below] = np.asarray(image.crop((0, top, width, below)))
    return pixels


def _deep_grey(image: Image.Image, background: RGB) -> NDArray[np.uint8]:
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    top = _white(image, tags)
    grey = grey8(values, top)
    if top is not None and tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow leaves it so
        grey = 255 - grey
    pixels = three_channels(grey)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        pixels[values == clear] = background
    return pixels


def _white(image: Image.Image, tags: dict[int, tuple[int, ...]]) -> int | None:
    """Return the value of white where the mode or the file says it."""
    if image.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        return (1 << bits) - 1 if 8 < bits < 16 else 65535
    return 65535 if image.mode == "I" and image.format == "PPM" else None
