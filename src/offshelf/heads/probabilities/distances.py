"""Distances of an image to the training images, in directions of their features.

Three measures: to the nearest class centroid, to the nearest training image, and to the nearest
class mean in units of the covariance within classes. High is unusual.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, numbers, same_length, whole
from offshelf.errors import DataError
from offshelf.heads.numerics.reproducible import exact_product, row_norms
from offshelf.heads.numerics.row_scaling import blocks

Distance = Literal["centroid_distance", "neighbour_distance", "covariance_distance"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)
Matrix = NDArray[np.float64]
Product = Callable[[Matrix, Matrix], Matrix]
# Values of the training images that are kept for the nearest: 2 MiB of float16.
NEIGHBOUR_VALUES = 2**20
# Directions in which the covariance is known; in all others it is the same.
DIRECTIONS = 8
_BLOCK_VALUES = 2**18
_SPARE, _STEPS = 8, 2


@dataclass(frozen=True, eq=False)
class Reference:
    """What a distance is measured to.

    Attributes:
        measure: which distance.
        rows: M x D: class centroids, class means, or training images, as directions.
        axes: R x D: of the covariance; None for the other measures.

    >>> rows = np.array([[1.0, 0.0]])
    >>> Reference("centroid_distance", rows).distances(np.array([[0.0, 2.0], [3.0, 0.0]])).tolist()
    [1.0, 0.0]
    """

    measure: Distance
    rows: NDArray[np.floating[Any]]
    axes: NDArray[np.floating[Any]] | None = None

    def distances(self, features: NDArray[Any]) -> Matrix:
        """Return the distance of each of N x D features, N float64 of 0 or more.

        An image has the same bits alone and in any batch. DataError where D is another.
        """
        if not len(features):
            return np.empty(0)
        known, axes = _exact(self.rows), None if self.axes is None else _exact(self.axes)
        values = max(_BLOCK_VALUES, 2 * known.size)
        parts = blocks(len(features), max(features.shape[1], len(known)), values)
        return np.concatenate(
            [_distances(directions("features", features[p]), known, axes) for p in parts]
        )


def directions(what: str, matrix: NDArray[Any]) -> Matrix:
    """Return rows N x D divided by their norms; a row of zeros stays zeros.

    >>> directions("features", np.array([[3, 4], [0, 0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    rows = np.ascontiguousarray(numbers(what, matrix, 2))
    norms = row_norms(rows)
    return np.asarray(rows / np.where(norms == 0, 1.0, norms)[:, None])


def centroids(features: NDArray[Any], targets: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """Return the mean direction of each of k classes: k x D float32, rows of norm 1 (or 0).

    DataError where the shapes of features N x D and targets N do not fit, or values are not
    finite.

    >>> centroids(np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]]), np.array([0, 1, 1]), 2)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    matrix = np.asarray(features)
    targets = class_indices("targets", targets, whole("k", k, 1))
    same_length("rows of features", len(matrix), "targets", len(targets))
    sums = np.zeros((k, matrix.shape[-1]))
    for part in blocks(len(matrix), matrix.shape[-1]):
        _add(sums, targets[part], directions("features", matrix[part]))
    return directions("centroids", sums).astype(np.float32)


def nearest_distance(features: NDArray[Any], reference: NDArray[Any]) -> Matrix:
    """Return the cosine distance of rows N x D to the nearest of M x D rows.

    N float64, 0 (same direction) to 2 (opposite); a row of zeros is at 1 from all. DataError
    where the matrices do not fit.
    """
    known = directions("reference", reference)
    return Reference("neighbour_distance", known).distances(features)


def fit_reference(
    measure: Distance, rows: NDArray[Any], targets: NDArray[np.int64], *, dimension: int = 0
) -> Reference:
    """Return the reference of a measure that N x d directions of training images make.

    Args:
        measure: which distance.
        rows: the directions, perhaps turned into fewer dimensions, which moves no distance.
        targets: N class indices; classes without rows are left out.
        dimension: D of the features, where d is another.

    >>> rows = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> fit_reference("centroid_distance", rows, np.array([0, 1, 1])).rows.shape
    (2, 2)
    """
    dimension = dimension or rows.shape[1]
    if measure == "neighbour_distance":
        return Reference(measure, rows[sampled(targets, NEIGHBOUR_VALUES // dimension)])
    present, places = np.unique(targets, return_inverse=True)
    sums = np.zeros((len(present), rows.shape[1]))
    _add(sums, places, rows)
    if measure == "centroid_distance":
        return Reference(measure, directions("centroids", sums).astype(np.float32))
    means = (sums / np.bincount(places)[:, None]).astype(rows.dtype)
    within = rows - means[places]
    spare = len(rows) - len(present)
    return Reference(measure, means, _axes(within, spare, dimension))


def sampled(targets: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    """Return at most about *limit* rows, rising, classes in proportion and each at least once.

    >>> sampled(np.array([0, 0, 0, 0, 1, 1, 2]), 3).tolist()
    [0, 2, 4, 6]
    """
    n = len(targets)
    if n <= limit:
        return np.arange(n)
    order = np.argsort(targets, kind="stable")
    first = np.flatnonzero(np.diff(targets[order], prepend=-1))
    spread = np.arange(max(1, limit)) * n // max(1, limit)
    return np.sort(order[np.union1d(first, spread)])


def fast_distances(reference: Reference, rows: NDArray[Any]) -> Matrix:
    """Return the distances of directions N x d, where the last bits do not matter."""
    return _distances(rows, reference.rows, reference.axes, lambda one, other: one @ other.T)


def _exact(matrix: NDArray[Any]) -> Matrix:
    return np.ascontiguousarray(matrix, np.float64)


def _add(sums: Matrix, places: NDArray[np.int64], rows: NDArray[Any]) -> None:
    order = np.argsort(places, kind="stable")
    present, starts = np.unique(places[order], return_index=True)
    sums[present] += np.add.reduceat(rows[order], starts, axis=0)


def _distances(
    rows: NDArray[Any],
    known: NDArray[Any],
    axes: NDArray[Any] | None,
    product: Any = exact_product,
) -> Matrix:
    if rows.shape[1] != known.shape[1]:
        raise DataError(
            f"features have {rows.shape[1]} dimensions but the reference {known.shape[1]}"
        )
    if axes is None:
        cosines = np.asarray(product(rows, known).max(axis=1), np.float64)
        return np.clip(1 - cosines, 0.0, 2.0)
    squares = np.square(row_norms(rows))[:, None] + np.square(row_norms(known))
    squares = squares - 2 * product(rows, known)
    along, means = product(rows, axes), product(known, axes)
    for place, mean in enumerate(means):
        squares[:, place] -= np.square(row_norms(along - mean))
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0.0)), np.float64)


def _axes(within: NDArray[Any], spare: int, dimension: int) -> NDArray[Any]:
    """Return the axes W, R x d, for which |z|^2 - |W z|^2 is a distance in covariance units.

    The covariance has the largest few eigenvalues of *within* N x d, and one value for all other
    directions: Tipping and Bishop, "Probabilistic principal component analysis", Journal of
    the Royal Statistical Society B 61 (1999), 611-622. It is in units of that value. Eigenvectors
    by subspace iteration from a seeded start: Halko, Martinsson and Tropp, SIAM Review 53 (2011).
    """
    count = min(DIRECTIONS, spare // 10, within.shape[1] - 1)
    if count < 1:
        return np.empty((0, within.shape[1]), within.dtype)
    width = min(count + _SPARE, *within.shape)
    start = np.random.default_rng(0).normal(size=(within.shape[1], width)).astype(within.dtype)
    for _ in range(_STEPS):
        start = np.linalg.qr(within.T @ (within @ start))[0]
    inside = within @ start
    values, vectors = np.linalg.eigh(inside.T @ inside)
    values = np.maximum(values[::-1][:count].astype(np.float64), 0.0)
    rest = max(float(np.square(within, dtype=np.float64).sum() - values.sum()), 0.0)
    other = rest / max(1, dimension - count)
    kept = np.divide(other, values, out=np.ones(count), where=values > other)
    axes = (start @ vectors[:, ::-1][:, :count]).T * np.sqrt(1 - kept)[:, None]
    return np.asarray(axes, within.dtype)
