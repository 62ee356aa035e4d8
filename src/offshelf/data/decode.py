"""Decoding of one image: the only way from bytes to RGB; any fault of a file is an ImageError.

The status is a word for the row ledger; the reason is short, for a person, and the same
in every run. Nothing of Pillow's global settings is changed, and the size that a file
claims is checked before its pixels are decoded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from offshelf.data.decoding.colour import on_background, picture, three_channels
from offshelf.data.decoding.formats import (
    ends_early,
    image_format,
    lacks_codec,
    register,
    unread_kind,
)
from offshelf.data.decoding.jpeg import jpeg_picture, reduced_picture
from offshelf.data.decoding.limits import (
    DEFAULT_LIMITS,
    PILLOWS_LIMIT,
    Decoded,
    Facts,
    Limits,
    check_bytes,
    check_facts,
    read_bytes,
)
from offshelf.data.decoding.memory_budget import BUDGET, SPARE, decode_bytes, resize_bytes
from offshelf.data.decoding.pillow_files import opened, silently
from offshelf.data.decoding.tiff import tiff_picture
from offshelf.errors import DataError, ImageError
from offshelf.text import shown

__all__ = [
    "DEFAULT_LIMITS",
    "STATUSES",
    "Limits",
    "as_rgb",
    "decode",
    "decode_with_facts",
    "read_bytes",
]

STATUSES = (
    "ok",
    "missing",
    "empty",
    "not_an_image",
    "unreadable",
    "truncated",
    "damaged",
    "too_large",
    "unsupported",
)


def decode(content: bytes, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    r"""Decode the bytes of an image file.

    Reads JPEG (and MPO), PNG, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000 and PPM/PGM/PBM;
    the first frame of an animation, the first page of a TIFF file. The EXIF orientation
    is applied, transparency is laid on ``limits.background``, and grey of 16 and 32
    bits is scaled by :func:`offshelf.data.decoding.colour.grey8`.

    A damaged JPEG (see :mod:`.decoding.jpeg`) or PNG is recognised. Other formats have no sum
    over their pixels: bytes that were changed and still decode are not noticed.

    Returns:
        RGB, uint8 H x W x 3; it may be read-only.

    Raises:
        ImageError: ``empty``, ``not_an_image``, ``too_large``, ``unsupported``;
            ``truncated`` or ``damaged``, which ``limits.keep_damaged`` takes where
            anything can be read; ``unreadable`` where nothing can.

    >>> decode(b"P5 2 1 255 \x00\xff").tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    pixels = decode_with_facts(content, limits).pixels
    return pixels if pixels.ndim == 3 else three_channels(pixels)


def decode_with_facts(
    content: bytes, limits: Limits = DEFAULT_LIMITS, at_least: int = 0
) -> Decoded:
    r"""Decode as :func:`decode` does, but leave an 8-bit grey image one channel.

    Args:
        content: of the file.
        limits: limits and background.
        at_least: 0, or the pixels that each side of a large JPEG keeps when it is decoded
            at a smaller scale, see :func:`offshelf.data.decoding.jpeg.quick_pixels`.

    Returns:
        The pixels, uint8, H x W for grey and H x W x 3 for everything else, which may be
        read-only; and what was learned of the file.

    Raises:
        ImageError: as :func:`decode`.

    >>> decoded = decode_with_facts(b"P5 2 1 255 \x00\xff")
    >>> decoded.pixels.tolist(), decoded.facts.width
    ([[0, 255]], 2)
    """
    with decoding(content, limits, at_least) as decoded:
        return replace(decoded, pixels=np.ascontiguousarray(decoded.pixels))


@contextlib.contextmanager
def decoding(
    content: bytes, limits: Limits = DEFAULT_LIMITS, at_least: int = 0
) -> Iterator[Decoded]:
    r"""Decode for the time of a block, which may hold the pixels once more to resize them.

    Those of a JPEG whose orientation turns it are a view of its rows as the file stores them.
    The memory for that is taken from what all threads have together, and given back at
    the end of the block. Not to be nested: two threads might wait for each other.

    Raises:
        ImageError: as :func:`decode`.

    >>> with decoding(b"P5 2 1 255 \x00\xff") as decoded:
    ...     decoded.pixels.tolist()
    [[0, 255]]
    """
    if not content:
        raise ImageError("empty", "the file is empty")
    check_bytes(len(content), limits)
    name = image_format(content)
    with contextlib.ExitStack() as held:
        try:
            # In a list, so that no name here keeps the pixels when the memory is given back.
            decoded = [_decoded(name, content, limits, at_least, held)]
            if ImageFile.LOAD_TRUNCATED_IMAGES and name != "JPEG" and ends_early(name, content):
                raise OSError("truncated")  # another library made Pillow accept it
        except Exception as error:  # on hostile bytes Pillow's readers raise nearly anything
            raise _undecoded(error, name, content) from error
        yield decoded.pop()


