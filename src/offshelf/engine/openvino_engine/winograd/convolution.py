"""A convolution with bias, ReLU and pooling, computed by compiled code in reused memory."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd import kernel
from offshelf.engine.openvino_engine.winograd.int8_ranges import Ranges
from offshelf.engine.openvino_engine.winograd.panel_layout import Kind
from offshelf.engine.openvino_engine.winograd.transformed_weights import (
    aligned,
    aligned_empty,
    packed,
    packed_bytes,
)

Floats = NDArray[np.float32]


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

    @property
    def floor(self) -> float:
        """What smaller results become."""
        return 0.0 if self.relu else float("-inf")


def fits(channels: int, depth: int) -> bool:
    """Return whether this processor can convolve *depth* into *channels* channels."""
    found = kernel.registers()
    return found is not None and not (channels % found.panel or depth % found.width)


# Transformed weights above this do not stay in the cache: then many tiles share a pass.
CACHED = 12_000_000
MANY_TILES, FEW_TILES, BYTE_TILES = 196, 14, 56


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


class CompiledConvolution:
    """Runs a convolution as machine code.

    Args:
        convolution: whose channels this processor's registers fit.
        half: the products are of bfloat16, unless the convolution is of int8.
    """

    def __init__(self, convolution: Convolution, half: bool) -> None:
        weights, ranges, kind = convolution.weights, convolution.ranges, convolution.kind(half)
        self._channels, self._depth = weights.shape[:2]
        self._points, self._floor = kind.filter.points, convolution.floor
        self._packed = packed_bytes(weights, ranges) if ranges else packed(weights, kind)
        self._bias = aligned(convolution.bias)
        self._function = kernel.function(kind)
        self.few_weights = self._packed.numbers.nbytes <= CACHED
        self._block = FEW_TILES if self.few_weights else MANY_TILES
        if ranges is not None:
            self._block = BYTE_TILES

    def run(self, frame: Floats, result: Floats, tiles: tuple[int, int], room: Room) -> None:
        """Write the convolution of *frame* to *result*; both have a border of one pixel.

        Args:
            frame: float32, N x height x width x C.
            result: float32, N x height x width x K.
            tiles: rows and columns of tiles.
            room: memory to work in.
        """
        given = self._packed
        transformed = room.take("transformed", (self._points, self._block, self._depth))
        multiplied = room.take("multiplied", (self._points, self._block, self._channels))
        arrays = (frame, given.numbers, self._bias, result, transformed, multiplied)
        for_bytes = (given.scales, given.offsets, given.units, given.starts)
        self._function(
            *(None if array is None else array.ctypes.data for array in (*arrays, *for_bytes)),
            self._floor,
            *(len(frame), *tiles, self._depth, self._channels),
            *(*frame.shape[1:3], *result.shape[1:3], self._block),
        )
