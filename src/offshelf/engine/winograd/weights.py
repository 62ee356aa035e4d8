"""The weights of a convolution, transformed and laid out for the product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.winograd import compiled

Floats = NDArray[np.float32]
# Bytes of a line of the cache: a vector that crosses one is read twice.
LINE = 64
# Lavin and Gray, equation 15: G.
_INTO = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def packed(weights: Floats, half: bool = False) -> NDArray[Any]:
    """Return the weights of a 3 x 3 convolution as the product reads them.

    Computed in float64, so that the only rounding is the last.

    Args:
        weights: float32, K x C x 3 x 3, K a multiple of the processor's panel, C even.
        half: rounded to bfloat16, two rows of a panel side by side.

    Returns:
        float32, flat: POINTS points, K / panel panels, C rows, panel columns. With *half*
        the bits of bfloat16 as uint16, and C / 2 pairs of rows.

    Raises:
        RuntimeError: the processor is not supported.

    >>> packed(np.ones((64, 16, 3, 3), np.float32)).size == 36 * 64 * 16
    True
    """
    found = compiled.registers()
    if found is None:
        raise RuntimeError("this processor is not supported")
    channels, depth = weights.shape[:2]
    together = 2 if half else 1
    panels = weights.reshape(channels // found.panel, found.panel, depth // together, together, 9)
    # The order of the result before the product: nine numbers are moved instead of 36.
    nine = panels.transpose(0, 2, 1, 3, 4).astype(np.float64).reshape(-1, 9)
    points = np.kron(_INTO, _INTO) @ nine.T
    return aligned(_rounded(points), np.uint16) if half else aligned(points)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return the bits of the nearest bfloat16, of two equally near the even one."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def aligned(values: NDArray[Any], kind: type[np.generic] = np.float32) -> NDArray[Any]:
    """Return *values* as flat *kind* that starts on a line of the cache.

    >>> aligned(np.ones(3)).ctypes.data % LINE
    0
    """
    copy = aligned_empty(values.size, kind)
    copy.reshape(values.shape)[...] = values
    return copy


def aligned_empty(size: int, kind: type[np.generic] = np.float32) -> NDArray[Any]:
    """Return room for *size* numbers that starts on a line of the cache."""
    bytes_each = np.dtype(kind).itemsize
    room = np.empty(size + LINE // bytes_each, kind)
    start = -room.ctypes.data % LINE // bytes_each
    return room[start : start + size]
