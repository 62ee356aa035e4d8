"""One decomposition of centred rows, from which every strength of regularisation follows.

Rows are centred by group (all rows as one group, or each class by itself) and seen in the
directions of their own spread: ``rows - means = coordinates @ directions.T``, where
``coordinates.T @ coordinates`` is diagonal. The directions come from the n x n inner products
or the D x D sums of products, whichever is smaller. Where rows have weights, means are weighted
and each centred row is multiplied by the root of its weight.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.gram import inner_products
from offshelf.heads.scaling import ScaledRows, SharedRows, blocks

Array = NDArray[np.float64]
MANY = 4096


class Spectrum(Protocol):
    """What the decomposition of N centred rows in r directions can answer.

    Attributes:
        spread: r float64 > 0, sums of squares of the coordinates along each direction.
        means: G x D, the mean of each group.
    """

    spread: Array
    means: Array

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""

    def along(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``, K x r, for vectors K x D."""

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``, K x D, for coordinates K x r."""


def decompose(
    rows: ScaledRows, groups: NDArray[np.int64], weights: Array | None = None
) -> Spectrum:
    """Decompose *rows* N x D, centred by group.

    Args:
        rows: the rows; N x N or D x D float64 values are kept, whichever is fewer, and two or
            three times as many while they are decomposed.
        groups: for each row its group, 0 to G - 1, each at least once.
        weights: N, > 0; None for 1.

    >>> from offshelf.heads.scaling import scale_rows
    >>> rows = scale_rows(np.array([[1.0, 0.0], [3.0, 0.0]]), "none")
    >>> spectrum = decompose(rows, np.array([0, 0]))
    >>> spectrum.spread, spectrum.means
    (array([2.]), array([[2., 0.]]))
    """
    if isinstance(rows, SharedRows):
        key = ("spectrum", groups.tobytes(), b"" if weights is None else weights.tobytes())
        return rows.once(key, lambda: _decompose(rows, groups, weights))
    return _decompose(rows, groups, weights)


def _decompose(rows: ScaledRows, groups: NDArray[np.int64], weights: Array | None) -> Spectrum:
    n, dimension = rows.shape
    return (ByRows if n <= dimension else ByColumns)(rows, groups, weights)


def _weighted(rows: ScaledRows, weights: Array | None) -> tuple[ScaledRows, Array]:
    """Return rows times the roots of their weights, and the roots."""
    roots = np.ones(rows.shape[0]) if weights is None else np.sqrt(weights)
    radius = rows.radius * float(roots.max())
    return ScaledRows(rows.features, rows.factors * roots, radius), roots


class ByRows:
    """The decomposition by inner products, for no more rows than dimensions."""

    def __init__(
        self, rows: ScaledRows, groups: NDArray[np.int64], weights: Array | None = None
    ) -> None:
        rows, roots = _weighted(rows, weights)
        self._rows, self._groups, self._roots = rows, groups, roots
        self._averaging = _averaging(groups, roots)
        self.means = rows.combine(self._averaging)
        products: Array = inner_products(rows, 0.0).astype(np.float64, copy=False)
        across = self._averaging @ products
        within = across @ self._averaging.T
        for part in blocks(*products.shape):
            own = roots[part][:, None]
            products[part] -= own * across[groups[part]] + across.T[part][:, groups] * roots
            products[part] += own * within[groups[part]][:, groups] * roots
        self.spread, self._left = _eigen(products)

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""
        return self._left[rows] * np.sqrt(self.spread)

    def along(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``."""
        products = self._rows.scores(vectors)
        products -= (products @ self._averaging.T)[:, self._groups] * self._roots
        return products @ self._left / np.sqrt(self.spread)

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``."""
        own = coordinates / np.sqrt(self.spread) @ self._left.T
        own -= _sums(own * self._roots, self._groups) @ self._averaging
        return self._rows.combine(own)


class ByColumns:
    """The decomposition by sums of products, for fewer dimensions than rows."""

    def __init__(
        self, rows: ScaledRows, groups: NDArray[np.int64], weights: Array | None = None
    ) -> None:
        rows, roots = _weighted(rows, weights)
        self._rows, self._groups, self._roots = rows, groups, roots
        self.means = rows.combine(_averaging(groups, roots))
        sums = np.zeros((rows.shape[1],) * 2)
        for part in blocks(*rows.shape):
            centred = self._centred(part)
            sums += centred.T @ centred
        self.spread, self._directions = _eigen(sums)

    def coordinates(self, rows: slice) -> Array:
        """Return the coordinates of some rows, n x r."""
        return self._centred(rows) @ self._directions

    def along(self, vectors: Array) -> Array:
        """Return ``vectors @ directions``."""
        return vectors @ self._directions

    def combine(self, coordinates: Array) -> Array:
        """Return ``coordinates @ directions.T``."""
        return coordinates @ self._directions.T

    def _centred(self, rows: slice) -> Array:
        means = self.means[self._groups[rows]] * self._roots[rows, None]
        centred: Array = self._rows.take(rows) - means
        return centred


def _averaging(groups: NDArray[np.int64], roots: Array) -> Array:
    """Return G x N; a product with it from the left takes the mean of each group."""
    own = np.arange(groups.max() + 1)[:, None] == groups
    averaging: Array = own * roots / (own * roots**2).sum(axis=1, keepdims=True)
    return averaging


def _sums(values: Array, groups: NDArray[np.int64]) -> Array:
    """Return the sums over each group of the columns of *values*, K x G."""
    own = np.arange(groups.max() + 1)[:, None] == groups
    sums: Array = values @ own.T
    return sums


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
