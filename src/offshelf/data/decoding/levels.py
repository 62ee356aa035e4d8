"""Black and white levels of a picture's values, where the file does not give them.

Every picture is judged alone, so the rule is made for whole sets: values that pass black
or white by a little, as interpolation makes them, are drawn as their neighbours are.
Values that stand for no data do not count, and are drawn black.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.generic]
# No interpolation in use passes 0 or 1 by more than a quarter; up to 2 it is a picture with
# lights brighter than white, since one of 8 bits would be all but black.
_MIN_SHARE, _MAX_SHARE = -0.25, 2.0
_BEYOND = 1 / 8  # of the spread of the values: an overshoot
_WHITES = (255.0, 65535.0)
# Floats as large as this are marks for no data, unless all are.
_HUGE = 1e20
_MARKS = frozenset({-999.0, -9999.0, -99999.0, -32767.0, -32768.0, -(2.0**31) + 1, -(2.0**31)})
_FLAT = 1e-300
_TABLE = 2**16


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The scale from values to 8 bits.

    Attributes:
        black: the value drawn as 0.
        white: the value drawn as 255; below *black* where white is the lesser.
        missing: values that stand for no data, drawn as 0.
        huge: magnitude from which on values stand for no data.

    >>> Levels(black=0, white=65535).grey8(np.array([0, 257, 65535], np.uint16))
    array([  0,   1, 255], dtype=uint8)
    """

    black: float
    white: float
    missing: tuple[float, ...] = ()
    huge: float = math.inf

    def grey8(self, values: Values) -> NDArray[np.uint8]:
        """Scale *values* of any shape to 0..255, rounding to the nearest."""
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.dtype.itemsize == 2 and values.size > 8 * _TABLE:
            every = np.arange(_TABLE, dtype=np.uint16)
            table = self._computed(every.view(values.dtype))
            return table[values.view(np.uint16)]
        return self._computed(values)

    def inverted(self) -> Levels:
        """Return the scale of a picture where white is the least value."""
        return Levels(black=self.white, white=self.black, missing=self.missing, huge=self.huge)

    def _computed(self, values: Values) -> NDArray[np.uint8]:
        wide = values.astype(np.float64)
        spread = self.white - self.black
        scale = 255 / spread if abs(spread) > _FLAT else 0.0
        nothing = ~(np.abs(wide) < self.huge)  # also NaN
        for value in self.missing:
            nothing |= wide == value
        wide[nothing] = self.black
        wide -= self.black
        wide *= scale
        wide += 0.5
        grey: NDArray[np.uint8] = np.clip(wide, 0, 255).astype(np.uint8)
        grey[nothing] = 0
        return grey


def found_levels(blocks: Iterable[Values], missing: tuple[float, ...] = ()) -> Levels:
    """Return the scale of the values in *blocks*, by the first rule that holds.

    NaN, infinities, *missing*, floats of 1e20 and more in either direction (unless all
    are) and a least value such as -9999 that lies far below all others are left out. Then

    1. floats from -0.25 to 2 are shares of white, 0 to 1;
    2. values within [0, 255] are 8 bits;
    3. whole numbers within [0, 65535] are 16 bits;
    4. anything else is stretched from the least to the greatest value.

    Rules 2 and 3 allow values to pass black and white by an eighth of their spread, and
    white by a hundredth. Values beyond black and white are clipped.

    >>> found_levels([np.array([-3.0, 258.0])])
    Levels(black=0.0, white=255.0, missing=(), huge=1e+20)
    """
    extent, whole = _Extent(missing), True
    for block in blocks:
        whole = whole and block.dtype.kind in "iu"
        extent.add(block)
    low, second, high = extent.least_two_and_greatest
    if low in _MARKS and second - low > high - second:
        missing, low = (*missing, low), second
    huge = math.inf if extent.all_huge else _HUGE
    if not low <= high:  # no value that counts
        low = high = 0.0
    black, white = _black_and_white(low, high, whole)
    return Levels(black=black, white=white, missing=missing, huge=huge)


def _black_and_white(low: float, high: float, whole: bool) -> tuple[float, float]:
    if not whole and low >= _MIN_SHARE and high <= _MAX_SHARE:
        return 0.0, 1.0
    beyond = (high - low) * _BEYOND
    for white in _WHITES if whole else _WHITES[:1]:
        if low >= -beyond and high <= white + max(beyond, white / 100):
            return 0.0, white
    most = np.finfo(np.float64).max / 4  # the spread must be a number
    return max(low, -most), min(high, most)


def no_data(text: object, dtype: np.dtype[np.generic]) -> tuple[float, ...]:
    r"""Return the value that a tag of GDAL names as no data, if it is a number.

    Floats are rounded to *dtype*, as the samples were.

    >>> no_data("-9999 \0", np.dtype("f4")), no_data("nan", np.dtype("f4"))
    ((-9999.0,), ())
    """
    try:
        value = float(str(text).strip(" \0"))
    except ValueError:
        return ()
    with np.errstate(over="ignore"):
        value = float(np.array(value).astype(dtype)) if dtype.kind == "f" else value
    return (value,) if math.isfinite(value) else ()


class _Extent:
    """The least, the second least and the greatest value that count, over all blocks."""

    def __init__(self, missing: tuple[float, ...]) -> None:
        self._missing = missing
        self._usual = (math.inf, math.inf, -math.inf)
        self._all = (math.inf, math.inf, -math.inf)

    @property
    def all_huge(self) -> bool:
        return self._usual[0] > self._usual[2]

    @property
    def least_two_and_greatest(self) -> tuple[float, float, float]:
        return self._all if self.all_huge else self._usual

    def add(self, block: Values) -> None:
        """Take the values of one more block into account."""
        values = self._counted(block)
        if values.size == 0:
            return
        if values.dtype.kind == "f":
            usual = values[np.abs(values) < _HUGE] if _reaches(values, _HUGE) else values
            self._all = _joined(self._all, values)
            self._usual = _joined(self._usual, usual) if usual.size else self._usual
        else:
            self._all = self._usual = _joined(self._usual, values)

    def _counted(self, block: Values) -> Values:
        values = block
        if values.dtype.kind == "f" and not _reaches(values, math.inf, strictly=True):
            values = values[np.isfinite(values)]
        for value in self._missing:
            values = values[values != value]
        return values


def _reaches(values: Values, limit: float, strictly: bool = False) -> bool:
    low, high = float(values.min()), float(values.max())  # NaN if one is
    return -limit < low and high < limit if strictly else low <= -limit or high >= limit


def _joined(known: tuple[float, float, float], values: Values) -> tuple[float, float, float]:
    low, high = float(values.min()), float(values.max())
    least = {low, known[0], known[1]}
    if low in _MARKS:
        rest = values[values != values.min()]
        least.add(float(rest.min()) if rest.size else math.inf)
    first, second = sorted([*least, math.inf])[:2]
    return first, second, max(high, known[2])
