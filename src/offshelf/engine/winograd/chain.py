"""Convolutions one after the other, with room to work in that is used again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.winograd import compiled
from offshelf.engine.winograd.layout import Kind
from offshelf.engine.winograd.plain import PlainConvolution
from offshelf.engine.winograd.ranges import Ranges
from offshelf.engine.winograd.weights import aligned, aligned_empty, packed, packed_bytes

Floats = NDArray[np.float32]
# Transformed weights above this do not stay in the cache: then many tiles share a pass.
CACHED = 12_000_000
MANY_TILES, FEW_TILES = 196, 14
BYTE_TILES = 56


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A 3 x 3 convolution with stride 1 and a border of one zero, and what follows it.

    Attributes:
        weights: float32, K x C x 3 x 3; C and K multiples of what :func:`fits` says.
        bias: float32, K.
        relu: negative results become 0.
        pool: the largest of each 2 x 2 is taken; an odd last row or column is left out.
        ranges: where given, the products are of 8-bit numbers in these ranges.
    """

    weights: Floats
    bias: Floats
    relu: bool = True
    pool: bool = False
    ranges: Ranges | None = None

    def kind(self, half: bool) -> Kind:
        """Return which function computes it; *half* asks for bfloat16, unless it is of int8."""
        if self.ranges is not None:
            return Kind(self.pool, "byte")
        return Kind(self.pool, "half" if half else "float")


def fits(channels: int, depth: int) -> bool:
    """Return whether this processor can convolve *depth* into *channels* channels."""
    found = compiled.registers()
    return found is not None and not (channels % found.panel or depth % found.width)


class _Step:
    """A convolution at one size of images."""

    def __init__(self, convolution: Convolution, height: int, width: int, half: bool) -> None:
        self.channels, self.depth = convolution.weights.shape[:2]
        self.out = convolution.kind(half).filter.out
        self.rows, self.columns = -(-height // self.out), -(-width // self.out)
        share = 2 if convolution.pool else 1
        self.height, self.width = height // share, width // share
        # What the tiles write, which may be more than the image.
        self.written = (self.out * self.rows // share, self.out * self.columns // share)
        self._floor = 0.0 if convolution.relu else float("-inf")
        self._prepare(convolution, half)

    def _prepare(self, convolution: Convolution, half: bool) -> None:
        weights, bias, ranges = convolution.weights, convolution.bias, convolution.ranges
        self._plain = None
        if ranges is not None and not fits(self.channels, self.depth):
            # The graph was calibrated on another processor.
            self._plain = PlainConvolution(weights, bias, ranges, self._floor, convolution.pool)
            self.few_weights = True
            return
        kind = convolution.kind(half)
        self._points = kind.filter.points
        self._packed = packed_bytes(weights, ranges) if ranges else packed(weights, kind)
        self._bias = aligned(bias)
        self._function = compiled.function(kind)
        self.few_weights = self._packed.numbers.nbytes <= CACHED
        self._block = FEW_TILES if self.few_weights else MANY_TILES
        if ranges is not None:
            self._block = BYTE_TILES

    def run(self, frame: Floats, result: Floats, room: _Room) -> None:
        if self._plain is not None:
            self._plain.run(frame, result, self.rows, self.columns)
        else:
            self._run_compiled(frame, result, room)
        _clear_border(result, self.height, self.width)

    def _run_compiled(self, frame: Floats, result: Floats, room: _Room) -> None:
        packed = self._packed
        transformed = room.take("transformed", (self._points, self._block, self.depth))
        multiplied = room.take("multiplied", (self._points, self._block, self.channels))
        arrays = (frame, packed.numbers, self._bias, result, transformed, multiplied)
        for_bytes = (packed.scales, packed.offsets, packed.units, packed.starts)
        self._function(
            *(None if array is None else array.ctypes.data for array in (*arrays, *for_bytes)),
            self._floor,
            *(len(frame), self.rows, self.columns, self.depth, self.channels),
            *(*frame.shape[1:3], *result.shape[1:3], self._block),
        )


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
        self._steps: list[_Step] = []
        for convolution in convolutions:
            self._steps.append(_Step(convolution, height, width, half))
            height, width = self._steps[-1].height, self._steps[-1].width
        self.shape = (height, width, self._steps[-1].channels)
        self._frames = self._sizes()
        # Few weights stay in the cache, and so do the maps of one image at a time; many
        # weights are read once for all images.
        few = [step.few_weights for step in self._steps]
        self._alone = (*few, False).index(False)
        self._rooms: list[_Room] = []

    def run(self, images: Floats, out: Floats) -> None:
        """Write the result for *images* to *out*; several threads may run at once.

        Args:
            images: float32, N x height x width x C.
            out: float32, N x ``shape``.
        """
        try:
            room = self._rooms.pop()
        except IndexError:
            room = _Room()
        frame = room.take("frame 0", (len(images), *self._frames[self._alone]))
        for i in range(len(images)):
            self._begin(images[i : i + 1], frame[i : i + 1], room)
        for i, step in enumerate(self._steps[self._alone :], 1):
            shape = (len(images), *self._frames[self._alone + i])
            result = room.take(f"frame {i % 2}", shape)
            step.run(frame, result, room)
            frame = result
        height, width, _ = self.shape
        out[:] = frame[:, 1 : height + 1, 1 : width + 1]
        self._rooms.append(room)

    def _begin(self, image: Floats, target: Floats, room: _Room) -> None:
        """Write to *target* what the steps for one image at a time make of *image*."""
        frames = [room.take(f"one {i % 2}", (1, *self._frames[i])) for i in range(self._alone)]
        frames.append(target)
        frames[0][:, 1 : self._height + 1, 1 : self._width + 1] = image
        _clear_border(frames[0], self._height, self._width)
        for i, step in enumerate(self._steps[: self._alone]):
            step.run(frames[i], frames[i + 1], room)

    def _sizes(self) -> list[tuple[int, int, int]]:
        """Return height, width and channels of the frames: for what is written and read."""
        written = [(self._height, self._width), *(step.written for step in self._steps)]
        read = [(step.out * step.rows, step.out * step.columns) for step in self._steps]
        read.append((0, 0))
        channels = [self._steps[0].depth, *(step.channels for step in self._steps)]
        return [
            (max(w[0], r[0]) + 2, max(w[1], r[1]) + 2, c)
            for w, r, c in zip(written, read, channels, strict=True)
        ]


class _Room:
    """Memory by name, as large as was ever needed."""

    def __init__(self) -> None:
        self._parts: dict[str, Floats] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        size = int(np.prod(shape))
        if name not in self._parts or self._parts[name].size < size:
            self._parts[name] = aligned_empty(size)
        return self._parts[name][:size].reshape(shape)


def _clear_border(frame: Floats, height: int, width: int) -> None:
    """Set what lies around the image to 0, the convolution's border among it."""
    frame[:, 0] = 0
    frame[:, height + 1 :] = 0
    frame[:, :, 0] = 0
    frame[:, :, width + 1 :] = 0
