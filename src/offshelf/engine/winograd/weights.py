"""The weights of a convolution, transformed and laid out for the product."""

from __future__ import annotations

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


def packed(weights: Floats) -> Floats:
    """Return the weights of a 3 x 3 convolution as the product reads them.

    Computed in float64, so that the only rounding is the last.

    Args:
        weights: float32, K x C x 3 x 3, K a multiple of the processor's panel.

    Returns:
        float32, flat: POINTS points, K / panel panels, C rows, panel columns.

    Raises:
        RuntimeError: the processor is not supported.

    >>> packed(np.ones((64, 16, 3, 3), np.float32)).size == 36 * 64 * 16
    True
    """
    found = compiled.registers()
    if found is None:
        raise RuntimeError("this processor is not supported")
    channels, depth = weights.shape[:2]
    panels = weights.reshape(channels // found.panel, found.panel, depth, 9)
    # The order of the result before the product: nine numbers are moved instead of 36.
    nine = panels.transpose(0, 2, 1, 3).astype(np.float64).reshape(-1, 9)
    return aligned(np.kron(_INTO, _INTO) @ nine.T)


def aligned(values: Floats | NDArray[np.float64]) -> Floats:
    """Return *values* as flat float32 that starts on a line of the cache.

    >>> aligned(np.ones(3)).ctypes.data % LINE
    0
    """
    copy = aligned_empty(values.size)
    copy.reshape(values.shape)[...] = values
    return copy


def aligned_empty(size: int) -> Floats:
    """Return room for *size* float32 that starts on a line of the cache."""
    room = np.empty(size + LINE // 4, np.float32)
    start = -room.ctypes.data % LINE // 4
    return room[start : start + size]
