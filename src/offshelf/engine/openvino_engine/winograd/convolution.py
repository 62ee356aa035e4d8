"""A convolution and what follows it, and whether this processor can compute it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd import kernel
from offshelf.engine.openvino_engine.winograd.int8_ranges import Ranges
from offshelf.engine.openvino_engine.winograd.panel_layout import Kind

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
