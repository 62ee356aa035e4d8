"""Near-duplicates: pairs with close hashes, each confirmed by its features.

Pairs are confirmed in batches of bounded memory, and a pair whose images are linked
already is not looked at again, so many copies of one picture cost no more than few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.data.lookalikes.perceptual_hashes import ClosePairs, close_pairs
from offshelf.jobs.audit.thresholds import Bounds

BATCH_VALUES = 2**23
_LEAST_NORM = 1e-12
ReadFeatures = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Links:
    """Confirmed pairs among n pictures.

    Attributes:
        n: the number of pictures.
        left: L positions, int64.
        right: L positions, int64.
        distance: L int64, bits in which the hashes differ.
        mirrored: L bool, whether one is the mirrored other.
        cosine: L float64, of the features.
    """

    n: int
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    cosine: NDArray[np.float64]

    def roots(self) -> NDArray[np.int64]:
        """Return a number for each picture; linked ones, also through others, share it."""
        return _roots(self.n, self.left, self.right)

    def components(self) -> list[NDArray[np.int64]]:
        """Return the positions of each set of two or more linked pictures, ascending."""
        roots = self.roots()
        order = np.argsort(roots, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def find_links(
    hashes: NDArray[np.uint64], read: ReadFeatures, dimension: int, bounds: Bounds
) -> Links:
    """Find the near-duplicates among n pictures.

    Args:
        hashes: n hashes of :func:`offshelf.data.lookalikes.perceptual_hashes.dct_hash`.
        read: returns the features of positions, float32, one row each.
        dimension: columns of those rows.
        bounds: the greatest distance and the least cosine.

    Returns:
        Enough confirmed pairs to link every group; not every pair within a large one.

    >>> features = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> hashes = np.array([0, 2, 0], np.uint64)
    >>> find_links(hashes, lambda at: features[at], 2, Bounds()).components()
    [array([0, 1])]
    """
    n = len(hashes)
    roots, found = np.arange(n), []
    most = max(64, BATCH_VALUES // max(1, dimension))
    for pairs in _batches(close_pairs(hashes, bounds.hash_distance), most):
        apart = pairs.part(np.flatnonzero(roots[pairs.left] != roots[pairs.right]))
        cosine = _cosines(read, apart)
        sure = np.flatnonzero(cosine >= bounds.cosine)
        if len(sure):
            found.append((apart.part(sure), cosine[sure]))
            ends = [(p.left, p.right) for p, _ in found]
            roots = _roots(n, *(np.concatenate(side) for side in zip(*ends, strict=True)))
    joined = ClosePairs.joined([pairs for pairs, _ in found])
    values = np.concatenate([np.empty(0), *(cosine for _, cosine in found)])
    return Links(n, joined.left, joined.right, joined.distance, joined.mirrored, values)


def _batches(tiles: Iterable[ClosePairs], most: int) -> Iterator[ClosePairs]:
    """Yield the same pairs, about *most* at a time."""
    waiting: list[ClosePairs] = []
    count = 0
    for tile in tiles:
        for start in range(0, len(tile), most):
            waiting.append(tile.part(slice(start, start + most)))
            count += len(waiting[-1])
            if count >= most:
                yield ClosePairs.joined(waiting)
                waiting, count = [], 0
    if waiting:
        yield ClosePairs.joined(waiting)


def _cosines(read: ReadFeatures, pairs: ClosePairs) -> NDArray[np.float64]:
    wanted, at = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    if not len(wanted):
        return np.empty(0)
    rows = read(wanted).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _LEAST_NORM)
    left, right = at[: len(pairs)], at[len(pairs) :]
    cosines: NDArray[np.float64] = (rows[left] * rows[right]).sum(axis=1, dtype=np.float64)
    return np.clip(cosines, -1.0, 1.0)


def _roots(n: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    roots: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return roots.astype(np.int64)
