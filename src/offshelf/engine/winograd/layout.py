"""What the compiled code and its callers agree on."""

from __future__ import annotations

import dataclasses

# Lavin and Gray, equation 15: the transposed matrices of data and of outputs.
INTO = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
BACK = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
SIDE = len(INTO)
OUT = len(BACK)
POINTS = SIDE * SIDE
VECTORS = 2
# Its arguments: pointers to float32, a float, then whole numbers.
POINTERS = ("x", "weights", "bias", "y", "transformed", "multiplied")
NUMBERS = (
    *("images", "rows", "columns", "depth", "channels"),
    *("x_height", "x_width", "y_height", "y_width", "block"),
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Which function it is.

    Attributes:
        pool: the largest of each 2 x 2 is written.
        half: the matrix product is of bfloat16, in pairs along the depth.
    """

    pool: bool
    half: bool = False


@dataclasses.dataclass(frozen=True)
class Registers:
    """What of the processor decides the code.

    Attributes:
        width: floats of a vector register.
        rows: rows of a block of the product; two vectors each stay in registers. Any even
            number is a sum of them.
    """

    width: int
    rows: tuple[int, ...]

    @property
    def panel(self) -> int:
        """Columns of a block of the product."""
        return VECTORS * self.width
