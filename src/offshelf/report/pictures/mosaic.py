"""The mosaic: sizes, scales and places of many small pictures on one sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP, LABEL = 6, 16


@dataclass(frozen=True)
class Layout:
    """Tiles in rows, a line of text above each.

    Attributes:
        columns: tiles in a row.
        rows: how many rows.
        tile: side of a tile in pixels.
    """

    columns: int
    rows: int
    tile: int

    @property
    def width(self) -> int:
        """Pixels from the first tile's left to the last one's right."""
        return self.columns * (self.tile + GAP) - GAP

    @property
    def height(self) -> int:
        """Pixels from the first label's top to the last tile's bottom."""
        return self.rows * (self.tile + LABEL + GAP) - GAP

    def corner(self, number: int) -> tuple[int, int]:
        """Return left and top of tile *number*, without its label.

        >>> Layout(8, 8, 100).corner(9)
        (106, 138)
        """
        row, column = divmod(number, self.columns)
        return column * (self.tile + GAP), row * (self.tile + LABEL + GAP) + LABEL


def layout(count: int, side: int, room: int) -> Layout:
    """Return a nearly square layout of *count* tiles.

    Args:
        count: tiles, at least 1.
        side: of the arrays, in cells. A small one is enlarged by a whole number, a large
            one is shown as it is up to 256 pixels and made smaller beyond.
        room: pixels for the whole, on either side.

    >>> layout(64, 14, 4000), layout(64, 224, 4000)
    (Layout(columns=8, rows=8, tile=154), Layout(columns=8, rows=8, tile=224))
    """
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    wished = 160 if count > 16 else 240 if count > 4 else 320
    wished = side if wished < side <= 256 else wished
    most = min((room + GAP) // columns - GAP, (room + GAP) // rows - GAP - LABEL)
    tile = max(1, min(wished, most))
    return Layout(columns, rows, tile // side * side if side <= tile else tile)


def to_side(values: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Return a square map as *side* x *side*: cells repeated, or averaged to fewer.

    >>> to_side(np.array([[1.0, 2.0], [3.0, 4.0]]), 1).tolist()
    [[2.5]]
    >>> to_side(np.array([[7.0]]), 2).tolist()
    [[7.0, 7.0], [7.0, 7.0]]
    """
    plain = np.ascontiguousarray(values, np.float32)
    if side % len(plain) == 0:
        return plain.repeat(side // len(plain), axis=0).repeat(side // len(plain), axis=1)
    kind = Image.Resampling.BOX if side < len(plain) else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(plain).resize((side, side), kind))


def picture_to_side(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return an RGB picture as *side* x *side* pixels, smoothly."""
    if pixels.shape[:2] == (side, side):
        return pixels
    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def limits(values: NDArray[Any], cut: float = 0.0) -> tuple[float, float]:
    """Return where a scale of *values* begins and ends: at 0 where none lies beyond it.

    Args:
        values: at least one number.
        cut: share of the values at either end that may lie off the scale, so that a few
            extreme ones do not leave all the others dark.

    >>> limits(np.array([1.0, 3.0])), limits(np.array([-1.0, 3.0]))
    ((0.0, 3.0), (-1.0, 3.0))
    """
    low, high = np.quantile(values, (cut, 1 - cut)).tolist()
    if low >= 0 >= high:
        # Nearly all are zero: the few others are what there is to see.
        low, high = float(values.min()), float(values.max())
    return min(0.0, low), max(0.0, high)


def shares(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Return where *values* lie from *low* to *high*, 0 to 1; all 0 for an empty range.

    >>> shares(np.array([0.0, 5.0]), 0.0, 10.0).tolist()
    [0.0, 0.5]
    """
    span = high - low
    plain = np.asarray(values, np.float64)
    return (plain - low) / span if span > 0 else np.zeros(plain.shape)


def number(value: float) -> str:
    """Return a number in three digits.

    >>> number(0.0), number(12.345), number(4180.0), number(-1234567.0)
    ('0', '12.3', '4,180', '-1.23e+06')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
