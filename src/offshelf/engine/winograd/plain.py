"""The int8 convolution in numpy, for processors that the compiled code is not made for.

Slow, and to the bit the compiled code's result: the sums of whole numbers are exact in float32,
and all other operations are the same in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from offshelf.engine.winograd.layout import TWO, Matrix
from offshelf.engine.winograd.ranges import Ranges, rounded_weights

Floats = NDArray[np.float32]
Tile = Sequence[Sequence[Floats]]


class PlainConvolution:
    """A 3 x 3 convolution of 8-bit numbers.

    Args:
        weights: float32, K x C x 3 x 3.
        bias: float32, K.
        ranges: of the transformed input.
        floor: smaller results become this.
        pool: the largest of each 2 x 2 is taken.
    """

    def __init__(
        self, weights: Floats, bias: Floats, ranges: Ranges, floor: float, pool: bool
    ) -> None:
        whole, self._units = rounded_weights(weights, ranges)
        self._weights = whole.astype(np.float32)
        self._bias, self._ranges, self._floor, self._pool = bias, ranges, floor, pool

    def run(self, frame: Floats, result: Floats, rows: int, columns: int) -> None:
        """Write to *result*, from its pixel 1, 1 on, the convolution of *frame*.

        Args:
            frame: float32, N x height x width x C, with a border of one pixel.
            result: float32, N x height x width x K.
            rows: of tiles; there are 2 rows + 2 of pixels or more.
            columns: of tiles.
        """
        tile = self._computed(frame[:, : 2 * rows + 2, : 2 * columns + 2])
        if self._pool:
            largest = np.maximum(np.maximum(*tile[0]), np.maximum(*tile[1]))
            tile = [[largest]]
        step = len(tile)
        for i, line in enumerate(tile):
            for j, values in enumerate(line):
                inner = result[:, 1 + i :: step, 1 + j :: step][:, :rows, :columns]
                inner[...] = np.maximum(values + self._bias, self._floor)

    def _computed(self, frame: Floats) -> Tile:
        """Return the outputs of the tiles: 2 x 2 arrays, N x rows x columns x K."""
        windows = sliding_window_view(frame, (TWO.side, TWO.side), (1, 2))[:, ::2, ::2]
        side = range(TWO.side)
        pixels = [[windows[..., i, j] for j in side] for i in side]
        points = [point for line in _two_sided(TWO.into, pixels) for point in line]
        flat = np.stack([point.reshape(-1, frame.shape[-1]) for point in points])
        sums = np.matmul(self._ranges.rounded(flat), self._weights) * self._units[:, None]
        shaped = sums.reshape(TWO.side, TWO.side, *windows.shape[:3], -1)
        return _two_sided(TWO.back, [list(line) for line in shaped])


def _two_sided(matrix: Matrix, tile: Tile) -> list[list[Any]]:
    columns = [[_dot(row, column) for row in matrix] for column in zip(*tile, strict=True)]
    return [[_dot(row, line) for row in matrix] for line in zip(*columns, strict=True)]


def _dot(weights: Sequence[float], arrays: Sequence[Any]) -> Any:
    """Return a sum with weights of 1, 0 and -1, those of 1 first."""
    terms = [(w, a) for w, a in zip(weights, arrays, strict=True) if w]
    (_, total), *rest = sorted(terms, key=lambda term: -term[0])
    for weight, array in rest:
        total = total + array if weight > 0 else total - array
    return total
