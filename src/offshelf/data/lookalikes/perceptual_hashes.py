"""Perceptual hashes: 64 bits that survive scaling and compression, and pairs that are close.

A bit is the sign of one low frequency of the picture, so the hash of the mirrored picture
is the same hash with the bits of the odd horizontal frequencies turned: no second hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 32
BITS = 64
_LOW = 8
# A tile of distances that stays in the processor's cache.
_TILE_ROWS, _TILE_COLUMNS = 64, 4096
# Frequencies weaker than this share of a grey level are rounding: a flat picture is all 0.
_MIN_LEVELS = 0.005
_NONE = np.empty(0, np.int64)


def _cosines() -> NDArray[np.float64]:
    frequency, place = np.arange(_LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))


def _packed(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


def _odd_columns() -> int:
    odd = np.zeros((_LOW, _LOW), bool)
    odd[:, 1::2] = True
    return _packed(odd)


_COSINES = _cosines()
MIRROR = _odd_columns()


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
