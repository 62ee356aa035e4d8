"""Rows around the means of their groups: all rows as one group, or each class by itself.

Where rows have weights, means are weighted and each centred row is multiplied by the root of
its weight. Rows are centred where they are used; the matrix itself is never copied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.row_scaling import Matrix, ScaledRows, blocks, inner_products

Array = NDArray[np.float64]


class Centred:
    """N rows of D dimensions around the means of their groups.

    Attributes:
        shape: N and D.
        means: G x D, the mean of each group.
        parts: N, how much of itself a row has in the mean of its group, 0 to 1.

    >>> from offshelf.heads.numerics.row_scaling import scale_rows
    >>> rows = scale_rows(np.array([[1.0, 0.0], [3.0, 0.0]]), "none")
    >>> centred = Centred(rows, np.array([0, 0]))
    >>> centred.take(slice(None)), centred.means, centred.parts
    (array([[-1.,  0.],
           [ 1.,  0.]]), array([[2., 0.]]), array([0.5, 0.5]))
    """

    def __init__(
        self,
        rows: ScaledRows,
        groups: NDArray[np.int64],
        weights: Array | None = None,
        *,
        around_zero: bool = False,
    ) -> None:
        from scipy.sparse import csr_array

        self._groups = groups
        self._roots = np.ones(len(groups)) if weights is None else np.sqrt(weights)
        self._rows = ScaledRows(
            rows.features, rows.factors * self._roots, rows.radius * float(self._roots.max())
        )
        self._shares = self._roots / np.bincount(groups, self._roots**2)[groups]
        if around_zero:
            self._shares = np.zeros(len(groups))
        self._averaging = csr_array((self._shares, (groups, np.arange(len(groups)))))
        self.shape = rows.shape
        self.means: Array = self._means()
        self.parts: Array = self._roots * self._shares

    @property
    def rounding(self) -> float:
        """A sum of squares of centred rows that rounding alone can make."""
        eps = float(np.finfo(np.float64).eps)
        return eps * (self.shape[0] * self._rows.radius) ** 2

    def take(self, rows: slice) -> Array:
        """Return some centred rows, n x D."""
        means = self.means[self._groups[rows]] * self._roots[rows, None]
        centred: Array = self._rows.take(rows) - means
        return centred

    def scores(self, vectors: Array) -> Array:
        """Return ``vectors @ centred.T``, K x N, for vectors K x D."""
        return self._around(self._rows.scores(vectors))

    def combine(self, coefficients: Array) -> Array:
        """Return ``coefficients @ centred``, K x D, for coefficients K x N."""
        n, dimension = self.shape
        if n > dimension:
            # A copy of the coefficients would be more than the result.
            parts = blocks(n, max(dimension, len(coefficients)))
            zero = np.zeros((len(coefficients), dimension))
            return sum((coefficients[:, part] @ self.take(part) for part in parts), start=zero)
        return self._rows.combine(self._around(coefficients.copy()))

    def centre(self, targets: Array) -> Array:
        """Return targets N x P around their weighted means by group, times the roots."""
        centred: Array = targets * self._roots[:, None]
        means = self._average(centred)
        for part in blocks(*centred.shape):
            centred[part] -= means[self._groups[part]] * self._roots[part, None]
        return centred

    def products(self, known: Matrix | None = None) -> Array:
        """Return ``centred @ centred.T``, N x N.

        *known*, the inner products of the rows without weights, is written over.
        """
        whole = inner_products(self._rows, 0.0) if known is None else known
        products: Array = whole.astype(np.float64, copy=False)
        if known is not None:
            products *= self._roots[:, None]
            products *= self._roots
        across = self._average(products)
        within = self._average(across.T).T
        groups, roots = self._groups, self._roots
        for part in blocks(*products.shape):
            own = roots[part][:, None]
            products[part] -= own * across[groups[part]] + across.T[part][:, groups] * roots
            products[part] += own * within[groups[part]][:, groups] * roots
        return products

    def fill(self, products: Array) -> float:
        """Add to *products* N x N along the means, of which centred rows have nothing.

        What is added along each of the G directions, and returned, is the mean eigenvalue.
        """
        size = float(products.trace()) / len(products)
        for part in blocks(*products.shape):
            own = self._groups[part][:, None] == self._groups
            products[part] += size * self._roots[part][:, None] * (own * self._shares)
        return size

    def sums(self) -> Array:
        """Return ``centred.T @ centred``, D x D."""
        sums = np.zeros((self.shape[1],) * 2)
        for part in blocks(*self.shape):
            centred = self.take(part)
            sums += centred.T @ centred
        return sums

    def _average(self, values: Array) -> Array:
        """Return the mean of each group, G x K, of values N x K that have the roots in them."""
        return np.asarray(self._averaging @ values)

    def _around(self, values: Array) -> Array:
        """Take from *values* K x N, in place, what lies along the means."""
        away: Array = self._average(values.T).T[:, self._groups]
        away *= self._roots
        values -= away
        return values

    def _means(self) -> Array:
        means = np.zeros((int(self._groups.max()) + 1, self.shape[1]))
        order = np.argsort(self._groups, kind="stable")
        ends = np.cumsum(np.bincount(self._groups))
        for group, rows in enumerate(np.split(order, ends[:-1])):
            for part in blocks(len(rows), self.shape[1]):
                means[group] += self._shares[rows[part]] @ self._rows.take(rows[part])
        return means
