"""Inverses of ``A + t I`` for every t, from one decomposition that is written over A.

``A = Q T Q.T`` with T of three diagonals is the first half of an eigendecomposition, and all
that a shift needs: ``A + t I = Q (T + t I) Q.T``, where systems of T + t I cost n. Eldén,
"Algorithms for the regularization of ill-conditioned least squares problems", BIT 17 (1977),
134-145, does the same with two diagonals of rows themselves. Eigenvectors would need a second
matrix, and longer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.eigen import one_thread
from offshelf.heads.numerics.row_scaling import blocks

Array = NDArray[np.float64]
_BLOCK = 64
# A shift of so many times the lowest eigenvalue, where rounding made that negative, leaves
# nothing that is nearly singular.
_MARGIN = 4
# A shift below so many times what rounding can make of the lowest eigenvalue needs that margin.
_TRUSTED = 10


class Factor(NamedTuple):
    """``T + t I`` as L D L.T, with t as it was used.

    Attributes:
        diagonal: n, of D.
        beside: n - 1, below the diagonal of L.
        shift: t, or the least that rounding lets T be shifted by.
    """

    diagonal: Array
    beside: Array
    shift: float


class Tridiagonal:
    """A symmetric n x n matrix A without negative eigenvalues, but for rounding.

    >>> tridiagonal = Tridiagonal(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> factor = tridiagonal.shifted(1.0)
    >>> tridiagonal.solve(factor, np.array([[8.0], [0.0]])).round(9)
    array([[ 3.],
           [-1.]])
    >>> tridiagonal.forms([factor], np.eye(2)).round(9)
    array([[0.375, 0.375]])
    """

    def __init__(self, symmetric: Array) -> None:
        """Decompose *symmetric*, n x n in the order of C, which is written over."""
        n = len(symmetric)
        self.trace = float(symmetric.trace())
        # The transpose is the same matrix in Fortran's order, so nothing is copied.
        reflections, self._diagonal, self._beside, scales = _reduce(symmetric.T)
        self._directions = _directions(reflections, scales)
        self._least = _least(self._diagonal, self._beside[: n - 1])

    def shifted(self, t: float) -> Factor:
        """Return what :meth:`solve` needs for t > 0."""
        from scipy.linalg.lapack import dpttrf

        t = max(t, self._least)
        diagonal, beside, _ = dpttrf(self._diagonal + t, self._beside)
        return Factor(diagonal, beside, t)

    def solve(self, factor: Factor, vectors: Array) -> Array:
        """Return ``inverse(A + t I) @ vectors``, n x K."""
        turned = self._solve_turned(factor, self._turn(vectors.T))
        turned[1:] = self._directions @ turned[1:]
        return turned

    def forms(self, factors: list[Factor], rows: Array) -> Array:
        """Return ``row @ inverse(A + t I) @ row`` of rows m x n for each t, T x m."""
        return self._forms(factors, self._turn(rows))

    def diagonals(self, factors: list[Factor]) -> Array:
        """Return the diagonal of ``inverse(A + t I)`` for each t, T x n."""
        n = len(self._diagonal)
        diagonals = np.empty((len(factors), n))
        diagonals[:, :1] = self.forms(factors, np.eye(1, n))
        for part in blocks(n - 1, n):
            # Row 1 + i of Q is row i of the directions after a 0.
            turned = np.zeros((n, part.stop - part.start), order="F")
            turned[1:] = self._directions[part].T
            diagonals[:, 1 + part.start : 1 + part.stop] = self._forms(factors, turned)
        return diagonals

    def _turn(self, rows: Array) -> Array:
        """Return ``Q.T @ rows.T``, n x m."""
        turned = np.array(rows.T, order="F")
        turned[1:] = self._directions.T @ turned[1:]
        return turned

    def _forms(self, factors: list[Factor], turned: Array) -> Array:
        solved = (self._solve_turned(factor, turned) for factor in factors)
        return np.array([np.einsum("ij,ij->j", turned, each) for each in solved])

    def _solve_turned(self, factor: Factor, turned: Array) -> Array:
        from scipy.linalg.lapack import dpttrs

        solved: Array = dpttrs(factor.diagonal, factor.beside, turned)[0]
        return solved


def _reduce(matrix: Array) -> tuple[Array, Array, Array, Array]:
    """Write reflections over *matrix*; return them, the diagonals of T, and their scales."""
    from scipy.linalg.lapack import dsytrd

    n = len(matrix)
    reflections, diagonal, beside, scales, _ = dsytrd(
        matrix, lower=1, lwork=_BLOCK * n, overwrite_a=1
    )
    # Where there is nothing beside a diagonal of one value, the wrappers want a number.
    return reflections, diagonal, beside if n > 1 else np.zeros(1), scales


def _least(diagonal: Array, beside: Array) -> float:
    """Return the least shift of T that rounding can tell from none."""
    from scipy.linalg import eigvalsh_tridiagonal

    sides = np.pad(np.abs(beside), 1)
    norm = float((np.abs(diagonal) + sides[1:] + sides[:-1]).max())
    least = max(len(diagonal) * np.finfo(np.float64).eps * norm, np.finfo(np.float64).tiny)
    if not len(beside):
        return max(least, -_MARGIN * float(diagonal[0]))
    lowest = eigvalsh_tridiagonal(
        diagonal, beside, select="i", select_range=(0, 0), check_finite=False
    )
    return max(least, -_MARGIN * float(lowest[0]))


def _directions(reflections: Array, scales: Array) -> Array:
    """Write the directions over their reflections, but for the first, which is (1, 0, ...).

    What is left of Q is (n - 1) x (n - 1) at the start of the same memory: LAPACK's own
    function for this moves its columns too, and Python has no access to it.
    """
    from scipy.linalg.lapack import dorgqr

    n = len(reflections)
    flat = reflections.T.reshape(-1)
    for column in range(n - 1):
        flat[column * (n - 1) : (column + 1) * (n - 1)] = flat[column * n + 1 : (column + 1) * n]
    packed = flat[: (n - 1) ** 2].reshape(n - 1, n - 1).T
    if n == 1:
        return packed
    directions: Array = dorgqr(packed, scales, lwork=_BLOCK * n, overwrite_a=1)[0]
    return directions


class Root(NamedTuple):
    """``A + t I`` as L L.T in the lower triangle of a matrix, with t as it was used."""

    lower: Array
    shift: float


class Cholesky:
    """The inverse of ``A + t I`` for one t only, in a third of the time or less.

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
        from scipy.linalg import LinAlgError, cho_factor

        diagonal = self._matrix.diagonal().copy()
        if t >= _TRUSTED * len(diagonal) * np.finfo(np.float64).eps * self.trace:
            np.einsum("ii->i", self._matrix)[:] += t

            def decompose(_: Any) -> Array:
                # The transpose is the same matrix in Fortran's order, so nothing is copied; the
                # other triangle stays as it was.
                given = self._matrix.T
                return cho_factor(given, lower=True, overwrite_a=True, check_finite=False)[0]

            try:
                return Root(one_thread(decompose, self._matrix), t)
            except LinAlgError:
                self._matrix = np.tril(self._matrix, -1)
                self._matrix += self._matrix.T
                np.einsum("ii->i", self._matrix)[:] = diagonal
        self._whole = Tridiagonal(self._matrix)
        return self._whole.shifted(t)

    def solve(self, factor: Any, vectors: Array) -> Array:
        """Return ``inverse(A + t I) @ vectors``, n x K."""
        from scipy.linalg import cho_solve

        if self._whole is not None:
            return self._whole.solve(factor, vectors)
        solved: Array = cho_solve((factor.lower, True), vectors, check_finite=False)
        return solved
