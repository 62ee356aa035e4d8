"""Pillow's resize: by machine code once that is worth compiling, else by Pillow.

The bits are the same, whoever computes. That is checked once in a process, on small pictures:
another version of Pillow may compute in another order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image

from offshelf.machine_code import host_has, is_possible
from offshelf.resample.filter_weights import Filter
from offshelf.resample.passes import Box, Passes, Pixels, Size, compiled, rows_first, shorter_first

# Set to 0, this variable leaves all to Pillow.
SWITCH = "OFFSHELF_RESIZE"
_FILTERS: dict[Filter, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# Pixels that Pillow resizes in about the time of loading LLVM and compiling.
WORTH_COMPILING = 2**23
# The weights of longer sides take more memory than is kept for them.
MAX_SIDE = 2**15
_STRIP = 64
# Width, height, channels, width and height of the result, and what is seen.
_PROBES: tuple[tuple[Size, int, Size, Box], ...] = (
    ((61, 40), 3, (16, 16), (0, 0, 61, 40)),
    ((61, 40), 1, (16, 16), (3, 2, 50, 40)),
    ((20, 70), 3, (18, 9), (0, 0, 20, 70)),
    ((20, 70), 1, (31, 18), (1, 10, 19, 62)),
    ((9, 7), 3, (24, 24), (0, 0, 9, 7)),
    ((2, 90), 3, (5, 40), (0, 0, 2, 90)),
)


def resized(pixels: Pixels, size: Size, box: Box, interpolation: Filter) -> Pixels:
    """Resize as Pillow does, to the bit; from any thread.

    Args:
        pixels: uint8, H x W or H x W x 3; a mirrored or turned view need not be copied.
        size: width and height of the result.
        box: left, top, right, bottom of the part that is seen.
        interpolation: the filter.

    Returns:
        uint8, height x width of *size*, with the channels of *pixels*.

    >>> resized(np.array([[0, 90]], np.uint8), (1, 1), (0, 0, 2, 1), "bilinear").tolist()
    [[45]]
    """
    passes = _MAKER.passes_for(pixels)
    if passes is None:
        return by_pillow(pixels, size, box, interpolation)
    return passes.resized(pixels, size, box, interpolation)


def by_pillow(pixels: Pixels, size: Size, box: Box, interpolation: Filter) -> Pixels:
    """Resize by Pillow itself; the arguments are those of :func:`resized`."""
    return np.asarray(pillows_copy(pixels).resize(size, _FILTERS[interpolation], box=box))


def pillows_copy(pixels: Pixels) -> Image.Image:
    """Return a picture as Pillow's image; of a turned view no other copy is made on the way.

    >>> pillows_copy(np.zeros((2, 3), np.uint8).T).size
    (2, 3)
    """
    if pixels.flags.c_contiguous:
        return Image.fromarray(pixels)
    image = Image.new("L" if pixels.ndim == 2 else "RGB", pixels.shape[1::-1])
    for top in range(0, len(pixels), _STRIP):
        strip = np.ascontiguousarray(pixels[top : top + _STRIP])
        image.paste(Image.fromarray(strip), (0, top))
    return image


def proven_passes(processor: str = "") -> Passes | None:
    """Compile the passes; None where none of their orders gives the bits of this Pillow."""
    functions = compiled(processor)
    found = (Passes(functions, order) for order in (shorter_first, rows_first))
    return next((passes for passes in found if agrees(passes)), None)


def agrees(passes: Passes) -> bool:
    """Return whether *passes* give the bits of Pillow on small pictures."""
    return all(
        np.array_equal(passes.resized(*probe, name), by_pillow(*probe, name))
        for probe in _probes()
        for name in _FILTERS
    )


def _probes() -> Iterator[tuple[Pixels, Size, Box]]:
    chance = np.random.default_rng(0)
    for (width, height), channels, size, box in _PROBES:
        shape = (height, width) if channels == 1 else (height, width, channels)
        # The extremes overflow soonest.
        yield chance.choice(np.array([0, 255, 128, 1], np.uint8), shape), size, box


class _Maker:
    """Compiles once, when a process has resized enough; meanwhile others go on with Pillow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pixels = 0
        self._passes: Passes | None = None
        self._tried = False

    def passes_for(self, pixels: Pixels) -> Passes | None:
        """Return what resizes a picture, None for Pillow."""
        if max(pixels.shape[:2]) > MAX_SIDE:
            return None
        if not self._tried:
            # Threads may miss each other's pixels: it is then compiled a little later.
            self._pixels += pixels.shape[0] * pixels.shape[1]
            if self._pixels >= WORTH_COMPILING and self._lock.acquire(blocking=False):
                try:
                    self._make()
                finally:
                    self._lock.release()
        return self._passes

    def _make(self) -> None:
        if self._tried:
            return
        try:
            if os.environ.get(SWITCH) != "0" and is_possible() and host_has("avx2"):
                self._passes = proven_passes()
        except (RuntimeError, OSError, MemoryError):
            # A system that lets nobody make code, perhaps: Pillow serves.
            pass
        finally:
            self._tried = True


_MAKER = _Maker()
