"""Eigenvalues of a feature matrix with its classes seen along them, at any dimension.

Work is done in the smaller of images and dimensions: an n x n or a D x D matrix, in float64,
built block by block, so that the features themselves are never copied whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, same_length
from offshelf.errors import DataError
from offshelf.heads.numerics.row_scaling import blocks

Matrix = NDArray[np.float64]
_BLOCK_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The features N x D as U S V^T, and the class indicators Y, N x K, along U.

    Attributes:
        values: r eigenvalues S^2 > 0, falling; r <= min(N, D).
        along: r x K, U^T Y.
        energy: K, squared norms of the columns of Y.
        n: N.
        dimension: D.
        fourth: sum over the rows of the fourth power of their norm.
    """

    values: Matrix
    along: Matrix
    energy: Matrix
    n: int
    dimension: int
    fourth: float
    _left: Matrix | None
    _right: Matrix
    _features: NDArray[Any]
    _mean: Matrix

    def left(self) -> Iterator[tuple[slice, Matrix]]:
        """Yield (rows, those rows of U)."""
        for rows in blocks(self.n, max(self.dimension, len(self.values)), _BLOCK_VALUES):
            if self._left is not None:
                yield rows, self._left[rows]
            else:
                centred = self._features[rows].astype(np.float64) - self._mean
                yield rows, centred @ self._right / np.sqrt(self.values)


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products that a spectrum is made of; of images where they are the fewer.

    Attributes:
        features: N x D, finite, as given.
        targets: N class indices, 0 to K - 1, each at least once.
        matrix: N x N or D x D.
        mean: D, mean row.
        norms: N, squared norms of the rows.
    """

    features: NDArray[Any]
    targets: NDArray[np.int64]
    matrix: Matrix
    mean: Matrix
    norms: Matrix

    @property
    def of_images(self) -> bool:
        """Whether the matrix is N x N."""
        return len(self.norms) <= len(self.mean)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images per class."""
        return np.bincount(self.targets)


def products(features: NDArray[Any], targets: NDArray[np.int64]) -> Products:
    """Check features and targets and take the inner products.

    Args:
        features: N x D real numbers, finite.
        targets: N class indices; classes without images are left out.

    Raises:
        DataError: not a numeric matrix, NaN or infinity inside, another number of
            targets than rows, or fewer than two classes.

    >>> products(np.eye(3, dtype=np.float32), np.array([0, 4, 4])).counts
    array([1, 2])
    """
    features = np.asarray(features)
    if features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
        raise DataError(
            "features must be a numeric matrix of rows x dimensions, "
            f"got shape {features.shape} of {features.dtype}"
        )
    same_length("rows of features", len(features), "targets", len(np.atleast_1d(targets)))
    present, targets = np.unique(class_indices("targets", targets), return_inverse=True)
    if len(present) < 2:
        raise DataError("all images are of one class: a transfer score needs at least two")
    n, dimension = features.shape
    size = min(n, dimension)
    matrix, norms, total = np.zeros((size, size)), np.zeros(n), np.zeros(dimension)
    with np.errstate(over="ignore", invalid="ignore"):
        if n <= dimension:
            for columns in blocks(dimension, n, _BLOCK_VALUES):
                block = features[:, columns].astype(np.float64)
                matrix += block @ block.T
                total[columns] = block.sum(axis=0)
            norms = matrix.diagonal().copy()
        else:
            for rows in blocks(n, dimension, _BLOCK_VALUES):
                block = features[rows].astype(np.float64)
                matrix += block.T @ block
                total += block.sum(axis=0)
                norms[rows] = np.square(block).sum(axis=1)
    if not (np.isfinite(norms).all() and np.isfinite(total).all()):
        row = int(np.flatnonzero(~np.isfinite(norms))[0]) if len(norms) else 0
        raise DataError(f"features hold NaN, infinity or too large numbers, first in row {row}")
    return Products(features, targets.astype(np.int64), matrix, total / n, norms)


def spectrum(given: Products, *, centred: bool) -> Spectrum:
    """Return the eigenvalues, of the rows as they are or less their mean.

    Args:
        given: of :func:`products`.
        centred: whether the mean row is taken away first.

    >>> rows = np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> spectrum(products(rows, np.array([0, 1, 1])), centred=False).values
    array([9., 4.])
    """
    matrix, norms = given.matrix, given.norms
    mean = given.mean if centred else np.zeros_like(given.mean)
    if centred:
        matrix, norms = _centred(given)
    values, vectors = _eigen(matrix)
    # Below this a value is rounding of the largest product, before the mean was taken away.
    floor = max(given.features.shape) * np.finfo(np.float64).eps * given.matrix.diagonal().sum()
    kept = np.flatnonzero(values > floor)[::-1]
    values, vectors = values[kept], np.ascontiguousarray(vectors[:, kept])
    left = vectors if given.of_images else None
    along = _along(given, mean, values, vectors)
    energy = given.counts.astype(np.float64)
    n, dimension = given.features.shape
    fourth = float(np.square(norms).sum())
    return Spectrum(
        values, along, energy, n, dimension, fourth, left, vectors, given.features, mean
    )


def _eigen(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Decompose with one thread of BLAS: more wait for each other, on a busy machine for long."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _centred(given: Products) -> tuple[Matrix, Matrix]:
    if given.of_images:
        means = given.matrix.mean(axis=0)
        matrix = given.matrix - means - means[:, None] + means.mean()
        return matrix, matrix.diagonal().copy()
    mean, n = given.mean, len(given.features)
    inner = np.concatenate(
        [
            given.features[rows].astype(np.float64) @ mean
            for rows in blocks(n, len(mean), _BLOCK_VALUES)
        ]
    )
    norms = np.maximum(given.norms - 2 * inner + mean @ mean, 0.0)
    return given.matrix - n * np.outer(mean, mean), norms


def _along(given: Products, mean: Matrix, values: Matrix, vectors: Matrix) -> Matrix:
    """Return U^T Y without ever making Y."""
    which = np.eye(len(given.counts))
    if given.of_images:
        return vectors.T @ which[given.targets]
    totals = -given.counts[:, None] * mean
    for rows in blocks(len(given.features), len(mean), _BLOCK_VALUES):
        totals += which[given.targets[rows]].T @ given.features[rows].astype(np.float64)
    return np.asarray(vectors.T @ totals.T / np.sqrt(values)[:, None])
