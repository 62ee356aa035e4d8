"""A resize by machine code: the bits of Pillow's, without its copy of the pixels."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.resample.filter_weights import (
    KEPT,
    LANES,
    MIN_LINE,
    PIXELS,
    Filter,
    Side,
    Weights,
    pillows_weights,
)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """The rows of a picture in the order of memory, C-contiguous, H x W or H x W x 3.

    To make it upright, the columns of a *mirrored* one are read from the right, the rows of an
    *inverted* one from below; the columns of a *turned* one are what is stored as rows.
    """

    rows: Pixels
    mirrored: bool = False
    inverted: bool = False
    turned: bool = False


def stored_rows(pixels: Pixels) -> Stored:
    """Return how a view lies in memory; one that lies otherwise is copied.

    >>> found = stored_rows(np.rot90(np.zeros((2, 3), np.uint8)))
    >>> found.rows.shape, found.mirrored, found.inverted, found.turned
    ((2, 3), False, True, True)
    """
    down, across = pixels.strides[:2]
    rows = pixels[:: 1 if down >= 0 else -1, :: 1 if across >= 0 else -1]
    turned = abs(down) < abs(across)
    rows = rows.swapaxes(0, 1) if turned else rows
    if not rows.flags.c_contiguous:
        return Stored(rows=np.ascontiguousarray(pixels))
    return Stored(rows=rows, mirrored=across < 0, inverted=down < 0, turned=turned)


Box = tuple[int, int, int, int]
Size = tuple[int, int]
# Whether columns come first: by the width and height of a picture, and those of the result.
Order = Callable[[Size, Size], bool]
_Grouped = tuple[NDArray[np.int64], NDArray[np.int32]]


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
    """The compiled passes, that along rows by channels; *engine* owns the machine code.

    They hold no lock of Python's while they run.
    """

    along: dict[int, Callable[..., None]]
    down: Callable[..., None]
    engine: Any


def compiled(processor: str = "") -> Functions:
    """Compile the passes for a kind of processor, see :func:`offshelf.machine_code.assembled`."""
    from llvmlite import ir

    from offshelf.machine_code import assembled
    from offshelf.resample import resize_code

    module = ir.Module("resize")
    for channels in PIXELS:
        resize_code.along_rows(module, f"along{channels}", channels)
    resize_code.down_columns(module, "down")
    engine = assembled(module, processor, rewritten=False)

    def function(name: str, arguments: tuple[str, ...]) -> Callable[..., None]:
        # Addresses are whole numbers, too.
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))
        return kind(engine.get_function_address(name))

    return Functions(
        along={n: function(f"along{n}", resize_code.ALONG) for n in PIXELS},
        down=function("down", resize_code.DOWN),
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
        """Return what Pillow's resize gives; the arguments are those of ``resize.resized``.

        A mirrored or turned view is read as it lies in memory: it is not copied upright.
        """
        height, width = pixels.shape[:2]
        left, top, right, bottom = box
        wide = Side(length=width, first=left, last=right, target=size[0])
        high = Side(length=height, first=top, last=bottom, target=size[1])
        across, down = (pillows_weights(side, interpolation) for side in (wide, high))
        columns_first = self._order((width, height), size)
        stored = stored_rows(pixels)
        across = across.from_end(width) if stored.mirrored else across
        down = down.from_end(height) if stored.inverted else down
        if stored.turned:
            across, down, columns_first = down, across, not columns_first
        seen = self._passed(stored.rows, across, down, columns_first)
        return np.ascontiguousarray(seen.swapaxes(0, 1)) if stored.turned else seen

    def _passed(self, rows: Pixels, across: Weights, down: Weights, columns_first: bool) -> Pixels:
        """Make both passes over rows as they lie in memory."""
        channels = 1 if rows.ndim == 2 else 3
        first, last = down.span
        source = rows[first:last].reshape(last - first, -1)
        down = down.from_pixel(first)
        grouped = _grouped(across, channels)
        if columns_first:
            lowered = self._down_columns(self._padded(source), down)
            result = self._along_rows(lowered, grouped, channels)
        else:
            result = self._down_columns(self._along_rows(source, grouped, channels), down)
        length = len(across.starts) * channels
        return np.ascontiguousarray(result[:, :length]).reshape(len(result), -1, *rows.shape[2:])

    def _along_rows(self, source: Pixels, given: _Grouped, channels: int) -> Pixels:
        """Make the pass along rows. What is read behind a row counts for nothing."""
        starts, weights = given
        columns, groups = weights.shape[:2]
        rows, line = source.shape
        length = max(columns * channels + 1, MIN_LINE)
        target = np.empty((rows, length), np.uint8)
        behind = groups * LANES
        # Behind the last row there may be no memory at all.
        tail = min(rows, -(-behind // line))
        spare = np.zeros(tail * line + behind, np.uint8)
        spare[: tail * line] = source[rows - tail :].reshape(-1)
        parts = ((source, rows - tail, target), (spare, tail, target[rows - tail :]))
        for lines, count, out in parts:
            self._functions.along[channels](
                *_addresses(lines, starts, weights, out),
                *(line, count, groups, columns, length),
            )
        return target

    def _down_columns(self, source: Pixels, given: Weights) -> Pixels:
        """Make the pass down columns of rows that are wide enough."""
        rows, taps = given.values.shape
        target = np.empty((rows, source.shape[1]), np.uint8)
        self._functions.down(
            *_addresses(source, given.starts, given.counts, given.values, target),
            *(taps, rows, source.shape[1]),
        )
        return target

    def _padded(self, source: Pixels) -> Pixels:
        missing = MIN_LINE - source.shape[1]
        return source if missing <= 0 else np.pad(source, ((0, 0), (0, missing)))


@functools.lru_cache(maxsize=KEPT)
def _grouped(given: Weights, channels: int) -> _Grouped:
    """Return where the bytes of each result begin, and their weights, N x groups x lanes."""
    together = PIXELS[channels]
    count, taps = given.values.shape
    groups = -(-taps // together)
    pixels = np.zeros((count, groups * together), np.int32)
    pixels[:, :taps] = given.values
    weights = np.zeros((count, groups, LANES), np.int32)
    pixels = pixels.reshape(count, groups, together)
    weights[:, :, : together * channels] = np.repeat(pixels, channels, axis=2)
    return given.starts * channels, weights


def _addresses(*arrays: NDArray[Any]) -> list[int]:
    return [array.ctypes.data for array in arrays]
