"""Out-of-distribution images: which measure tells them, and how far known images lie.

All of it is learned from training images that are left out in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.class_balance import ALONE, fold_splits, in_row_order
from offshelf.heads.group_folds import Groups, held_out_folds
from offshelf.heads.numerics.row_scaling import blocks
from offshelf.heads.options import FOLDS
from offshelf.heads.probabilities.distances import (
    DISTANCES,
    NEIGHBOUR_VALUES,
    Distance,
    Reference,
    directions,
    fast_distances,
    fit_reference,
    sampled,
)
from offshelf.heads.probabilities.rejection import Measure, Threshold, fit_threshold
from offshelf.heads.probabilities.score_calibration import fit_temperature

# Share of the training images that may lie farther than what is called like them.
RATE = 0.01
# Below this many images nothing can be said.
FEWEST = 10
_MOST_ROWS, _MOST_VALUES = 4096, 2**23
# Enough to choose a measure by.
_CHOICE_ROWS = 400
# Folds times rows: few rows are left out in more folds, as each of them is missed more.
_FOLD_ROWS, _MOST_FOLDS = 8000, 60
# Scores N x K' of rows by a head that is trained on other rows, of K' of the classes.
Retrained = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]
Values = NDArray[np.float64]
Name = TypeVar("Name", bound=Measure)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Directions of training images, for distances of some to the others.

    Attributes:
        rows: n x d float32, with d at most the number of images or that of the features.
        targets: n class indices.
        fold: n, the fold that holds each out; -1 for a class of one image.
        dimension: of the features.
        taken: n, which of the training images these are.
        original: n x D float32 directions.
        groups: n, rows that are left out together; None where rows are independent.
    """

    rows: NDArray[np.float32]
    targets: NDArray[np.int64]
    fold: NDArray[np.int64]
    dimension: int
    taken: NDArray[np.intp]
    original: NDArray[np.float32]
    groups: Groups | None = None

    @property
    def n(self) -> int:
        """Images that can be held out."""
        return int((self.fold != ALONE).sum())

    def held_out(self, measure: Distance) -> Values:
        """Return the distance of each row that can be held out to rows without it.

        For the nearest neighbour it alone or its group is left out, for the others its fold.
        """
        if measure == "neighbour_distance":
            return self._neighbours_left_out()
        parts = []
        for held, kept in fold_splits(self.fold):
            reference = self._reference(measure, kept)
            parts.append((held, fast_distances(reference, self.rows[held])))
        return in_row_order(parts)

    def reference(self, measure: Distance) -> Reference:
        """Return what new images are measured to, as it is kept in a file."""
        found = fit_reference(measure, self.original, self.targets)
        if measure == "centroid_distance":
            return found
        axes = None if found.axes is None else found.axes.astype(np.float16)
        return Reference(measure, found.rows.astype(np.float16), axes)

    def auroc(self, measure: Distance) -> float | None:
        """Return how well a measure tells classes that are held out from known images.

        The mean over up to five groups of classes of the area under the ROC curve: the images
        of the group are strange, those of a fold of the other classes known; neither are seen.
        Of many images a sample is taken.
        """
        found, some = [], sampled(self.targets, _CHOICE_ROWS)
        groups = None if self.groups is None else self.groups[some]
        for parts in held_out_classes(self.targets[some], groups):
            kept, known, strange = (some[part] for part in parts)
            reference = self._reference(measure, kept)
            near, far = (fast_distances(reference, self.rows[part]) for part in (known, strange))
            found.append(area(near, far))
        return float(np.mean(found)) if found else None

    def _neighbours_left_out(self) -> Values:
        places = sampled(self.targets, NEIGHBOUR_VALUES // self.dimension)
        cosines = self.rows @ self.rows[places].T
        if self.groups is None:
            cosines[places, np.arange(len(places))] = -np.inf
        else:
            cosines[self.groups[:, None] == self.groups[places]] = -np.inf
        distances = np.clip(1 - cosines.max(axis=1).astype(np.float64), 0.0, 2.0)
        return np.asarray(distances[self.fold != ALONE])

    def _reference(self, measure: Distance, kept: NDArray[np.intp]) -> Reference:
        own = self.targets[kept]
        return fit_reference(measure, self.rows[kept], own, dimension=self.dimension)


def surroundings(
    features: NDArray[Any],
    targets: NDArray[np.int64],
    *,
    seed: int = 0,
    groups: Groups | None = None,
) -> Surroundings:
    """Return the training images, N x D and N, ready for distances; of many a sample.

    >>> draw = np.random.default_rng(0)
    >>> found = surroundings(draw.normal(size=(40, 5)), np.arange(40) % 2)
    >>> found.held_out("neighbour_distance").shape, found.n
    ((40,), 40)
    """
    dimension = features.shape[1]
    taken = sampled(targets, min(_MOST_ROWS, max(200, _MOST_VALUES // dimension)))
    rows = np.empty((len(taken), dimension), np.float32)
    for part in blocks(*rows.shape):
        rows[part] = directions("features", features[taken[part]])
    turned = rows
    if 2 * len(rows) <= dimension:
        # The same inner products in as many dimensions as there are rows; the addition keeps
        # equal rows from making them singular.
        wide = rows.astype(np.float64)
        products = wide @ wide.T + 1e-9 * np.eye(len(rows))
        turned = np.linalg.cholesky(products).astype(np.float32)
    folds = int(np.clip(_FOLD_ROWS // len(taken), FOLDS, _MOST_FOLDS))
    own = None if groups is None else groups[taken]
    fold = held_out_folds(targets[taken], seed=seed, folds=folds, groups=own)
    return Surroundings(turned, targets[taken], fold, dimension, taken, rows, own)


def held_out_classes(
    targets: NDArray[np.int64], groups: Groups | None = None
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Yield rows to train on, known rows and strange rows, for each part of the classes held out.

    >>> [part.tolist() for part in next(held_out_classes(np.array([0, 1, 0, 1, 0, 1])))]
    [[3, 5], [1], [0, 2, 4]]
    """
    parts = min(FOLDS, int(targets.max()) + 1)
    fold = held_out_folds(targets, groups=groups)
    folds = int(fold.max()) + 1
    for part in range(parts if folds else 0):
        strange = targets % parts == part
        known = ~strange & (fold == part % folds)
        kept = ~strange & ~known
        if groups is not None:
            # Of groups with images of several classes, those that no kept image is of.
            strange &= ~np.isin(groups, groups[kept])
        if known.any() and kept.any() and strange.any():
            yield np.flatnonzero(kept), np.flatnonzero(known), np.flatnonzero(strange)


def confidence_auroc(
    retrained: Retrained, targets: NDArray[np.int64], groups: Groups | None = None
) -> float | None:
    """Return the same figure for the largest probability; None where it cannot be had.

    A head is trained anew without each group of classes; with a single class left there is none.
    """
    found = []
    for kept, known, strange in held_out_classes(targets, groups):
        present = np.unique(targets[kept])
        if len(present) < 2:
            return None
        try:
            scores = retrained(kept, np.concatenate([known, strange]))
        except HeadError:
            # A head that needs more rows than are left, as knn:20, cannot be judged in this way.
            return None
        own = np.searchsorted(present, targets[known])
        temperature = fit_temperature(scores[: len(known)], own)
        sure = temperature.probabilities(scores).max(axis=1)
        found.append(area(-sure[: len(known)], -sure[len(known) :]))
    return float(np.mean(found)) if found else None


def area(known: Values, strange: Values) -> float:
    """Return the share of pairs in which the strange value is the larger; equal ones are half.

    >>> area(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    0.875
    """
    ordered = np.sort(known)
    below = np.searchsorted(ordered, strange, "left") + np.searchsorted(ordered, strange, "right")
    return float(below.mean() / (2 * len(known)))


def separations(
    around: Surroundings,
    retrained: Retrained | None,
    targets: NDArray[np.int64],
    groups: Groups | None = None,
) -> dict[Measure, float]:
    """Return the AUROC of each measure that there is one for, by name."""
    sure = None if retrained is None else confidence_auroc(retrained, targets, groups)
    every: dict[Measure, float | None] = {"confidence": sure}
    every |= {measure: around.auroc(measure) for measure in DISTANCES}
    return {name: value for name, value in every.items() if value is not None}


def best_measure(found: Mapping[Measure, float], among: tuple[Name, ...]) -> Name:
    """Return the measure of the largest AUROC, of equals the first.

    >>> best_measure({"confidence": 0.9, "neighbour_distance": 0.7}, DISTANCES)
    'neighbour_distance'
    """
    return max(among, key=lambda name: found.get(name, -1.0))


def unlike_threshold(values: Values, measure: Distance) -> Threshold:
    """Return the distance beyond which an image is unlike the training images.

    One in a hundred training images lies beyond it; of fewer than 99, none.
    """
    n = len(values)
    return fit_threshold(values, max(RATE, 1 / (n + 1)), measure=measure)
