"""The fingerprint of one image: a few numbers taken from its decoded pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decode import DEFAULT_LIMITS, Limits, decoding
from offshelf.data.decoding.facts import Facts
from offshelf.data.decoding.formats import image_format, register
from offshelf.data.decoding.quiet import silently
from offshelf.data.lookalikes.perceptual_hashes import SIDE, dct_hash
from offshelf.resample import pillows_copy

# About what a network sees: blur that is gone at this size does no harm.
LONG_SIDE = 256
_COLOURLESS = 4


@dataclass(frozen=True)
class Fingerprint:
    """One image in numbers.

    Attributes:
        width: pixels, upright.
        height: pixels, upright.
        mode: how the file stores a pixel, Pillow's word: ``L``, ``RGB``, ``RGBA``, ``P``, ...
        coloured: whether any pixel is other than grey.
        hash: 64 bits of :func:`offshelf.data.lookalikes.perceptual_hashes.dct_hash`.
        brightness: mean grey, 0 to 255.
        contrast: standard deviation of grey, 0 to 127.5.
        sharpness: variance of the Laplacian of grey; 0 with a side under 3 pixels.

    Grey is the luma (ITU-R BT.601) of the image with its long side reduced to 256 pixels;
    a smaller image stays as it is. A large JPEG is decoded at a smaller scale.
    """

    width: int
    height: int
    mode: str
    coloured: bool
    hash: int
    brightness: float
    contrast: float
    sharpness: float

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height

    @property
    def short_side(self) -> int:
        """The lesser of width and height, pixels."""
        return min(self.width, self.height)

    @property
    def aspect(self) -> float:
        """Long side over short side, 1 or more."""
        return max(self.width, self.height) / self.short_side


def fingerprint(content: bytes, limits: Limits = DEFAULT_LIMITS) -> Fingerprint:
    r"""Return the fingerprint of an image file.

    Args:
        content: the bytes of the file.
        limits: what one image may cost.

    Raises:
        ImageError: it cannot be decoded, as :func:`offshelf.data.decode.decode` says.

    >>> found = fingerprint(b"P5 3 3 255 " + bytes([0, 0, 0, 0, 90, 0, 0, 0, 0]))
    >>> found.width, found.mode, found.coloured, found.brightness
    (3, 'L', False, 10.0)
    """
    return fingerprint_with_facts(content, limits)[0]


def fingerprint_with_facts(
    content: bytes, limits: Limits = DEFAULT_LIMITS
) -> tuple[Fingerprint, Facts]:
    """Return the fingerprint of an image file, and what the decoder learned of it.

    Raises:
        ImageError: as for :func:`fingerprint`.
    """
    with decoding(content, limits, LONG_SIDE) as decoded:
        mode, width, height = _stored(content, decoded.pixels)
        reduced, facts = _reduced(pillows_copy(decoded.pixels)), decoded.facts
    grey = reduced.convert("L")
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    found = Fingerprint(
        width=width,
        height=height,
        mode=mode,
        coloured=_coloured(np.asarray(reduced)),
        hash=dct_hash(np.asarray(small)),
        brightness=float(values.mean(dtype=np.float64)),
        contrast=float(values.std(dtype=np.float64)),
        sharpness=sharpness(values),
    )
    return found, facts


def sharpness(grey: NDArray[np.float32]) -> float:
    """Return the variance of the Laplacian of a grey picture, H x W, values 0 to 255.

    Pech-Pacheco, Cristóbal, Chamorro-Martínez and Fernández-Valdivia, "Diatom autofocusing
    in brightfield microscopy: a comparative study", ICPR 2000; with the four neighbours.

    >>> sharpness(np.zeros((9, 9), np.float32)), sharpness(np.ones((2, 9), np.float32))
    (0.0, 0.0)
    """
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var(dtype=np.float64))


def _stored(content: bytes, pixels: NDArray[np.uint8]) -> tuple[str, int, int]:
    """Return mode, width and height of a file, upright as *pixels* are, its own scale or less."""
    mode, (width, height) = silently(lambda: _mode_and_size(content))
    down, across = pixels.shape[:2]
    turned = abs(across * height - down * width) > abs(across * width - down * height)
    return (mode, height, width) if turned else (mode, width, height)


def _mode_and_size(content: bytes) -> tuple[str, tuple[int, int]]:
    name = image_format(content)
    register(name)
    with Image.open(io.BytesIO(content), formats=(name,)) as image:
        return image.mode, image.size


def _reduced(image: Image.Image) -> Image.Image:
    long_side = max(image.size)
    if long_side <= LONG_SIDE:
        return image
    width, height = (max(1, round(side * LONG_SIDE / long_side)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _coloured(pixels: NDArray[np.uint8]) -> bool:
    if pixels.ndim == 2:
        return False
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    return bool((spread > _COLOURLESS).any())
