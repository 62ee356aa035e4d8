"""One convolution at one size of images: compiled, or plain where that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd.convolution import Convolution, fits
from offshelf.engine.openvino_engine.winograd.kernel_memory import CompiledConvolution, Room
from offshelf.engine.openvino_engine.winograd.numpy_fallback import PlainConvolution

Floats = NDArray[np.float32]


class Step:
    """A convolution at one size of images."""

    def __init__(self, convolution: Convolution, height: int, width: int, half: bool) -> None:
        self.channels, self.depth = convolution.weights.shape[:2]
        self.taps, out = convolution.taps, convolution.kind(half).filter.out
        self._tiles = (-(-height // out), -(-width // out))
        # What the tiles read, which may be more than the image; and so with what they write.
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
        """Write what is tapped of *result* to the next of *targets*, N x K each."""
        image = result[:, 1 : self.height + 1, 1 : self.width + 1]
        for kind in self.taps:
            # Line by line: a sum of few numbers after the other loses least.
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
