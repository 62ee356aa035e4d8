"""The int8 convolution in numpy, for processors that the compiled code is not made for.

Slow, and to the bit the compiled code's result: the sums of whole numbers are exact in float32
(up to 512 channels), and all other operations are the same in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd.convolution import Convolution, Room
from offshelf.engine.openvino_engine.winograd.int8_ranges import rounded_weights
from offshelf.engine.openvino_engine.winograd.panel_layout import TWO, Matrix

Floats = NDArray[np.float32]
Tile = Sequence[Sequence[Floats]]
# Rows of tiles at a time, which bounds the memory.
STRIP = 8


class PlainConvolution:
    """A 3 x 3 convolution of 8-bit numbers; see :class:`CompiledConvolution`."""

    few_weights = True

    def __init__(self, convolution: Convolution) -> None:
        if convolution.ranges is None:
            raise ValueError("only int8 is computed in numpy")
        whole, self._units = rounded_weights(convolution.weights, convolution.ranges)
        self._weights, self._ranges = whole.astype(np.float32), convolution.ranges
        self._bias, self._floor, self._pool = convolution.bias, convolution.floor, convolution.pool

    def run(self, frame: Floats, result: Floats, tiles: tuple[int, int], _room: Room) -> None:
        """Write the convolution of *frame* to *result*; both have a border of one pixel."""
        rows, columns = tiles
        for first in range(0, rows, STRIP):
            count = min(STRIP, rows - first)
            start = first if self._pool else 2 * first
            strip = frame[:, 2 * first : 2 * (first + count) + 2]
            self._run_strip(strip, result[:, start:], count, columns)

    def _run_strip(self, frame: Floats, result: Floats, rows: int, columns: int) -> None:
        tile = self._computed(frame[:, :, : 2 * columns + 2])
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
