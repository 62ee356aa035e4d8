"""Linear discriminant analysis with shrinkage, with leave-one-out errors in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.class_balance import row_weights
from offshelf.heads.kinds.fitter import CrossFit, Learned
from offshelf.heads.kinds.linear import LinearHead, fewest_errors, halved, linear_arrays
from offshelf.heads.numerics.centred import Array
from offshelf.heads.numerics.regularised import Parts, Shifted, Solvable, decompose_shifted
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import Options

# Below it rounding is larger than what the rows' own directions contribute.
_MIN_C = 1e-12


class Lda(LinearHead):
    """Normal densities of one shared covariance, shrunk towards a multiple of the identity.

    The covariance is ``(1 - s) * S + s * trace(S) / D * I`` with S the pooled covariance
    within classes: Friedman, "Regularized discriminant analysis", JASA 84 (1989), 165-175, and
    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88 (2004), 365-411. C sets the shrinkage
    ``s = 1 / (1 + C)``, so that, as everywhere, a small C regularises more. Scores are those
    of scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)`` up to one
    constant for each row, so a softmax of them is the posterior. ``auto`` takes the C with
    the fewest errors in leaving out each row. Balanced classes have equal priors and count the
    same in the covariance, as with scikit-learn's ``priors``.
    """

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K."""
        weights = row_weights(targets, n_classes, options.class_weight)
        scatter = Scatter.of(rows, targets, weights)
        cs, errors = fewest_errors(scatter.left_out_errors, options.c)
        c = cs[int(np.argmin(errors))]
        weight, bias = scatter.solve(c)
        weight, bias = halved(weight, bias)
        parameters: dict[str, Any] = {
            "C": c,
            "shrinkage": 1 / (1 + c),
            "left_out_error": min(errors),
        }
        if options.c == "auto":
            parameters |= {"C_grid": list(cs), "left_out_errors": errors}
        return Learned(linear_arrays(weight, bias), parameters)

    def cross_fit(self, task: CrossFit) -> Array:
        """Return the scores of rows that are held out, from one matrix of inner products."""
        parts = Parts(task.rows)

        def solve(kept: NDArray[np.intp]) -> tuple[Array, Array]:
            targets, weights = task.targets[kept], task.weights(kept)
            part = parts.decompose(kept, targets, weights)
            return halved(*Spread(part, targets, weights).solve(task.c))

        return task.linear(solve)


@dataclass(frozen=True, eq=False)
class Spread:
    """The rows' spread around the means of their classes.

    Attributes:
        shifted: of the rows, centred by class.
        targets: N class indices.
        weights: N, of the rows, for balanced classes; None for 1.
    """

    shifted: Solvable
    targets: NDArray[np.int64]
    weights: Array | None = None

    @cached_property
    def mean(self) -> Array:
        """D, of all rows."""
        mean: Array = np.bincount(self.targets) / len(self.targets) @ self.shifted.centred.means
        return mean

    @property
    def means(self) -> Array:
        """The means of the classes around that of all rows, K x D."""
        means: Array = self.shifted.centred.means - self.mean
        return means

    @property
    def counts(self) -> NDArray[np.intp]:
        """Number of rows of each class."""
        return np.bincount(self.targets)

    def ridge(self, c: float) -> float:
        """Return t, such that the shrunk covariance is (1 - s) / n times scatter + t * I."""
        spread = self.shifted.total
        # Without any spread within classes all directions count the same; the spread of their
        # means is of the same scale as the rows.
        spread = spread or float(np.square(self.means).sum()) or 1.0
        return spread / len(self.mean) / max(c, _MIN_C)

    def solve(self, c: float) -> tuple[Array, Array]:
        """Return weights K x D and biases K."""
        n, means = len(self.targets), self.means
        weight = n * _over_kept(c) * self.shifted.solve(means, self.ridge(c))
        priors = np.bincount(self.targets, self.weights) / n
        bias = np.log(priors) - np.einsum("kd,kd->k", weight, means) / 2
        return weight, bias - weight @ self.mean


@dataclass(frozen=True, eq=False)
class Scatter(Spread):
    """The spread, decomposed for any C."""

    shifted: Shifted

    @classmethod
    def of(
        cls, rows: ScaledRows, targets: NDArray[np.int64], weights: Array | None = None
    ) -> Scatter:
        """Decompose *rows* N x D within their classes."""
        return cls(decompose_shifted(rows, targets, weights), targets, weights)

    def left_out_errors(self, cs: Sequence[float]) -> list[float]:
        """Return the shares of rows that are labelled wrongly when they are left out.

        Leaving out a row moves its class's mean and takes one term from the scatter, which
        the formula of Sherman and Morrison follows exactly; only t is kept as it is.
        """
        ts, means, n = [self.ridge(c) for c in cs], self.means, len(self.targets)
        between = self.shifted.products(means, ts)
        wrong = np.zeros(len(ts), dtype=np.int64)
        for place, rows, across, left in self.shifted.scores(means, ts):
            squares = self._squares(rows, across, left, between[place])
            wrong[place] += self._wrong(rows, squares * ((n - 1) * _over_kept(cs[place]) / 2))
        return [int(count) / n for count in wrong]

    def _squares(self, rows: slice, across: Array, left: Array, between: Array) -> Array:
        """Return squared distances of n rows to the means, n x K, each row left out of all.

        By the inverse of the scatter, *across* n x K has products of rows and means, *between*
        K x K those of the means; *left*, n, is what a regression leaves of the rows.
        """
        own = self.targets[rows]
        weights = np.ones(len(own)) if self.weights is None else self.weights[rows]
        each, count = np.arange(len(own)), self.counts[own]
        # Squared lengths by the inverse: of rows around their mean, and to the other means.
        length = (1 - 1 / count - left) / weights
        across = across / np.sqrt(weights)[:, None]
        across = length[:, None] + across[each, own][:, None] - across
        apart = between.diagonal()[own][:, None] + between.diagonal() - 2 * between[own]
        squares: Array = 2 * across - length[:, None] + apart
        grown = count / np.maximum(count - 1, 1)
        kept = grown * left
        squares += (weights * grown / kept)[:, None] * across**2
        squares[each, own] = grown**2 * length / kept
        return squares

    def _wrong(self, rows: slice, distances: Array) -> int:
        own = self.targets[rows]
        scores = self._left_priors(own) - distances
        # The only row of a class cannot be known without it.
        alone = self.counts[own] == 1
        scores[alone, own[alone]] = -np.inf
        return int(np.count_nonzero(scores.argmax(axis=1) != own))

    def _left_priors(self, own: NDArray[np.int64]) -> Array | float:
        """Return the logarithms of the priors when a row of *own* is left out, n x K."""
        if self.weights is not None:
            # Balanced classes have equal priors, however many rows are left.
            return 0.0
        left = np.maximum(self.counts - (np.arange(len(self.counts)) == own[:, None]), 1)
        logs: Array = np.log(left)
        return logs


def _over_kept(c: float) -> float:
    """Return ``1 / (1 - s)``."""
    return 1 + 1 / max(c, _MIN_C)
