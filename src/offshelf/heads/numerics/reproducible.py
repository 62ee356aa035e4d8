"""A matrix product that gives each row the same bits, alone or in any batch.

Floating-point sums depend on their order, and BLAS picks the order by the shape of the
batch and the number of threads. Here both factors are first rounded to integers so small
that every partial sum is exact: then there is only one possible result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Row norms are brought below 2**26, so by Cauchy-Schwarz every partial sum of a product
# of two rows stays below 2**52, and the bit that is left takes the rounding to integers.
BITS = 26


def exact_product(rows: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``rows @ weights.T``, each element independent of the order of its sum.

    The factors are rounded to 2**-26 of their row's norm or finer: entry (i, k) is off by
    about 1e-8 times the norms of row i and of weight k, less than float32 features lose.
    This is one slice of the splitting in Ozaki, Ogita, Oishi and Rump, "Error-free
    transformations of matrix multiplication by using fast routines of matrix
    multiplication and its applications", Numerical Algorithms 59 (2012), 95-118.

    Args:
        rows: N x D float64, C-contiguous, finite.
        weights: K x D float64, C-contiguous, finite.

    Returns:
        N x K float64.

    >>> exact_product(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [1.0, 0.5]]))
    array([[3., 5.]])
    """
    left, left_exponents = to_integers(rows)
    right, right_exponents = to_integers(weights)
    product: NDArray[np.float64] = left @ right.T
    np.ldexp(product, left_exponents[:, None] + right_exponents, out=product)
    return product


def to_integers(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return whole numbers and one exponent per row: ``matrix`` is near ``whole * 2**exponent``."""
    exponents = np.frexp(row_norms(matrix))[1] - np.int32(BITS)
    whole = matrix * np.ldexp(1.0, -exponents)[:, None]
    return np.rint(whole, out=whole), exponents


def row_norms(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Euclidean norm of each row of a C-contiguous N x D matrix.

    numpy sums each contiguous row by itself, pairwise, without BLAS and threads; so a
    row's norm, too, has the same bits alone and in any batch.
    """
    norms: NDArray[np.float64] = np.sqrt(np.add.reduce(np.square(matrix), axis=1))
    return norms
