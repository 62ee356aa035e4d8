"""Inner products of training rows, each row with a constant 1 added for the bias.

The solver uses rows only by these products, so it costs the same at any dimension. The
matrix of all of them is kept where it is smaller than the work it saves, else products are
taken with the features themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.row_scaling import Matrix, ScaledRows, SharedRows, inner_products

# What is added to the diagonal of a system: one number > 0, or one for each row.
Diagonal = float | Matrix

# Up to this many rows, and four rows for each dimension, the matrix is worth its n * n values.
MAX_DENSE_ROWS = 16_384
DENSE_ROWS_PER_DIMENSION = 4
# Above this product of C and the squared norm of a row, rounding to float32 shows in scores.
MAX_FLOAT32_CONDITION = 500.0
# How many products with the Gram matrix one conjugate-gradient solution is taken to cost.
_EXPECTED_PRODUCTS = 40
# Rows of no more values are kept in the form that their systems need.
_MAX_EXTENDED_VALUES = 2**20
_ROWS_AT_A_TIME = 64


class DenseGram:
    """All inner products of n rows in one symmetric n x n matrix.

    Attributes:
        dtype: of the products, float32 or float64.
        largest: no product is larger.
        direct_size: up to so many rows their system is solved at once, not step by step; more
            where steps would be many.

    >>> gram = DenseGram(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> gram.times(np.array([[1.0, 0.0]]))
    array([[2., 1.]])
    >>> gram.solve(np.array([0]), np.array([1.0]), ridge=2.0)
    array([0.25])
    """

    def __init__(self, values: Matrix) -> None:
        self.values = values
        self.dtype = values.dtype
        self.largest = float(values.diagonal().max())
        self.direct_size = int((_EXPECTED_PRODUCTS * len(values) ** 2) ** (1 / 3))

    def times(self, coefficients: Matrix) -> Matrix:
        """Return ``coefficients @ gram``, P x n, computed in the type of *coefficients*."""
        if coefficients.dtype == self.dtype:
            return coefficients @ self.values
        used = np.flatnonzero(coefficients.any(axis=0))
        total = np.zeros_like(coefficients)
        for part in np.array_split(used, 1 + len(used) // 128):
            total += coefficients[:, part] @ self.values[part].astype(coefficients.dtype)
        return total

    def solve(self, rows: NDArray[np.intp], targets: Matrix, ridge: Diagonal) -> Matrix:
        """Return x with ``(gram[rows, rows] + diag(ridge)) @ x = targets``.

        It is worked out in float64, or in the type of the gram where targets are float32 too.
        """
        kind = np.result_type(self.dtype, targets.dtype)
        system = np.empty((len(rows), len(rows)), kind)
        # A few rows at a time, so that m x n values never stand beside the n x n.
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            # Mode "clip" saves take a buffer; all these rows exist.
            whole = self.values.take(rows[part], axis=0, mode="clip")
            system[part] = whole.take(rows, axis=1, mode="clip")
        return solve_positive(system, targets, ridge)


class FactoredGram:
    """The same for many rows of few dimensions: products go through the rows themselves."""

    def __init__(self, features: NDArray[Any], factors: NDArray[np.float64], radius: float) -> None:
        self.features, self.factors, self.largest = features, factors, 1 + radius**2
        self.dtype = features.dtype
        n, dimension = features.shape
        # Conjugate gradients cost so many products of 2 n D each way; a system m D (m + D).
        cost = _EXPECTED_PRODUCTS * 4 * n
        self.direct_size = int(max(cost ** (1 / 2) - dimension, cost / dimension - dimension, 1))
        small = n * dimension <= _MAX_EXTENDED_VALUES
        self._extended = self._extend(slice(None)) if small else None

    def times(self, coefficients: Matrix) -> Matrix:
        """Return ``coefficients @ gram`` in two products with the features."""
        kind = coefficients.dtype
        factors = self.factors.astype(kind)
        weight = np.zeros((len(coefficients), self.features.shape[1]), dtype=kind)
        scores = np.empty_like(coefficients)
        for part in self._parts(kind):
            weight += (coefficients[:, part] * factors[part]) @ self._part(part, kind)
        for part in self._parts(kind):
            scores[:, part] = (weight @ self._part(part, kind).T) * factors[part]
        scores += coefficients.sum(axis=1, keepdims=True)
        return scores

    def solve(self, rows: NDArray[np.intp], targets: Matrix, ridge: Diagonal) -> Matrix:
        """Solve in as many unknowns as there are rows, or dimensions if those are fewer."""
        inner = self._extend(rows) if self._extended is None else self._extended[rows]
        if len(rows) <= inner.shape[1]:
            return solve_positive(inner @ inner.T, targets, ridge)
        if isinstance(ridge, np.ndarray):
            # Rows and targets over the roots of their own ridge have a common one of 1.
            root = np.sqrt(ridge.astype(np.float64))
            scaled = inner / root[:, None]
            weight = solve_positive(scaled.T @ scaled, (targets / root) @ scaled, 1.0)
        else:
            weight = solve_positive(inner.T @ inner, targets @ inner, ridge)
        return (targets - inner @ weight) / ridge

    def _extend(self, rows: Any) -> NDArray[np.float64]:
        """Return a scaled copy of some rows with the constant 1 at their ends."""
        values = self.features[rows]
        inner = np.ones((len(values), values.shape[1] + 1))
        np.multiply(values, self.factors[rows, None], out=inner[:, :-1])
        return inner

    def _parts(self, kind: np.dtype[np.floating[Any]]) -> list[slice]:
        n, dimension = self.features.shape
        step = n if kind == self.dtype else max(128, 2**18 // dimension)
        return [slice(start, start + step) for start in range(0, n, step)]

    def _part(self, part: slice, kind: np.dtype[np.floating[Any]]) -> Matrix:
        return self.features[part].astype(kind, copy=False)


Gram = DenseGram | FactoredGram


def make_gram(rows: ScaledRows, c: float) -> Gram:
    """Return the inner products of *rows* in the form and type that suit them.

    Args:
        rows: N x D; shared rows give the same products for every C that they were made for.
        c: the largest C they will be used with; it decides between float32 and float64.
    """
    if isinstance(rows, SharedRows) and c <= rows.largest_c:
        return rows.once("gram", lambda: _make_gram(rows, rows.largest_c))
    return _make_gram(rows, c)


def _make_gram(rows: ScaledRows, c: float) -> Gram:
    n, dimension = rows.shape
    condition = c * (1 + rows.radius**2)
    kind = np.float32 if rows.moderate and condition <= MAX_FLOAT32_CONDITION else np.float64
    if n <= MAX_DENSE_ROWS and n <= DENSE_ROWS_PER_DIMENSION * dimension:
        return DenseGram(inner_products(rows, 1.0, kind))
    if rows.moderate and rows.features.dtype == kind:
        return FactoredGram(np.ascontiguousarray(rows.features), rows.factors, rows.radius)
    return FactoredGram(rows.take(slice(None), kind), np.ones(n), rows.radius)


def solve_positive(system: Matrix, targets: Matrix, ridge: Diagonal) -> Matrix:
    """Return x with ``(system + diag(ridge)) @ x = targets``, in the type of *system*.

    The *system*, n x n and symmetric, is written over.
    """
    from scipy.linalg import lapack

    diagonal = system.diagonal() + ridge
    np.einsum("ii->i", system)[:] = diagonal
    solution = targets.astype(system.dtype)
    if not len(system):
        return solution
    posv = lapack.sposv if system.dtype == np.float32 else lapack.dposv
    # The transpose is the same matrix in Fortran's order, so nothing is copied.
    _, found, failed = posv(system.T, solution, lower=0, overwrite_a=1, overwrite_b=1)
    if failed:
        # Rounding hid that it is positive; elimination with pivots does not need it to be.
        upper = np.triu(system, 1)
        found = np.linalg.solve(upper + upper.T + np.diag(diagonal), targets)
    shaped: Matrix = found.reshape(targets.shape).astype(system.dtype, copy=False)
    return shaped
