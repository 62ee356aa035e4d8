"""The product of several layers: every value of one times every value of another, sketched.

The outer product of two layers has as many values as their dimensions multiplied. Its inner
products, ``(x.x') (y.y')``, are kept by random projections that are multiplied value by value:
Kar and Karnick, "Random feature maps for dot product kernels", AISTATS 2012; for layers of
networks Gao, Beijbom, Zhang and Darrell, "Compact bilinear pooling", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIMENSION = 2048
_COLUMNS = 4096

Matrix = NDArray[np.float32]


def product_of(parts: Sequence[Matrix], seed: int) -> Matrix:
    """Return the sketched product of several matrices with the same rows.

    Args:
        parts: two or more, N x D_i float32.
        seed: of the projections.

    Returns:
        N x 2048 float32; the inner product of two rows is, on average over seeds, the
        product of the parts' own.

    >>> rows = np.eye(3, dtype=np.float32)
    >>> product_of([rows, rows], seed=0).shape
    (3, 2048)
    """
    result = np.full((len(parts[0]), DIMENSION), 1 / np.sqrt(DIMENSION))
    for number, part in enumerate(parts):
        result *= _projected(part, np.random.default_rng([seed, number]))
    return result.astype(np.float32)


def _projected(part: Matrix, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return the part times a random matrix of signs, some columns of the part at a time."""
    total = np.zeros((len(part), DIMENSION))
    for start in range(0, part.shape[1], _COLUMNS):
        columns = part[:, start : start + _COLUMNS]
        signs = draw.integers(0, 2, (columns.shape[1], DIMENSION), dtype=np.int8)
        total += columns @ (2 * signs - 1).astype(np.float32)
    return total
