"""Scores of rows that are held out, from what a head on all rows already knows.

A head that is trained on the other folds sees the same rows but for a few: it shares their
inner products, and the head on all of them is a good place to start. Each kind of head finds
the same minimum as by training from nothing, within its own tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import row_weights
from offshelf.heads.head import Options
from offshelf.heads.numerics.row_scaling import ScaledRows

Array = NDArray[np.float64]
Places = NDArray[np.intp]
# Weights P x D and biases P of a head that is trained on the rows at these places.
Solve = Callable[[Places], tuple[Array, Array]]


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossFit:
    """Rows, and the fold without which each is to be scored.

    Attributes:
        rows: N x d, prepared in a way that is the same for any of them.
        targets: N class indices.
        n_classes: K.
        options: those of the head on all rows, with the C that was chosen there.
        fold: N, the fold that holds a row out; -1 for a row that is in all heads.
        arrays: what the head on all rows learned.
    """

    rows: ScaledRows
    targets: NDArray[np.int64]
    n_classes: int
    options: Options
    fold: NDArray[np.int64]
    arrays: Mapping[str, NDArray[np.float32]]

    @property
    def c(self) -> float:
        """C, which is never to be chosen again; 1 where a head has none."""
        return 1.0 if self.options.c == "auto" else self.options.c

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max()) + 1

    def splits(self) -> Iterator[tuple[Places, Places]]:
        """Yield for each fold its rows, and the rows that its head is trained on."""
        for part in range(self.folds):
            yield np.flatnonzero(self.fold == part), np.flatnonzero(self.fold != part)

    def weights(self, kept: Places) -> Array | None:
        """Return the weights of the rows at *kept*, or None where all weigh the same."""
        return row_weights(self.targets[kept], self.n_classes, self.options.class_weight)

    def linear(self, solve: Solve) -> Array:
        """Return the scores of all rows that are held out, by heads that *solve* trains."""
        scores = np.zeros((len(self.fold), self.n_classes))
        for held, kept in self.splits():
            weight, bias = solve(kept)
            own = self.rows.of(held).scores(weight).T + bias
            scores[held] = mirrored(own) if len(weight) == 1 else own
        return scores


def mirrored(scores: Array) -> Array:
    """Return the scores of two classes, N x 2, from those of the second, N x 1.

    >>> mirrored(np.array([[2.0]]))
    array([[-2.,  2.]])
    """
    return np.hstack([-scores, scores])
