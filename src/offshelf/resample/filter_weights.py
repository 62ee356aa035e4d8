"""The integer filter weights of Pillow's resize, for one side of a picture.

Pillow computes them in double precision and rounds them to 22 bits; each step here is one
of its steps, in its order, as another order would round some of them otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Filter = Literal["bilinear", "bicubic"]
Doubles = NDArray[np.float64]
BITS = 32 - 8 - 2
# Bytes in a vector, and how many pixels are whole in one, by channels. A byte that three channels
# leave over has weight 0.
LANES = 16
PIXELS = {1: LANES, 3: LANES // 3}
# Vectors of a row that share a loaded weight, and the bytes that are computed at once in it.
BESIDE = 4
MIN_LINE = LANES * BESIDE
# Sides whose weights stay at hand: most pictures of a folder are of a few sizes.
KEPT = 8
_SHARPNESS = -0.5


@dataclass(frozen=True, kw_only=True)
class Side:
    """A side of so many pixels; those from *first* to before *last* become *target* pixels."""

    length: int
    first: int
    last: int
    target: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The weights of each of N pixels of a result.

    The first pixel that counts, and how many do (int64, N); and their values, int32, N x the
    largest count, zero behind the last that counts.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    values: NDArray[np.int32]

    @property
    def span(self) -> tuple[int, int]:
        """The first pixel that counts for any result, and the one behind the last."""
        return int(self.starts.min()), int((self.starts + self.counts).max())

    def from_end(self, length: int) -> Weights:
        """Return the same for a side of *length* pixels that is stored from its end on."""
        places = self.counts[:, None] - 1 - np.arange(self.values.shape[1])
        turned = np.take_along_axis(self.values, np.maximum(places, 0), axis=1)
        values = np.ascontiguousarray(np.where(places < 0, 0, turned))
        return replace(self, starts=length - self.starts - self.counts, values=values)

    def from_pixel(self, first: int) -> Weights:
        """Return the same for a side that is stored from the pixel *first* on."""
        return replace(self, starts=self.starts - first)


def _bilinear(x: Doubles) -> Doubles:
    x = np.abs(x)
    return np.where(x < 1.0, 1.0 - x, 0.0)


def _bicubic(x: Doubles) -> Doubles:
    x, a = np.abs(x), _SHARPNESS
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


_FILTERS: dict[Filter, tuple[Callable[[Doubles], Doubles], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
}


@functools.lru_cache(maxsize=KEPT)
def pillows_weights(side: Side, interpolation: Filter) -> Weights:
    """Return the weights by which Pillow resizes one side.

    >>> pillows_weights(Side(length=4, first=0, last=4, target=2), "bilinear").values.tolist()
    [[1797559, 1797559, 599186], [599186, 1797559, 1797559]]
    """
    function, reach = _FILTERS[interpolation]
    scale = (side.last - side.first) / side.target
    stretch = max(scale, 1.0)
    support = reach * stretch
    centres = side.first + (np.arange(side.target) + 0.5) * scale
    # Both are cut towards zero, as C does.
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centres + support + 0.5).astype(np.int64), side.length)
    counts = ends - starts
    taps = np.arange(counts.max())
    places = (starts[:, None] + taps).astype(np.float64)
    values = function((places - centres[:, None] + 0.5) * (1.0 / stretch))
    values[taps >= counts[:, None]] = 0.0
    # Added up from left to right, which numpy's own sum does not do.
    total = np.cumsum(values, axis=1)[:, -1:]
    values = np.divide(values, total, out=values, where=total != 0.0)
    scaled = values * (1 << BITS)
    rounded = np.where(scaled < 0, scaled - 0.5, scaled + 0.5).astype(np.int32)
    return Weights(starts=starts, counts=counts, values=np.ascontiguousarray(rounded))
