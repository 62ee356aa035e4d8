"""The interface of a kind of head: learn, score rows that are held out, decide.

A head that is trained on the other folds sees the same rows but for a few: it shares their
inner products, and the head on all of them is a good place to start. Each kind of head finds
the same minimum as by training from nothing, within its own tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import fold_splits, row_weights
from offshelf.heads.head import FittedHead
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import Options

Array = NDArray[np.float64]
Places = NDArray[np.intp]
# Weights P x D and biases P of a head that is trained on the rows at these places.
Solve = Callable[[Places], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class Learned:
    """What one kind of head learned; the fields are those of :class:`FittedHead`."""

    arrays: Mapping[str, NDArray[np.float32]]
    parameters: Mapping[str, Any]
    notes: tuple[str, ...] = ()


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

    def splits(self) -> list[tuple[Places, Places]]:
        """Return for each fold its rows, and the rows that its head is trained on."""
        return fold_splits(self.fold)

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


class Fitter(Protocol):
    """One kind of head, on plain arrays. Rows come finite, those to score scaled and float64.

    Attributes:
        uses_c: whether C changes what is learned.
        searches_c: whether ``auto`` chooses it by cross-validation.
        one_vs_rest: whether each class is separated from all others on its own, so that a score
            below 0 means no.
    """

    uses_c: ClassVar[bool]
    searches_c: ClassVar[bool]
    one_vs_rest: ClassVar[bool]

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn from rows N x D; targets N, each of 0 .. n_classes - 1 at least once."""

    def cross_fit(self, task: CrossFit) -> NDArray[np.float64] | None:
        """Return the scores N x K of held-out rows; None where heads have to be trained anew."""

    def decide(self, head: FittedHead, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores N x K. A row's scores must not depend on the rows beside it."""

    def problem(self, arrays: Mapping[str, NDArray[np.float32]], n_classes: int) -> str:
        """Say what is wrong with the names or shapes of *arrays*, or "" when nothing is."""


def mirrored(scores: Array) -> Array:
    """Return the scores of two classes, N x 2, from those of the second, N x 1."""
    return np.hstack([-scores, scores])
