"""One decomposition of centred rows into the directions of their own spread.

``rows - means = coordinates @ directions.T``, where ``coordinates.T @ coordinates`` is diagonal.
The directions come from the n x n inner products or the D x D sums of products, whichever is
smaller.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from offshelf.heads.numerics.centred import Array, Centred
from offshelf.heads.numerics.row_scaling import ScaledRows, SharedRows

MANY = 4096


class Spectrum(Protocol):
    """What the decomposition of N centred rows in r directions can answer.

    Attributes:
        spread: r float64 > 0, sums of squares of the coordinates along each direction.
        mean: D, of the rows.
    """

    spread: Array
    mean: Array

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``, K x D, for coordinates K x r."""

    def project(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``, K x r, for vectors K x D."""


def decompose(rows: ScaledRows) -> Spectrum:
    """Decompose *rows* N x D around their mean.

    Args:
        rows: the rows; N x N or D x D float64 values are kept, whichever is fewer, and two or
            three times as many while they are decomposed.

    >>> from offshelf.heads.numerics.row_scaling import scale_rows
    >>> spectrum = decompose(scale_rows(np.array([[1.0, 0.0], [3.0, 0.0]]), "none"))
    >>> spectrum.spread, spectrum.mean
    (array([2.]), array([2., 0.]))
    """

    def make() -> Spectrum:
        n, dimension = rows.shape
        centred = Centred(rows, np.zeros(n, dtype=np.int64))
        return (ByRows if n <= dimension else ByColumns)(centred)

    return rows.once("spectrum", make) if isinstance(rows, SharedRows) else make()


class ByRows:
    """The decomposition by inner products, for no more rows than dimensions."""

    def __init__(self, centred: Centred) -> None:
        self._centred, self.mean = centred, centred.means[0]
        self.spread, self._left = _eigen(centred.products())

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""
        return self._left[rows] * np.sqrt(self.spread)

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``."""
        return self._centred.combine(coordinates / np.sqrt(self.spread) @ self._left.T)

    def project(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``."""
        projected: Array = self._centred.scores(vectors) @ self._left / np.sqrt(self.spread)
        return projected


class ByColumns:
    """The decomposition by sums of products, for fewer dimensions than rows."""

    def __init__(self, centred: Centred) -> None:
        self._centred, self.mean = centred, centred.means[0]
        self.spread, self._directions = _eigen(centred.sums())

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""
        return self._centred.take(rows) @ self._directions

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``."""
        return coordinates @ self._directions.T

    def project(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``."""
        return vectors @ self._directions


def _eigen(symmetric: Array) -> tuple[Array, Array]:
    """Return the eigenvalues that are not 0 within rounding, and their vectors as columns."""
    from scipy.linalg import eigh

    # Divide and conquer is a little faster, and needs three such matrices in all, not two.
    driver: Literal["evd", "evr"] = "evd" if len(symmetric) <= MANY else "evr"
    # The transpose is the same matrix in Fortran's order, so nothing is copied.
    values, vectors = eigh(symmetric.T, overwrite_a=True, check_finite=False, driver=driver)
    least = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    first = int(np.searchsorted(values, least, side="right"))
    return values[first:], vectors[:, first:]
