"""Rows around the means of their groups: all rows as one group, or each class by itself.

Where rows have weights, means are weighted and each centred row is multiplied by the root of
its weight. Rows are centred where they are used; the matrix itself is never copied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.gram import inner_products
from offshelf.heads.scaling import ScaledRows, blocks

Array = NDArray[np.float64]


class Centred:
    """N rows of D dimensions around the means of their groups.

    Attributes:
        shape: N and D.
        means: G x D, the mean of each group.
        parts: N, how much of itself a row has in the mean of its group, 0 to 1.

    >>> from offshelf.heads.scaling import scale_rows
    >>> rows = scale_rows(np.array([[1.0, 0.0], [3.0, 0.0]]), "none")
    >>> centred = Centred(rows, np.array([0, 0]))
    >>> centred.take(slice(None)), centred.means, centred.parts
    (array([[-1.,  0.],
           [ 1.,  0.]]), array([[2., 0.]]), array([0.5, 0.5]))
    """

    def __init__(
        self, rows: ScaledRows, groups: NDArray[np.int64], weights: Array | None = None
    ) -> None:
        self._groups = groups
        self._roots = np.ones(len(groups)) if weights is None else np.sqrt(weights)
        radius = rows.radius * float(self._roots.max())
        self._rows = ScaledRows(rows.features, rows.factors * self._roots, radius)
        own = np.arange(groups.max() + 1)[:, None] == groups
        # A product with it from the left takes the mean of each group.
        sums = (own * self._roots**2).sum(axis=1, keepdims=True)
        self._averaging: Array = own * self._roots / sums
        self.shape = rows.shape
        self.means: Array = self._rows.combine(self._averaging)
        self.parts: Array = self._roots**2 / sums[groups, 0]

    def take(self, rows: slice) -> Array:
        """Return some centred rows, n x D."""
        means = self.means[self._groups[rows]] * self._roots[rows, None]
        centred: Array = self._rows.take(rows) - means
        return centred

    def scores(self, vectors: Array) -> Array:
        """Return ``vectors @ centred.T``, K x N, for vectors K x D."""
        products = self._rows.scores(vectors)
        products -= (products @ self._averaging.T)[:, self._groups] * self._roots
        return products

    def combine(self, coefficients: Array) -> Array:
        """Return ``coefficients @ centred``, K x D, for coefficients K x N."""
        own = np.arange(len(self.means))[:, None] == self._groups
        sums = (coefficients * self._roots) @ own.T
        return self._rows.combine(coefficients - sums @ self._averaging)

    def centre(self, targets: Array) -> Array:
        """Return targets N x P around their weighted means by group, times the roots."""
        means = self._averaging @ (self._roots[:, None] * targets)
        centred: Array = (targets - means[self._groups]) * self._roots[:, None]
        return centred

    def products(self) -> Array:
        """Return ``centred @ centred.T``, N x N."""
        products: Array = inner_products(self._rows, 0.0).astype(np.float64, copy=False)
        across = self._averaging @ products
        within = across @ self._averaging.T
        groups, roots = self._groups, self._roots
        for part in blocks(*products.shape):
            own = roots[part][:, None]
            products[part] -= own * across[groups[part]] + across.T[part][:, groups] * roots
            products[part] += own * within[groups[part]][:, groups] * roots
        return products

    def fill(self, products: Array) -> float:
        """Add to *products* N x N along the means, of which centred rows have nothing.

        Returns:
            What was added along each of the G directions, as their eigenvalue: the mean one.
        """
        size = float(products.trace()) / len(products)
        for part in blocks(*products.shape):
            own = self._averaging[self._groups[part]]
            products[part] += size * self._roots[part][:, None] * own
        return size

    def sums(self) -> Array:
        """Return ``centred.T @ centred``, D x D."""
        sums = np.zeros((self.shape[1],) * 2)
        for part in blocks(*self.shape):
            centred = self.take(part)
            sums += centred.T @ centred
        return sums
