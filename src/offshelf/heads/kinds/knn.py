"""The nearest training rows vote, each by the inverse of its distance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.class_balance import class_weights
from offshelf.heads.head import FittedHead, frozen
from offshelf.heads.kinds.fitter import CrossFit, Learned
from offshelf.heads.numerics.reproducible import exact_product, row_norms
from offshelf.heads.numerics.row_scaling import ScaledRows, blocks
from offshelf.heads.options import Options

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

    uses_c: ClassVar[bool] = False
    searches_c: ClassVar[bool] = False
    one_vs_rest: ClassVar[bool] = False

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Keep ``weight`` N x D, the rows, ``targets`` N, ``votes`` K and ``k``, one number."""
        n = rows.shape[0]
        self._check(n)
        votes = class_weights(targets, n_classes, options.class_weight)
        k, record = self.size, dict[str, Any]()
        if not k:
            sizes = [size for size in SIZES if size < n]
            wrong, total = np.zeros(len(sizes)), votes[targets].sum()
            for part, away, nearest in _others(rows, max(sizes)):
                wrong += _wrong(away, targets[nearest], targets[part], votes, sizes)
            errors = [float(one / total) for one in wrong]
            k = sizes[int(np.argmin(errors))]
            record = {"k_grid": sizes, "left_out_errors": errors, "left_out_error": min(errors)}
        arrays = {
            "weight": frozen(rows.take(slice(None))),
            "targets": frozen(targets),
            "votes": frozen(votes),
            "k": frozen([k]),
        }
        return Learned(arrays, {"k": k, "metric": "euclidean", "votes": "distance", **record})

    def cross_fit(self, task: CrossFit) -> Array:
        """Return the scores of rows that are held out; a number to choose is, for each fold."""
        rows = task.rows.take(slice(None)).astype(np.float32).astype(np.float64)
        candidates = _Candidates.of(rows, task.fold, self.size or max(SIZES))
        scores = np.zeros((len(rows), task.n_classes))
        for part, (held, kept) in enumerate(task.splits()):
            self._check(len(kept))
            votes = class_weights(task.targets[kept], task.n_classes, task.options.class_weight)
            k = self.size or candidates.size(part, kept, task.targets, votes)
            nearest = candidates.without(part, held, k)[1]
            labels = task.targets[nearest]
            scores[held] = _shares(_distances(rows[held], rows, nearest), labels, votes)
        return scores

    def _check(self, n: int) -> None:
        if self.size > n:
            raise HeadError(f"head 'knn:{self.size}' needs {self.size} training rows, got {n}")

    def decide(self, head: FittedHead, rows: Array) -> Array:
        """Return shares of votes, N x K."""
        known, targets = head.arrays["weight"], head.arrays["targets"].astype(np.intp)
        # Rounded as the known rows are, so that a row meets itself at distance 0.
        rows = rows.astype(np.float32).astype(np.float64)
        kept = known.astype(np.float64)
        squares = np.square(row_norms(kept)) - 2 * exact_product(rows, kept)
        nearest = _smallest(squares, int(head.arrays["k"][0]))
        distances = _distances(rows, known, nearest)
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
    """Return shares of votes n x K, from distances n x k and targets n x k."""
    nearest = distances.min(axis=1, keepdims=True)
    # In units of the nearest, so that no inverse overflows; rows at distance 0 decide alone.
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(nearest > 0, nearest / distances, distances == 0)
    total = np.zeros((len(distances), len(votes)))
    for place, column in enumerate(targets.T):
        total[np.arange(len(total)), column] += weights[:, place] * votes[column]
    shares: Array = total / total.sum(axis=1, keepdims=True)
    return shares


def _distances(rows: Array, known: NDArray[Any], nearest: Places) -> Array:
    """Return the distances of rows n x D to the known rows at places n x k."""
    distances = np.empty(nearest.shape)
    for place, column in enumerate(nearest.T):
        distances[:, place] = row_norms(rows - known[column])
    return distances


def _wrong(
    distances: Array, labels: Places, own: NDArray[np.int64], votes: Array, sizes: list[int]
) -> Array:
    """Return for each k the rows, by class weight, that their nearest others label wrongly.

    Distances to others of each row and their classes are n x m, in any order; *own* has the n
    true classes.
    """
    order = np.argsort(distances, axis=1, kind="stable")
    distances, labels = _by(distances, order), _by(labels, order)
    guesses = [_shares(distances[:, :k], labels[:, :k], votes).argmax(axis=1) for k in sizes]
    return np.array([votes[own] @ (each != own) for each in guesses])


def _by(values: Any, order: Places) -> Any:
    """Return the values n x m of each row in its own order."""
    return np.take_along_axis(values, order, axis=1)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The nearest others of each row in every fold, so that any fold may be left out.

    Attributes:
        distances: N x m, rising; infinite for the row itself.
        places: N x m, the row that each belongs to.
        fold: N, of every row.
    """

    distances: Array
    places: Places
    fold: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Array, fold: NDArray[np.int64], k: int) -> _Candidates:
        """Find the k nearest in each fold for *rows* N x D, or all that are there."""
        groups = [np.flatnonzero(fold == part) for part in np.unique(fold)]
        squares, found = np.square(row_norms(rows)), []
        for part in blocks(len(rows), max(rows.shape), _PART_VALUES):
            near = squares[part, None] + squares - 2 * exact_product(rows[part], rows)
            near = np.sqrt(np.maximum(near, 0))
            near[np.arange(len(near)), np.arange(part.start, part.stop)] = np.inf
            places = np.hstack(
                [group[_smallest(near[:, group], min(k, len(group)))] for group in groups]
            )
            distances = np.take_along_axis(near, places, axis=1)
            order = np.lexsort((places, distances), axis=1)
            found.append((_by(distances, order), _by(places, order)))
        distances, places = (np.concatenate(each) for each in zip(*found, strict=True))
        return cls(distances, places, fold)

    def without(self, part: int, rows: Places, k: int) -> tuple[Array, Places]:
        """Return distances and places of the k nearest, n x k, of *rows* outside a fold."""
        barred = self.fold[self.places[rows]] == part
        barred |= np.isinf(self.distances[rows])
        order = np.argsort(barred, axis=1, kind="stable")[:, :k]
        return _by(self.distances[rows], order), _by(self.places[rows], order)

    def size(self, part: int, kept: Places, targets: NDArray[np.int64], votes: Array) -> int:
        """Return the k with the fewest errors in leaving out each row that a fold keeps."""
        sizes = [size for size in SIZES if size < len(kept)]
        distances, places = self.without(part, kept, max(sizes))
        wrong = _wrong(distances, targets[places], targets[kept], votes, sizes)
        return sizes[int(np.argmin(wrong))]


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
