"""The inverse of ``A + t I`` for one t: a third of the work of :mod:`.tridiagonal`, or less."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.blas_threads import share_out
from offshelf.heads.numerics.tridiagonal import Factor, Tridiagonal

Array = NDArray[np.float64]
# A shift below so many times what rounding can make of the lowest eigenvalue is not trusted.
_MARGIN = 10
_SMALL = 2**24


class Root(NamedTuple):
    """``A + t I`` as L L.T in the lower triangle of a matrix, with t as it was used."""

    lower: Array
    shift: float


class Cholesky:
    """A symmetric n x n matrix A without negative eigenvalues, but for rounding.

    >>> cholesky = Cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> cholesky.solve(cholesky.shifted(1.0), np.array([[8.0], [0.0]])).round(9)
    array([[ 3.],
           [-1.]])
    """

    def __init__(self, symmetric: Array) -> None:
        """Keep *symmetric*, n x n in the order of C, to be written over."""
        self._matrix = symmetric
        self.trace = float(symmetric.trace())
        self._whole: Tridiagonal | None = None

    def shifted(self, t: float) -> Root | Factor:
        """Return what :meth:`solve` needs for t > 0; to be called once."""
        from scipy.linalg.lapack import dpotrf

        diagonal = self._matrix.diagonal().copy()
        if t < _MARGIN * len(diagonal) * np.finfo(np.float64).eps * self.trace:
            return self._by_three_diagonals(t)
        np.einsum("ii->i", self._matrix)[:] += t

        def decompose(_: Any) -> tuple[Array, int]:
            # The transpose is the same matrix in Fortran's order, so nothing is copied; the
            # other triangle stays as it was.
            lower, failed = dpotrf(self._matrix.T, lower=1, clean=0, overwrite_a=1)
            return lower, failed

        # Threads wait for each other so often here that on a busy machine one is quicker.
        small = self._matrix.size <= _SMALL
        lower, failed = share_out(decompose, 1, self._matrix.size)[0] if small else decompose(None)
        if not failed:
            return Root(lower, t)
        self._matrix = np.tril(self._matrix, -1)
        self._matrix += self._matrix.T
        np.einsum("ii->i", self._matrix)[:] = diagonal
        return self._by_three_diagonals(t)

    def _by_three_diagonals(self, t: float) -> Factor:
        """Return the factor at the least shift that rounding can tell from none, or t."""
        self._whole = Tridiagonal(self._matrix)
        return self._whole.shifted(t)

    def solve(self, factor: Root | Factor, vectors: Array) -> Array:
        """Return ``inverse(A + t I) @ vectors``, n x K."""
        from scipy.linalg.lapack import dpotrs

        if isinstance(factor, Root):
            solved: Array = dpotrs(factor.lower, vectors, lower=1)[0]
            return solved
        if self._whole is None:
            raise ValueError("the factor is of another matrix")
        return self._whole.solve(factor, vectors)
