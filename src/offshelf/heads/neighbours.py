"""The nearest training rows vote, each by the inverse of its distance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.balance import class_weights
from offshelf.heads.exact import exact_product, row_norms
from offshelf.heads.head import FittedHead, Learned, Options, freeze
from offshelf.heads.scaling import ScaledRows, blocks

# What the number of neighbours is chosen from.
SIZES = tuple(range(1, 22, 2))
_PART_VALUES = 2**23

Array = NDArray[np.float64]
Places = NDArray[np.intp]


class Neighbours:
    """k nearest neighbours in Euclidean distance, votes weighted by the inverse distance.

    What scikit-learn's ``KNeighborsClassifier(k, weights="distance")`` does: Dudani, "The
    distance-weighted k-nearest-neighbor rule", IEEE Transactions on Systems, Man and
    Cybernetics 6 (1976), 325-327. On rows of norm 1 the nearest are those of the largest
    cosine. Scores are shares of the votes. Without a number, k is the one of 1, 3, ... 21
    with the fewest errors in leaving out each row, of equals the smallest. Balanced classes
    have votes over the number of their rows. C is not used.

    Args:
        size: k, or 0 to choose it.
    """

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Keep ``weight`` N x D, the rows, ``targets`` N, ``votes`` K and ``k``, one number."""
        n = rows.shape[0]
        if self.size > n:
            raise HeadError(f"head 'knn:{self.size}' needs {self.size} training rows, got {n}")
        votes = class_weights(targets, n_classes, options.class_weight)
        k, record = self.size, dict[str, Any]()
        if not k:
            sizes = [size for size in SIZES if size < n]
            errors = _left_out_errors(rows, targets, votes, sizes)
            k = sizes[int(np.argmin(errors))]
            record = {"k_grid": sizes, "left_out_errors": errors, "left_out_error": min(errors)}
        arrays = {
            "weight": freeze(np.ascontiguousarray(rows.take(slice(None)), dtype=np.float32)),
            "targets": freeze(targets.astype(np.float32)),
            "votes": freeze(votes.astype(np.float32)),
            "k": freeze(np.array([k], dtype=np.float32)),
        }
        return Learned(arrays, {"k": k, "metric": "euclidean", "votes": "distance", **record})

    def decide(self, head: FittedHead, rows: Array) -> Array:
        """Return shares of votes, N x K."""
        known, targets = head.arrays["weight"], head.arrays["targets"].astype(np.intp)
        # Rounded as the known rows are, so that a row meets itself at distance 0.
        rows = rows.astype(np.float32).astype(np.float64)
        kept = known.astype(np.float64)
        squares = np.square(row_norms(kept)) - 2 * exact_product(rows, kept)
        nearest = _smallest(squares, int(head.arrays["k"][0]))
        distances = np.empty(nearest.shape)
        for place, column in enumerate(nearest.T):
            distances[:, place] = row_norms(rows - known[column])
        return _shares(distances, targets[nearest], head.arrays["votes"].astype(np.float64))

    def problem(self, arrays: Mapping[str, NDArray[np.float32]], n_classes: int) -> str:
        """Say which array is missing, unknown or misshapen, or "" when none is."""
        names = ["k", "targets", "votes", "weight"]
        if sorted(arrays) != names:
            return f"holds the arrays {sorted(arrays)} instead of {names}"
        weight, targets, votes = (arrays[name] for name in ("weight", "targets", "votes"))
        if weight.ndim != 2 or 0 in weight.shape or targets.shape != weight.shape[:1]:
            return f"has neighbours of shape {weight.shape} and targets of shape {targets.shape}"
        if not np.isin(targets, np.arange(n_classes)).all():
            return f"has targets that are none of its {n_classes} classes"
        if votes.shape != (n_classes,) or (votes <= 0).any():
            return f"has votes of shape {votes.shape}, or not above 0, for {n_classes} classes"
        k = arrays["k"]
        if k.shape != (1,) or k[0] not in range(1, len(weight) + 1):
            return f"has k = {k.tolist()} for {len(weight)} neighbours"
        return ""


def _smallest(values: Array, k: int) -> Places:
    """Return the places of the k smallest values of each row, of equals the first."""
    edge = np.partition(values, k - 1, axis=1)[:, k - 1 : k]
    # All below the edge, then as many on it as are missing.
    below, on = values < edge, values == edge
    missing = k - below.sum(axis=1, keepdims=True)
    chosen = below | (on & (np.cumsum(on, axis=1) <= missing))
    return np.nonzero(chosen)[1].reshape(len(values), k)


def _shares(distances: Array, targets: Places, votes: Array) -> Array:
    """Return shares of votes n x K, from distances n x k and targets n x k.

    >>> _shares(np.array([[1.0, 3.0], [0.0, 2.0]]), np.array([[0, 1], [1, 0]]), np.ones(2))
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    nearest = distances.min(axis=1, keepdims=True)
    # In units of the nearest, so that no inverse overflows; rows at distance 0 decide alone.
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(nearest > 0, nearest / distances, distances == 0)
    total = np.zeros((len(distances), len(votes)))
    for place, column in enumerate(targets.T):
        total[np.arange(len(total)), column] += weights[:, place] * votes[column]
    shares: Array = total / total.sum(axis=1, keepdims=True)
    return shares


def _left_out_errors(
    rows: ScaledRows, targets: NDArray[np.int64], votes: Array, sizes: list[int]
) -> list[float]:
    """Return for each k the share of rows, by class weight, that the others label wrongly."""
    wrong, weights = np.zeros(len(sizes)), votes[targets]
    for part, away, nearest in _others(rows, max(sizes)):
        order = np.argsort(away, axis=1, kind="stable")
        distances = np.take_along_axis(away, order, axis=1)
        labels = targets[np.take_along_axis(nearest, order, axis=1)]
        for place, k in enumerate(sizes):
            guesses = _shares(distances[:, :k], labels[:, :k], votes).argmax(axis=1)
            wrong[place] += weights[part] @ (guesses != targets[part])
    return [float(one / weights.sum()) for one in wrong]


def _others(rows: ScaledRows, k: int) -> Iterator[tuple[slice, Array, Places]]:
    """Yield some rows at a time with the distances and places of their k nearest others."""
    n, dimension = rows.shape
    parts = list(blocks(n, max(n, dimension), _PART_VALUES))
    squares = np.concatenate([np.square(row_norms(rows.take(part))) for part in parts])
    for part in parts:
        products = rows.scores(rows.take(part))
        near = np.maximum(squares[part, None] + squares - 2 * products, 0)
        near[np.arange(len(near)), np.arange(part.start, part.stop)] = np.inf
        nearest = _smallest(near, k)
        yield part, np.sqrt(np.take_along_axis(near, nearest, axis=1)), nearest
