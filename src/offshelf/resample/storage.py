"""Pixel layout in memory: upright, or as a turned camera stored them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """The rows of a picture in the order of memory, and what makes it upright.

    Attributes:
        rows: C-contiguous, H x W or H x W x 3.
        mirrored: the picture's columns are stored from the right.
        inverted: its rows are stored from below.
        turned: its columns are what is stored as rows.
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
