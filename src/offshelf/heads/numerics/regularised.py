"""Regression and distances with any t > 0 on the diagonal of centred rows' scatter.

With Z the centred rows, N x D, and S = Z.T Z their scatter, ``inverse(S + t I)`` is what ridge
regression and shrunk discriminants need, for each t from the same decomposition: of S, or of
the inner products Z Z.T where rows are the fewer. There ``inverse(S + t I) Z.T`` is
``Z.T inverse(Z Z.T + t I)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.centred import Array, Centred
from offshelf.heads.numerics.row_scaling import ScaledRows, SharedRows, blocks, inner_products
from offshelf.heads.numerics.tridiagonal import Cholesky, Factor, Tridiagonal

# Parts of rows that are up to so many times their dimensions may well be fewer than these.
_LARGEST_SHARE = 1.25


class Part(NamedTuple):
    """Values of some rows at one of several t.

    Attributes:
        place: which t.
        rows: which rows.
        values: n x K, for each row and target, or vector, what was asked for.
        own: n, what a regression leaves of a row's own target: 1 less the leverage of the row
            and less its part in the mean. Above 0, and at most 1.
    """

    place: int
    rows: slice
    values: Array
    own: Array


class Solvable(Protocol):
    """A decomposition of centred rows for systems with t on the diagonal.

    Attributes:
        centred: the rows.
        total: sum of the squares of the centred rows, 0 where rounding hides it.
    """

    centred: Centred
    total: float

    def weights(self, targets: Array, t: float) -> Array:
        """Return ``targets.T @ Z @ inverse(S + t I)``, P x D, for targets N x P."""

    def solve(self, vectors: Array, t: float) -> Array:
        """Return ``vectors @ inverse(S + t I)``, K x D, for vectors K x D."""


class Shifted(Solvable, Protocol):
    """The same for any t, with residuals and distances."""

    def residuals(self, targets: Array, ts: Sequence[float]) -> Iterator[Part]:
        """Yield for parts of the rows, at each t, what the weights leave of targets N x P."""

    def products(self, vectors: Array, ts: Sequence[float]) -> Array:
        """Return ``vectors @ inverse(S + t I) @ vectors.T`` for each t, T x K x K."""

    def scores(self, vectors: Array, ts: Sequence[float]) -> Iterator[Part]:
        """Yield for parts of the rows, at each t, ``Z @ inverse(S + t I) @ vectors.T``."""


def decompose_shifted(
    rows: ScaledRows, groups: NDArray[np.int64], weights: Array | None = None
) -> Shifted:
    """Decompose *rows* N x D, centred by group.

    Args:
        rows: the rows; beside them N x N or D x D float64 values are kept, whichever is fewer,
            and at no time two such matrices; and G x D for the means.
        groups: for each row its group, 0 to G - 1, each at least once.
        weights: N, > 0; None for 1.

    >>> from offshelf.heads.numerics.row_scaling import scale_rows
    >>> rows = scale_rows(np.array([[1.0, 0.0], [3.0, 0.0]]), "none")
    >>> shifted = decompose_shifted(rows, np.array([0, 0]))
    >>> shifted.total, shifted.weights(np.array([[-1.0], [1.0]]), 2.0).round(9)
    (2.0, array([[0.5, 0. ]]))
    """

    def make() -> Shifted:
        n, dimension = rows.shape
        return (_ByRows if n <= dimension else _ByColumns)(Centred(rows, groups, weights))

    if isinstance(rows, SharedRows):
        key = ("shifted", groups.tobytes(), b"" if weights is None else weights.tobytes())
        return rows.once(key, make)
    return make()


class Parts:
    """Decompositions of parts of the same rows, each to be solved at one t only."""

    def __init__(self, rows: ScaledRows) -> None:
        """Keep *rows* N x D, and their N x N inner products where these are the fewer."""
        n, dimension = rows.shape
        self._rows = rows
        few = n <= _LARGEST_SHARE * dimension
        self._products = inner_products(rows, 0.0) if few else None

    def decompose(
        self, kept: NDArray[np.intp], groups: NDArray[np.int64], weights: Array | None = None
    ) -> Solvable:
        """Decompose the rows at *kept*, centred by group, as :func:`decompose_shifted` does."""
        centred = Centred(self._rows.of(kept), groups, weights)
        if self._products is None:
            return _SolvedByColumns(centred, Cholesky(centred.sums()))
        products = centred.products(self._products[np.ix_(kept, kept)])
        filled = centred.fill(products)
        return _SolvedByRows(centred, Cholesky(products), filled)


class _SolvedByRows:
    """Systems by the inner products, for no more rows than dimensions."""

    def __init__(self, centred: Centred, inverse: Any, along_means: float) -> None:
        self.centred, self._inverse, self._along_means = centred, inverse, along_means
        self.total = _total(centred, inverse.trace - along_means * len(centred.means))

    def weights(self, targets: Array, t: float) -> Array:
        return self.centred.combine(self._inverse.solve(self._inverse.shifted(t), targets).T)

    def solve(self, vectors: Array, t: float) -> Array:
        factor = self._inverse.shifted(t)
        inner = self._inverse.solve(factor, self.centred.scores(vectors).T)
        solved: Array = (vectors - self.centred.combine(inner.T)) / factor.shift
        return solved


class _ByRows(_SolvedByRows):
    """By the inner products, for no more rows than dimensions."""

    def __init__(self, centred: Centred) -> None:
        products = centred.products()
        # Rows have nothing along the means that were taken from them. With something there,
        # what a small t leaves of a row is no difference of large numbers.
        filled = centred.fill(products)
        super().__init__(centred, Tridiagonal(products), filled)

    def residuals(self, targets: Array, ts: Sequence[float]) -> Iterator[Part]:
        factors = [self._inverse.shifted(t) for t in ts]
        for part in self._solved(targets, factors):
            yield part._replace(values=factors[part.place].shift * part.values)

    def products(self, vectors: Array, ts: Sequence[float]) -> Array:
        scores, whole = self.centred.scores(vectors), vectors @ vectors.T
        factors = [self._inverse.shifted(t) for t in ts]
        parts = [(scores @ self._inverse.solve(each, scores.T), each.shift) for each in factors]
        return np.array([(whole - inside) / shift for inside, shift in parts])

    def scores(self, vectors: Array, ts: Sequence[float]) -> Iterator[Part]:
        factors = [self._inverse.shifted(t) for t in ts]
        return self._solved(self.centred.scores(vectors).T, factors)

    def _solved(self, targets: Array, factors: list[Factor]) -> Iterator[Part]:
        shifts = np.array([factor.shift for factor in factors])[:, None]
        means = self.centred.parts / (self._along_means + shifts)
        own = self._inverse.diagonals(factors)
        own -= means
        own = _inside(shifts * own, self.centred.parts)
        for place, factor in enumerate(factors):
            solved = self._inverse.solve(factor, targets)
            for rows in blocks(*solved.shape):
                yield Part(place, rows, solved[rows], own[place, rows])


class _SolvedByColumns:
    """Systems by the sums of products, for fewer dimensions than rows."""

    def __init__(self, centred: Centred, inverse: Any) -> None:
        self.centred, self._inverse = centred, inverse
        self.total = _total(centred, inverse.trace)

    def weights(self, targets: Array, t: float) -> Array:
        return self.solve(self.centred.combine(targets.T), t)

    def solve(self, vectors: Array, t: float) -> Array:
        solved: Array = self._inverse.solve(self._inverse.shifted(t), vectors.T).T
        return solved


class _ByColumns(_SolvedByColumns):
    """By the sums of products, for fewer dimensions than rows."""

    def __init__(self, centred: Centred) -> None:
        super().__init__(centred, Tridiagonal(centred.sums()))

    def residuals(self, targets: Array, ts: Sequence[float]) -> Iterator[Part]:
        for part in self.scores(self.centred.combine(targets.T), ts):
            yield part._replace(values=targets[part.rows] - part.values)

    def products(self, vectors: Array, ts: Sequence[float]) -> Array:
        return np.array([vectors @ self.solve(vectors, t).T for t in ts])

    def scores(self, vectors: Array, ts: Sequence[float]) -> Iterator[Part]:
        factors = [self._inverse.shifted(t) for t in ts]
        solved = [self._inverse.solve(factor, vectors.T) for factor in factors]
        for part in blocks(*self.centred.shape):
            rows = self.centred.take(part)
            parts = self.centred.parts[part]
            own = _inside(1 - parts - self._inverse.forms(factors, rows), parts)
            for place, each in enumerate(solved):
                yield Part(place, part, rows @ each, own[place])


def _total(centred: Centred, total: float) -> float:
    return total if total > centred.rounding else 0.0


def _inside(own: Array, parts: Array) -> Array:
    """Return *own* as it can be: above 0 and at most what the mean leaves of a row."""
    inside: Array = np.maximum(np.minimum(own, 1 - parts), np.finfo(np.float64).eps)
    return inside
