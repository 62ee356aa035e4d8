"""Copies and near-copies: perceptual hashes, pairs that are close, and fingerprints of images.

A bit of a hash is the sign of one low frequency of the picture. So the hash of the mirrored
picture is the same hash with the bits of the odd horizontal frequencies turned.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decode import DEFAULT_LIMITS, Limits, decoding
from offshelf.data.decoding.formats import image_format, register
from offshelf.data.decoding.limits import Facts
from offshelf.data.decoding.pillow_files import silently
from offshelf.resample import pillows_copy

SIDE = 32
BITS = 64
_LOW = 8
# A tile of distances that stays in the processor's cache.
_TILE_ROWS, _TILE_COLUMNS = 64, 4096
# Frequencies weaker than this share of a grey level are rounding: a flat picture is all 0.
_MIN_LEVELS = 0.005
_NONE = np.empty(0, np.int64)


def _packed(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


_COSINES = np.cos(np.pi * np.arange(_LOW)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))
# The odd columns.
MIRROR = _packed(np.tile([False, True], (_LOW, _LOW // 2)))


def dct_hash(grey: NDArray[np.uint8]) -> int:
    """Return the 64 signs of the lowest frequencies of a grey picture of 32 x 32.

    After the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010, section 3.2.1, with the sign in place of the median, so that mirroring
    turns a fixed set of bits (:data:`MIRROR`). The bit of the mean is always 0.

    Args:
        grey: uint8, 32 x 32.

    >>> ramp = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None], 32, axis=0)
    >>> dct_hash(ramp) ^ dct_hash(ramp[:, ::-1]) == dct_hash(ramp[:, ::-1])
    True
    >>> dct_hash(np.full((32, 32), 7, np.uint8))
    0
    """
    frequencies = _COSINES @ grey.astype(np.float64) @ _COSINES.T
    bits = frequencies > _MIN_LEVELS * SIDE * SIDE
    bits[0, 0] = False
    return _packed(bits)


@dataclass(frozen=True, eq=False)
class ClosePairs:
    """Pairs of pictures that look alike.

    Attributes:
        left: P positions, int64.
        right: P positions, int64, each greater than its ``left``.
        distance: P int64, bits in which the hashes differ, the mirrored way if that is less.
        mirrored: P bool, whether it is.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.int64]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.left)

    def part(self, which: slice | NDArray[np.int64]) -> ClosePairs:
        """Return some of the pairs."""
        return ClosePairs(
            self.left[which], self.right[which], self.distance[which], self.mirrored[which]
        )

    @staticmethod
    def joined(parts: Sequence[ClosePairs]) -> ClosePairs:
        """Return all pairs of *parts*, in their order; of none, no pairs."""
        return ClosePairs(
            np.concatenate([_NONE, *(part.left for part in parts)]),
            np.concatenate([_NONE, *(part.right for part in parts)]),
            np.concatenate([_NONE, *(part.distance for part in parts)]),
            np.concatenate([_NONE.astype(bool), *(part.mirrored for part in parts)]),
        )


def close_pairs(hashes: NDArray[np.uint64], distance: int) -> Iterator[ClosePairs]:
    """Yield all pairs of hashes that differ in at most *distance* bits, tile by tile.

    Every pair is compared, by counting bits in tiles: 100,000 hashes take well under a
    minute on one processor, and memory does not grow with the number of pairs.

    Args:
        hashes: N hashes of :func:`dct_hash`, uint64.
        distance: greatest number of bits, 0 to 64.

    >>> pairs = next(close_pairs(np.array([8, 9, 8 ^ MIRROR], np.uint64), 1))
    >>> pairs.left.tolist(), pairs.right.tolist(), pairs.mirrored.tolist()
    ([0, 0, 1], [1, 2, 2], [False, True, True])
    """
    for top in range(0, len(hashes), _TILE_ROWS):
        rows = hashes[top : top + _TILE_ROWS, None]
        for left in range(top, len(hashes), _TILE_COLUMNS):
            differing = rows ^ hashes[None, left : left + _TILE_COLUMNS]
            plain = np.bitwise_count(differing)
            turned = np.bitwise_count(differing ^ np.uint64(MIRROR))
            least = np.minimum(plain, turned)
            # One dimension: numpy finds the few that are set fifty times as fast as in two.
            found = np.flatnonzero(least.reshape(-1) <= distance)
            first, second = np.divmod(found, least.shape[1])
            later = second + left > first + top
            first, second = first[later], second[later]
            if len(first):
                yield ClosePairs(
                    (first + top).astype(np.int64),
                    (second + left).astype(np.int64),
                    least[first, second].astype(np.int64),
                    turned[first, second] < plain[first, second],
                )


# About what a network sees: blur that is gone at this size does no harm.
LONG_SIDE = 256
_COLOURLESS = 4


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One image in numbers.

    Attributes:
        width: pixels, upright.
        height: pixels, upright.
        mode: how the file stores a pixel, Pillow's word: ``L``, ``RGB``, ``RGBA``, ``P``, ...
        coloured: whether any pixel is other than grey.
        hash: 64 bits of :func:`offshelf.data.lookalikes.dct_hash`.
        brightness: mean grey, 0 to 255.
        contrast: standard deviation of grey, 0 to 127.5.
        sharpness: variance of the Laplacian of grey; 0 with a side under 3 pixels.
        flat: greatest share of the pixels within 7 neighbouring grey levels, 0 to 1.
        levels: fewest grey levels that 90 % of the pixels have, 1 to 256.

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
    flat: float
    levels: int

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


def fingerprint(content: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Fingerprint, Facts]:
    r"""Return the fingerprint of an image file, and what the decoder learned of it.

    Raises:
        ImageError: it cannot be decoded, as :func:`offshelf.data.decode.decode` says.

    >>> found, _ = fingerprint(b"P5 3 3 255 " + bytes([0, 0, 0, 0, 90, 0, 0, 0, 0]))
    >>> found.width, found.mode, found.coloured, found.brightness
    (3, 'L', False, 10.0)
    """
    with decoding(content, limits, LONG_SIDE) as decoded:
        mode, width, height = _stored(content, decoded.pixels)
        reduced, facts = _reduced(pillows_copy(decoded.pixels)), decoded.facts
    grey = reduced.convert("L")
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    flat, levels = flatness(np.asarray(grey))
    found = Fingerprint(
        width=width,
        height=height,
        mode=mode,
        coloured=_coloured(np.asarray(reduced)),
        hash=dct_hash(np.asarray(small)),
        brightness=float(values.mean(dtype=np.float64)),
        contrast=float(values.std(dtype=np.float64)),
        sharpness=sharpness(values),
        flat=flat,
        levels=levels,
    )
    return found, facts


def flatness(grey: NDArray[np.uint8]) -> tuple[float, int]:
    """Return the share of the commonest grey, and how many greys 90 % of the pixels have.

    >>> flatness(np.array([[0, 0, 3, 200]], np.uint8))
    (0.75, 3)
    """
    counts = np.bincount(grey.reshape(-1), minlength=256)
    # Compression makes several neighbouring greys of one.
    near = int(np.convolve(counts, np.ones(7, np.int64)).max())
    covered = np.sort(counts)[::-1].cumsum()
    return near / grey.size, int(np.searchsorted(covered, 0.9 * grey.size)) + 1


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
