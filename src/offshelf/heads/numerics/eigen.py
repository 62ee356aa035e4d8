"""The eigendecomposition of centred rows.

``rows - means = coordinates @ directions.T``, where ``coordinates.T @ coordinates`` is diagonal.
The directions come from the n x n inner products or the D x D sums of products, whichever is
smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from offshelf.heads.numerics.blas_threads import run_in_threads
from offshelf.heads.numerics.centred import Array, Centred
from offshelf.heads.numerics.row_scaling import Matrix, ScaledRows, SharedRows, blocks

# Up to this size one thread and the larger workspace are worth it.
MANY = 4096

Made = TypeVar("Made")


class Spectrum(Protocol):
    """The decomposition of N centred rows in r directions.

    Attributes:
        spread: r float64 > 0, sums of squares of the coordinates along each direction.
        mean: D, of the rows.
    """

    spread: Array
    mean: Array

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""

    def mixtures(self, values: Array) -> Array:
        """Return ``coordinates.T @ values``, r x K, for values N x K."""

    def squares(self) -> Array:
        """Return the squared norms of the N centred rows."""

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``, K x D, for coordinates K x r."""

    def project(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``, K x r, for vectors K x D."""


def decompose(
    rows: ScaledRows, *, around_zero: bool = False, known: Matrix | None = None
) -> Spectrum:
    """Decompose *rows* N x D around their mean.

    Args:
        rows: the rows; N x N or D x D float64 values are kept, whichever is fewer, and two or
            three times as many while they are decomposed.
        around_zero: whether the mean stays in them.
        known: their inner products, N x N, for no more rows than dimensions; written over.

    >>> from offshelf.heads.numerics.row_scaling import scale_rows
    >>> spectrum = decompose(scale_rows(np.array([[1.0, 0.0], [3.0, 0.0]]), "none"))
    >>> spectrum.spread, spectrum.mean
    (array([2.]), array([2., 0.]))
    """

    def make() -> Spectrum:
        n, dimension = rows.shape
        centred = Centred(rows, np.zeros(n, dtype=np.int64), around_zero=around_zero)
        return _ByRows(centred, known) if n <= dimension else _ByColumns(centred)

    if isinstance(rows, SharedRows) and not around_zero:
        return rows.once("spectrum", make)
    return make()


class _ByRows:
    """The decomposition by inner products, for no more rows than dimensions."""

    def __init__(self, centred: Centred, known: Matrix | None = None) -> None:
        self._centred, self.mean = centred, centred.means[0]
        self.spread, self._left = _directions(centred.products(known))

    def coordinates(self, rows: slice) -> Array:
        return self._left[rows] * np.sqrt(self.spread)

    def mixtures(self, values: Array) -> Array:
        mixtures: Array = np.sqrt(self.spread)[:, None] * (self._left.T @ values)
        return mixtures

    def squares(self) -> Array:
        squares: Array = np.square(self._left) @ self.spread
        return squares

    def combine(self, coordinates: Array) -> Array:
        return self._centred.combine(coordinates / np.sqrt(self.spread) @ self._left.T)

    def project(self, vectors: Array) -> Array:
        projected: Array = self._centred.scores(vectors) @ self._left / np.sqrt(self.spread)
        return projected


class _ByColumns:
    """The decomposition by sums of products, for fewer dimensions than rows."""

    def __init__(self, centred: Centred) -> None:
        self._centred, self.mean = centred, centred.means[0]
        self.spread, self._vectors = _directions(centred.sums())

    def coordinates(self, rows: slice) -> Array:
        return self._centred.take(rows) @ self._vectors

    def mixtures(self, values: Array) -> Array:
        mixtures: Array = self._vectors.T @ self._centred.combine(values.T).T
        return mixtures

    def squares(self) -> Array:
        parts = blocks(*self._centred.shape)
        return np.concatenate([np.square(self._centred.take(part)).sum(axis=1) for part in parts])

    def combine(self, coordinates: Array) -> Array:
        return coordinates @ self._vectors.T

    def project(self, vectors: Array) -> Array:
        return vectors @ self._vectors


def _eigenvectors(symmetric: Array) -> tuple[Array, Array]:
    """Return the rising eigenvalues, and their vectors as columns, of a matrix to write over."""
    from scipy.linalg import eigh

    # Divide and conquer is a little faster, and needs three such matrices in all, not two.
    driver: Literal["evd", "evr"] = "evd" if len(symmetric) <= MANY else "evr"

    def decompose(_: Any) -> tuple[Array, Array]:
        # The transpose is the same matrix in Fortran's order, so nothing is copied.
        return eigh(symmetric.T, overwrite_a=True, check_finite=False, driver=driver)

    return one_thread(decompose, symmetric)


def one_thread(work: Callable[[Any], Made], matrix: Array) -> Made:
    """Do *work* on a matrix with one thread of BLAS, or all of them where it is large.

    Threads wait for each other so often here that on a busy machine one is quicker.
    """
    return run_in_threads(work, 1, matrix.size)[0] if len(matrix) <= MANY else work(None)


def _directions(symmetric: Array) -> tuple[Array, Array]:
    """Return the eigenvalues that are not 0 within rounding, and their vectors as columns."""
    values, vectors = _eigenvectors(symmetric)
    least = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    first = int(np.searchsorted(values, least, side="right"))
    return values[first:], vectors[:, first:]
