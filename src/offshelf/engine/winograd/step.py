"""One convolution, at one size of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

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
        taps: of the result, ``mean`` or ``max`` over its positions, or both.
    """

    weights: Floats
    bias: Floats
    relu: bool = True
    pool: bool = False
    ranges: Ranges | None = None
    taps: tuple[str, ...] = ()

    def kind(self, half: bool) -> Kind:
        """Return which function computes it; *half* asks for bfloat16, unless it is of int8."""
        if self.ranges is not None:
            return Kind(self.pool, "byte")
        return Kind(self.pool, "half" if half else "float")


def fits(channels: int, depth: int) -> bool:
    """Return whether this processor can convolve *depth* into *channels* channels."""
    found = compiled.registers()
    return found is not None and not (channels % found.panel or depth % found.width)


class Step:
    """A convolution at one size of images."""

    def __init__(self, convolution: Convolution, height: int, width: int, half: bool) -> None:
        self.channels, self.depth = convolution.weights.shape[:2]
        self.out = convolution.kind(half).filter.out
        self.rows, self.columns = -(-height // self.out), -(-width // self.out)
        share = 2 if convolution.pool else 1
        self.height, self.width = height // share, width // share
        # What the tiles write, which may be more than the image.
        self.written = (self.out * self.rows // share, self.out * self.columns // share)
        self.taps = convolution.taps
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

    def run(self, frame: Floats, result: Floats, room: Room) -> None:
        """Write to *result* the convolution of *frame*; both have a border of one pixel."""
        if self._plain is not None:
            self._plain.run(frame, result, self.rows, self.columns)
        else:
            self._run_compiled(frame, result, room)
        clear_border(result, self.height, self.width)

    def tap(self, result: Floats, targets: Iterator[Floats]) -> None:
        """Write what is tapped of *result* to the next of *targets*, N x K each."""
        image = result[:, 1 : self.height + 1, 1 : self.width + 1]
        for kind in self.taps:
            # Line by line: a sum of few numbers after the other loses least.
            if kind == "mean":
                image.sum(2).sum(1, out=(target := next(targets)))
                target /= self.height * self.width
            else:
                image.max(2).max(1, out=next(targets))

    def _run_compiled(self, frame: Floats, result: Floats, room: Room) -> None:
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


class Room:
    """Memory by name, as large as was ever needed."""

    def __init__(self) -> None:
        self._parts: dict[str, Floats] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return the memory of that name; what it held is lost."""
        size = int(np.prod(shape))
        if name not in self._parts or self._parts[name].size < size:
            self._parts[name] = aligned_empty(size)
        return self._parts[name][:size].reshape(shape)


def clear_border(frame: Floats, height: int, width: int) -> None:
    """Set what lies around the image to 0, the convolution's border among it."""
    frame[:, 0] = 0
    frame[:, height + 1 :] = 0
    frame[:, :, 0] = 0
    frame[:, :, width + 1 :] = 0
