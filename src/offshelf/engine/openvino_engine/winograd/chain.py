"""Chains of convolutions, channels last, in reused memory; and int8 without compiled code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd.convolution import (
    CompiledConvolution,
    Convolution,
    Room,
    fits,
)
from offshelf.engine.openvino_engine.winograd.int8_ranges import rounded_weights
from offshelf.engine.openvino_engine.winograd.panel_layout import TWO, Matrix

Floats = NDArray[np.float32]
Tile = Sequence[Sequence[Floats]]
# Rows of tiles computed at a time, to bound the memory.
STRIP = 8


class PlainConvolution:
    """A 3 x 3 convolution of 8-bit numbers in numpy, where there is no compiled code for it.

    Slow, and to the bit the compiled code's result: the sums of whole numbers are exact in
    float32 (up to 512 channels), and all other operations are the same in the same order. See
    :class:`CompiledConvolution`.
    """

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


class Step:
    """A convolution at one size of images."""

    def __init__(self, convolution: Convolution, height: int, width: int, half: bool) -> None:
        self.channels, self.depth = convolution.weights.shape[:2]
        self.taps, out = convolution.taps, convolution.kind(half).filter.out
        self._tiles = (-(-height // out), -(-width // out))
        # Whole tiles may read, and write, more than the image.
        self.read = (out * self._tiles[0], out * self._tiles[1])
        share = 2 if convolution.pool else 1
        self.height, self.width = height // share, width // share
        self.written = (self.read[0] // share, self.read[1] // share)
        self._work: CompiledConvolution | PlainConvolution
        if convolution.ranges is not None and not fits(self.channels, self.depth):
            # The graph was calibrated on another processor.
            self._work = PlainConvolution(convolution)
        else:
            self._work = CompiledConvolution(convolution, half)
        self.few_weights = self._work.few_weights

    def run(self, frame: Floats, result: Floats, room: Room) -> None:
        """Write to *result* the convolution of *frame*; both have a border of one pixel."""
        self._work.run(frame, result, self._tiles, room)
        clear_border(result, self.height, self.width)

    def tap(self, result: Floats, targets: Iterator[Floats]) -> None:
        """Write the taps of *result* to the next of *targets*, N x K each."""
        image = result[:, 1 : self.height + 1, 1 : self.width + 1]
        for kind in self.taps:
            # Summed line by line, which rounds least.
            if kind == "mean":
                image.sum(2).sum(1, out=(target := next(targets)))
                target /= self.height * self.width
            else:
                image.max(2).max(1, out=next(targets))


def clear_border(frame: Floats, height: int, width: int) -> None:
    """Set what lies around the image to 0, the convolution's border among it."""
    frame[:, 0] = 0
    frame[:, height + 1 :] = 0
    frame[:, :, 0] = 0
    frame[:, :, width + 1 :] = 0


class Chain:
    """Runs convolutions on images, channels last.

    Args:
        convolutions: in order; each takes the channels that the one before gives.
        height: of the input, pixels.
        width: of the input, pixels.
        half: the products are of bfloat16; sums and what lies between are float32.

    >>> one = Convolution(np.ones((32, 32, 3, 3), np.float32), np.zeros(32, np.float32))
    >>> out = np.empty((1, 5, 5, 32), np.float32)
    >>> Chain([one], 5, 5).run(np.ones((1, 5, 5, 32), np.float32), out)
    >>> float(out[0, 2, 2, 0].round(3)), float(out[0, 0, 0, 0].round(3))
    (288.0, 128.0)
    """

    def __init__(
        self, convolutions: Sequence[Convolution], height: int, width: int, half: bool = False
    ) -> None:
        self._height, self._width = height, width
        self._steps: list[Step] = []
        for convolution in convolutions:
            self._steps.append(Step(convolution, height, width, half))
            height, width = self._steps[-1].height, self._steps[-1].width
        self.shape = (height, width, self._steps[-1].channels)
        self.taps = tuple(step.channels for step in self._steps for _ in step.taps)
        self._frames = self._sizes()
        # Few weights stay in the cache, so images are computed one at a time and their maps stay
        # there, too; many weights are read once for all images.
        few = [step.few_weights for step in self._steps]
        self._alone = (*few, False).index(False)
        self._rooms: list[Room] = []

    def run(self, images: Floats, out: Floats, tapped: Sequence[Floats] = ()) -> None:
        """Write the result for *images* to *out*; several threads may run at once.

        Args:
            images: float32, N x height x width x C.
            out: float32, N x ``shape``.
            tapped: float32, N x K each, for what the convolutions' taps are written to.
        """
        try:
            room = self._rooms.pop()
        except IndexError:
            room = Room()
        frame = room.take("frame 0", (len(images), *self._frames[self._alone]))
        for i in range(len(images)):
            one = slice(i, i + 1)
            self._begin(images[one], frame[one], [target[one] for target in tapped], room)
        before = sum(len(step.taps) for step in self._steps[: self._alone])
        targets = iter(tapped[before:])
        for i, step in enumerate(self._steps[self._alone :], 1):
            shape = (len(images), *self._frames[self._alone + i])
            result = room.take(f"frame {i % 2}", shape)
            step.run(frame, result, room)
            step.tap(result, targets)
            frame = result
        height, width, _ = self.shape
        out[:] = frame[:, 1 : height + 1, 1 : width + 1]
        self._rooms.append(room)

    def _begin(self, image: Floats, target: Floats, tapped: list[Floats], room: Room) -> None:
        """Write to *target* what the steps for one image at a time make of *image*."""
        frames = [room.take(f"one {i % 2}", (1, *self._frames[i])) for i in range(self._alone)]
        frames.append(target)
        frames[0][:, 1 : self._height + 1, 1 : self._width + 1] = image
        clear_border(frames[0], self._height, self._width)
        targets = iter(tapped)
        for i, step in enumerate(self._steps[: self._alone]):
            step.run(frames[i], frames[i + 1], room)
            step.tap(frames[i + 1], targets)

    def _sizes(self) -> list[tuple[int, int, int]]:
        """Return height, width and channels of the frames: for what is written and read."""
        written = [(self._height, self._width), *(step.written for step in self._steps)]
        read = [*(step.read for step in self._steps), (0, 0)]
        channels = [self._steps[0].depth, *(step.channels for step in self._steps)]
        return [
            (max(w[0], r[0]) + 2, max(w[1], r[1]) + 2, c)
            for w, r, c in zip(written, read, channels, strict=True)
        ]
