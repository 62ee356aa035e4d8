"""A resize by machine code: the bits of Pillow's, without its copy of the pixels."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.resample.weights import Filter, Side, Weights, pillows_weights

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Size = tuple[int, int]
# Whether columns come first: by the width and height of a picture, and those of the result.
Order = Callable[[Size, Size], bool]
_Grouped = tuple[NDArray[np.int64], NDArray[np.int32]]
_KEPT = 8


def rows_first(_given: Size, _wanted: Size) -> bool:
    """Return False: the pass along rows always comes first, as in Pillow up to 12."""
    return False


def shorter_first(given: Size, wanted: Size) -> bool:
    """Return whether the pass down columns comes first, as in Pillow 13.

    It does where a picture loses more than twice as many rows as columns.

    >>> shorter_first((100, 100), (80, 50)), shorter_first((4000, 3000), (224, 224))
    (True, False)
    """
    fewer = given[1] - wanted[1]
    return fewer > 0 and 2 * (given[0] - wanted[0]) < fewer


@dataclass(frozen=True, kw_only=True, eq=False)
class Functions:
    """The passes, compiled. They hold no lock of Python's while they run.

    Attributes:
        along: the pass along rows, by channels; see :func:`offshelf.resample.code.along_rows`.
        down: that down columns; see :func:`offshelf.resample.code.down_columns`.
        lanes: bytes in a vector.
        pixels: how many are whole in a vector, by channels.
        stride: what the bytes of a row are a multiple of where columns are computed.
        engine: owns the machine code.
    """

    along: dict[int, Callable[..., None]]
    down: Callable[..., None]
    lanes: int
    pixels: dict[int, int]
    stride: int
    engine: Any


def compiled(processor: str = "") -> Functions:
    """Compile the passes.

    Args:
        processor: see :func:`offshelf.machine_code.assembled`.
    """
    from llvmlite import ir

    from offshelf.machine_code import assembled
    from offshelf.resample import code

    module = ir.Module("resize")
    for channels in code.PIXELS:
        code.along_rows(module, f"along{channels}", channels)
    code.down_columns(module, "down")
    engine = assembled(module, processor, rewritten=False)

    def function(name: str, arguments: tuple[str, ...]) -> Callable[..., None]:
        # Addresses are whole numbers, too.
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))
        return kind(engine.get_function_address(name))

    return Functions(
        along={channels: function(f"along{channels}", code.ALONG) for channels in code.PIXELS},
        down=function("down", code.DOWN),
        lanes=code.LANES,
        pixels=code.PIXELS,
        stride=code.STRIDE,
        engine=engine,
    )


class Passes:
    """Resizes; any number of threads may use it at once.

    Args:
        functions: compiled.
        order: of the passes, as each rounds to whole numbers.
    """

    def __init__(self, functions: Functions, order: Order) -> None:
        self._functions, self._order = functions, order

    def resized(self, pixels: Pixels, size: Size, box: Box, interpolation: Filter) -> Pixels:
        """Return what Pillow's resize gives.

        Args:
            pixels: H x W or H x W x 3.
            size: width and height of the result.
            box: left, top, right, bottom of what is seen.
            interpolation: the filter.
        """
        height, width = pixels.shape[:2]
        (columns, rows), (left, top, right, bottom) = size, box
        channels = 1 if pixels.ndim == 2 else 3
        wide = Side(length=width, first=left, last=right, target=columns)
        high = Side(length=height, first=top, last=bottom, target=rows)
        across = self._grouped(wide, interpolation, channels)
        down = pillows_weights(high, interpolation)
        first, last = int(down.starts[0]), int(down.starts[-1] + down.counts[-1])
        source = pixels[first:last].reshape(last - first, -1)
        down = replace(down, starts=down.starts - first)
        if self._order((width, height), size):
            result = self._narrowed(self._lowered(self._padded(source), down), across, channels)
        else:
            narrow = self._narrowed(np.ascontiguousarray(source), across, channels)
            result = self._lowered(narrow, down)
        seen = np.ascontiguousarray(result[:, : columns * channels])
        return seen.reshape(rows, columns, *pixels.shape[2:])

    def _narrowed(self, source: Pixels, given: _Grouped, channels: int) -> Pixels:
        """Make the pass along rows. What is read behind a row counts for nothing."""
        starts, weights = given
        columns, groups = weights.shape[:2]
        rows, line = source.shape
        target = np.empty((rows, self._stride(columns * channels + 1)), np.uint8)
        behind = groups * self._functions.lanes
        # Behind the last row there may be no memory at all.
        tail = min(rows, -(-behind // line))
        spare = np.zeros(tail * line + behind, np.uint8)
        spare[: tail * line] = source[rows - tail :].reshape(-1)
        parts = ((source, rows - tail, target), (spare, tail, target[rows - tail :]))
        for lines, count, out in parts:
            self._functions.along[channels](
                *_addresses(lines, starts, weights, out),
                *(line, count, groups, columns, target.shape[1]),
            )
        return target

    def _lowered(self, source: Pixels, given: Weights) -> Pixels:
        """Make the pass down columns of rows that are padded."""
        rows, taps = given.values.shape
        target = np.empty((rows, source.shape[1]), np.uint8)
        self._functions.down(
            *_addresses(source, given.starts, given.counts, given.values, target),
            *(taps, rows, source.shape[1]),
        )
        return target

    def _padded(self, source: Pixels) -> Pixels:
        padded = np.zeros((len(source), self._stride(source.shape[1])), np.uint8)
        padded[:, : source.shape[1]] = source
        return padded

    def _stride(self, length: int) -> int:
        return -(-length // self._functions.stride) * self._functions.stride

    def _grouped(self, side: Side, interpolation: Filter, channels: int) -> _Grouped:
        together = self._functions.pixels[channels]
        return _grouped(side, interpolation, channels, together, self._functions.lanes)


def _addresses(*arrays: NDArray[Any]) -> list[int]:
    return [array.ctypes.data for array in arrays]


@functools.lru_cache(maxsize=_KEPT)
def _grouped(
    side: Side, interpolation: Filter, channels: int, together: int, lanes: int
) -> _Grouped:
    """Return where the bytes of each result begin, and their weights, N x groups x lanes.

    Args:
        side: of the picture.
        interpolation: the filter.
        channels: of the picture.
        together: pixels in a vector.
        lanes: bytes in a vector.
    """
    given = pillows_weights(side, interpolation)
    taps = given.values.shape[1]
    groups = -(-taps // together)
    pixels = np.zeros((side.target, groups * together), np.int32)
    pixels[:, :taps] = given.values
    weights = np.zeros((side.target, groups, lanes), np.int32)
    pixels = pixels.reshape(side.target, groups, together)
    weights[:, :, : together * channels] = np.repeat(pixels, channels, axis=2)
    return given.starts * channels, weights