def as_rgb(
    image: str | Path | Image.Image | NDArray[np.uint8], limits: Limits = DEFAULT_LIMITS
) -> NDArray[np.uint8]:
    """Return RGB pixels of whatever a Python caller has: a path, a PIL image, an array.

    Args:
        image: path of a file; PIL image (its EXIF orientation is applied); or uint8
            array H x W, H x W x 1 (grey), H x W x 3 (RGB), H x W x 4 (RGBA).
        limits: limits and background.

    Returns:
        uint8 H x W x 3, C-contiguous; for an RGB array this may be the array itself.

    Raises:
        ImageError: the file or PIL image cannot be decoded; the text names the file.
        DataError: another type, an array of another dtype or shape, or no pixels.

    >>> as_rgb(np.zeros((4, 5), np.uint8)).shape
    (4, 5, 3)
    """
    if isinstance(image, str | Path):
        try:
            return decode(read_bytes(image, limits), limits)
        except ImageError as error:
            raise ImageError(error.status, f"{shown(image)}: {error.reason}") from error
    if isinstance(image, Image.Image):
        return _from_pil(image, limits)
    if isinstance(image, np.ndarray):
        return _from_array(image, limits)
    raise DataError(f"an image is a path, a PIL image or a uint8 array, not {type(image).__name__}")


def _decoded(
    name: str, content: bytes, limits: Limits, at_least: int, held: contextlib.ExitStack
) -> Decoded:
    register(name)
    drawn = tiff_picture(content) if name == "TIFF" else None
    if drawn is not None:
        samples = drawn.samples
        resizing = resize_bytes(samples.width, samples.height, 3)
        memory = SPARE + len(content) + max(drawn.memory, resizing)
        facts = Facts(
            width=samples.width, height=samples.height, memory=memory, assumed=drawn.assumed
        )
        _hold(facts, limits, held)
        pixels = silently(lambda: drawn.pixels(content, limits.background))
        return Decoded(pixels=pixels, facts=facts)
    with silently(lambda: opened(name, content)) as image:
        decoded = None
        if at_least and name == "JPEG":
            facts = _hold(_facts(image, content, at_least), limits, held)
            decoded = silently(lambda: reduced_picture(image, content, at_least, facts))
        if decoded is None:
            facts = _hold(_facts(image, content), limits, held)
            decoded = silently(lambda: _whole(image, content, limits, facts))
    return decoded


def _facts(image: Image.Image, content: bytes = b"", at_least: int = 0) -> Facts:
    memory = decode_bytes(image, content, at_least)
    return Facts(width=image.width, height=image.height, memory=memory)


def _hold(facts: Facts, limits: Limits, held: contextlib.ExitStack) -> Facts:
    """Take the memory of an image instead of what is held, once there is enough."""
    held.pop_all().close()  # who waits must hold nothing
    check_facts(facts, limits)
    held.enter_context(BUDGET.held(facts.memory, of=limits.memory))
    return facts


def _whole(image: Image.Image, content: bytes, limits: Limits, facts: Facts) -> Decoded:
    if image.format in ("JPEG", "MPO"):
        return jpeg_picture(image, content, limits, facts)
    pixels, assumed = picture(image, limits.background)
    return Decoded(pixels=pixels, facts=replace(facts, assumed=assumed))


def _from_pil(image: Image.Image, limits: Limits) -> NDArray[np.uint8]:
    if 0 in image.size:
        raise DataError("an image without pixels")
    with contextlib.ExitStack() as held:
        try:
            _hold(_facts(image), limits, held)
            pixels, _ = silently(lambda: picture(image, limits.background))
        except Exception as error:
            raise _undecoded(error, image.format or "PIL", b"") from error
    return pixels if pixels.ndim == 3 else three_channels(pixels)


def _from_array(array: NDArray[np.uint8], limits: Limits) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise DataError(f"an image array must be uint8, not {array.dtype}; {_scaled(array)}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        moved = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "; move the channels last: numpy.moveaxis(array, 0, -1)" if moved else ""
        raise DataError(f"an image array is H x W, or H x W x 1, 3 or 4, not {_shape(array)}{hint}")
    if array.size == 0:
        raise DataError(f"an image array without pixels: {_shape(array)}")
    if channels == 4:
        return on_background(array, limits.background)
    if channels == 1:
        return three_channels(array.reshape(array.shape[:2]))
    return np.ascontiguousarray(array)


def _scaled(array: NDArray[np.generic]) -> str:
    """Return how to make an array of another dtype one of 8 bits."""
    if array.dtype.kind == "b":
        return "use array.astype('uint8') * 255"
    if array.dtype == np.uint16:
        return "for 16 bits use (array / 257).round().astype('uint8')"
    if array.dtype.kind in "fiu":
        return "scale it to 0..255 and use .astype('uint8')"
    return "give its pixels as numbers of 0 to 255"


def _shape(array: NDArray[np.uint8]) -> str:
    return " x ".join(str(length) for length in array.shape) or "a single number"


def _undecoded(error: Exception, name: str, content: bytes) -> ImageError:
    if isinstance(error, ImageError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_large", PILLOWS_LIMIT)
    if isinstance(error, MemoryError):
        return ImageError("too_large", "more than the free memory")
    if lacks_codec(name):
        return ImageError("unsupported", f"this build of Pillow cannot read {name}")
    if "truncated" in str(error).lower() or (content and ends_early(name, content)):
        return ImageError("truncated", f"the {name} file ends early")
    kind = unread_kind(name, content, error)
    reason = kind or f"damaged, or an unusual kind of {name}"
    return ImageError("unsupported" if kind else "unreadable", reason)
