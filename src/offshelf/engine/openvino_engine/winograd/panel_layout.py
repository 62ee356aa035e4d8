"""Layout of the compiled convolution: arguments, filters, number formats and registers."""

from __future__ import annotations

import dataclasses
from typing import Literal

Matrix = tuple[tuple[float, ...], ...]
VECTORS = 2
# Largest input and weight in 8 bits; -128 is left out, so that the range is symmetric.
MAX_BYTE, MAX_WEIGHT = 255, 127
# Bytes of a cache line; a vector that crosses one is read twice.
LINE = 64
# Arguments of the function: pointers to float32, a float, then whole numbers. The last four
# pointers are for int8 alone.
POINTERS = (
    *("x", "weights", "bias", "y", "transformed", "multiplied"),
    *("scales", "offsets", "units", "starts"),
)
NUMBERS = (
    *("images", "rows", "columns", "depth", "channels"),
    *("x_height", "x_width", "y_height", "y_width", "block"),
)


@dataclasses.dataclass(frozen=True)
class Filter:
    """Winograd's minimal filtering F(out x out, 3 x 3).

    Attributes:
        into: the transposed matrix of data.
        back: the transposed matrix of outputs.
        weights: the matrix of weights.
    """

    into: Matrix
    back: Matrix
    weights: Matrix

    @property
    def side(self) -> int:
        """Pixels of a tile's side, and of what it is transformed to."""
        return len(self.into)

    @property
    def out(self) -> int:
        """Outputs of a tile's side."""
        return len(self.back)

    @property
    def points(self) -> int:
        """Matrix products."""
        return self.side * self.side


# Lavin and Gray, equation 15.
FOUR = Filter(
    into=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    back=(
        (1, 1, 1, 1, 1, 0),
        (0, 1, -1, 2, -2, 0),
        (0, 1, 1, 4, 4, 0),
        (0, 1, -1, 8, -8, 1),
    ),
    weights=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
)
# The same, equation 7. Its sums are of at most four numbers, few enough for 8 bits.
TWO = Filter(
    into=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    back=((1, 1, 1, 0), (0, 1, -1, -1)),
    weights=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Variant of the function.

    Attributes:
        pool: the largest of each 2 x 2 is written.
        numbers: of the matrix product: float32, bfloat16 in pairs along the depth, or
            whole numbers of 8 bits.
    """

    pool: bool
    numbers: Literal["float", "half", "byte"] = "float"

    @property
    def filter(self) -> Filter:
        """Return how tiles are transformed."""
        return TWO if self.numbers == "byte" else FOUR


@dataclasses.dataclass(frozen=True)
class Registers:
    """The registers of the processor, which decide the code.

    Attributes:
        width: floats of a vector register.
        rows: rows of a block of the product; two vectors each stay in registers. Any even
            number is a sum of them.
        dot: four products of 8 bits are added at once (VNNI).
    """

    width: int
    rows: tuple[int, ...]
    dot: bool = False

    @property
    def panel(self) -> int:
        """Columns of a block of the product."""
        return VECTORS * self.width
