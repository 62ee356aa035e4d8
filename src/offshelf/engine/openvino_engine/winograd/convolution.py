"""A convolution with bias, ReLU and pooling: its weights transformed, computed by compiled code."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd import kernel
from offshelf.engine.openvino_engine.winograd.int8_ranges import Ranges, rounded_weights
from offshelf.engine.openvino_engine.winograd.panel_layout import LINE, Kind

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
    """What the compiled function reads of a convolution's weights.

    Attributes:
        numbers: flat: points, panels of channels, rows of the depth (one, two or four side by
            side, as the numbers are), columns of the panel.
        scales: float32, points x C, for int8: see :class:`Ranges`.
        offsets: float32, one for each point.
        units: float32, points x K: what a sum of products counts.
        starts: int32, points x K: minus the share of the offsets.
    """

    numbers: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    offsets: NDArray[np.float32] | None = None
    units: NDArray[np.float32] | None = None
    starts: NDArray[np.int32] | None = None


def packed(weights: Floats, kind: Kind) -> Packed:
    """Return the weights of a 3 x 3 convolution as the product of floats reads them.

    Computed in float64, so that the only rounding is the last.

    Args:
        weights: float32, K x C x 3 x 3, K a multiple of the processor's panel, C even.
        kind: of float32, or of bfloat16, whose bits are returned as uint16.

    >>> packed(np.ones((64, 16, 3, 3), np.float32), Kind(False)).numbers.size == 36 * 64 * 16
    True
    """
    half = kind.numbers == "half"
    points = _points(weights, kind, 2 if half else 1)
    return Packed(aligned(_rounded(points), np.uint16) if half else aligned(points))


def packed_bytes(weights: Floats, ranges: Ranges) -> Packed:
    """Return the weights of a 3 x 3 convolution as the product of 8-bit numbers reads them.

    Each point's weights of an output channel are rounded to -127..127 of a unit of their own.

    Args:
        weights: float32, K x C x 3 x 3, K a multiple of the processor's panel, C of 4.
        ranges: of the inputs.
    """
    found = kernel.required()
    together = 4 if found.dot else 1
    whole, units = rounded_weights(weights, ranges)
    points, depth, channels = whole.shape
    panels = whole.reshape(
        points, depth // together, together, channels // found.panel, found.panel
    ).transpose(0, 3, 1, 4, 2)
    return Packed(
        aligned(panels, np.int8 if found.dot else np.float32),
        aligned(ranges.scales()),
        aligned(ranges.offsets),
        aligned(units),
        aligned(-ranges.offsets[:, None] * whole.sum(1, dtype=np.int32), np.int32),
    )


def _points(weights: NDArray[Any], kind: Kind, together: int) -> NDArray[np.float64]:
    """Return points x panels x rows of the depth x columns x rows side by side."""
    channels, depth = weights.shape[:2]
    panel = kernel.required().panel
    panels = weights.reshape(channels // panel, panel, depth // together, together, 9)
    # Reordered before the transform, while there are nine numbers and not more.
    nine = panels.transpose(0, 2, 1, 3, 4).astype(np.float64)
    into = np.array(kind.filter.weights)
    return (np.kron(into, into) @ nine.reshape(-1, 9).T).reshape(-1, *nine.shape[:-1])


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
        """The lower bound of the results."""
        return 0.0 if self.relu else float("-inf")


def fits(channels: int, depth: int) -> bool:
    """Return whether this processor can convolve *depth* into *channels* channels."""
    found = kernel.registers()
    return found is not None and not (channels % found.panel or depth % found.width)


# Bytes of transformed weights. Above CACHED they do not stay in the cache; above SMALL reading
# them for every few tiles takes longer than holding more tiles than the nearest cache has room for.
SMALL, CACHED = 6_000_000, 12_000_000
FEW_TILES, MORE_TILES, MANY_TILES, BYTE_TILES = 14, 98, 196, 56


class Room:
    """Reused memory by name; it grows to the largest size asked for."""

    def __init__(self) -> None:
        self._parts: dict[str, Floats] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return the memory of that name; what it held is lost."""
        size = int(np.prod(shape))
        if name not in self._parts or self._parts[name].size < size:
            self._parts[name] = aligned_empty(size)
        return self._parts[name][:size].reshape(shape)


def _tiles(size: int) -> int:
    """Return how many tiles share a pass over weights of *size* bytes: whole blocks of rows."""
    tiles = FEW_TILES if size <= SMALL else MORE_TILES if size <= CACHED else MANY_TILES
    rows = kernel.required().rows[0]
    return tiles // rows * rows


def _shared(count: int, most: int) -> int:
    """Return tiles of a pass, about *most* or fewer: a few left over would read all weights."""
    passes, rows = max(1, -(-count // most)), kernel.required().rows[0]
    return -(-count // (passes * rows)) * rows


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
        self._block = BYTE_TILES if ranges else _tiles(self._packed.numbers.nbytes)

    def run(self, frame: Floats, result: Floats, tiles: tuple[int, int], room: Room) -> None:
        """Write the convolution of *frame* to *result*; both have a border of one pixel.

        Args:
            frame: float32, N x height x width x C.
            result: float32, N x height x width x K.
            tiles: rows and columns of tiles.
            room: memory to work in.
        """
        given, block = self._packed, _shared(len(frame) * tiles[0] * tiles[1], self._block)
        transformed, multiplied = (
            room.take(name, (self._points, block * size + LINE // 4))
            for name, size in (("transformed", self._depth), ("multiplied", self._channels))
        )
        arrays = (frame, given.numbers, self._bias, result, transformed, multiplied)
        for_bytes = (given.scales, given.offsets, given.units, given.starts)
        self._function(
            *(None if array is None else array.ctypes.data for array in (*arrays, *for_bytes)),
            self._floor,
            *(len(frame), *tiles, self._depth, self._channels),
            *(*frame.shape[1:3], *result.shape[1:3], block),
        )
