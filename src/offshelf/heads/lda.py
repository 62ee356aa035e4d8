"""Linear discriminant analysis with shrinkage, with leave-one-out errors in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.balance import row_weights
from offshelf.heads.head import Learned, Options
from offshelf.heads.linear import LinearHead, halved, linear_arrays
from offshelf.heads.scaling import ScaledRows, blocks
from offshelf.heads.search import GRID
from offshelf.heads.spectrum import Array, Spectrum, decompose


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
        cs = GRID if options.c == "auto" else (options.c,)
        errors = [scatter.left_out_error(1 / (1 + c)) for c in cs]
        c = cs[int(np.argmin(errors))]
        weight, bias = scatter.solve(1 / (1 + c))
        weight, bias = halved(weight, bias)
        parameters: dict[str, Any] = {
            "C": c,
            "shrinkage": 1 / (1 + c),
            "left_out_error": min(errors),
        }
        if options.c == "auto":
            parameters |= {"C_grid": list(cs), "left_out_errors": errors}
        return Learned(linear_arrays(weight, bias), parameters)


@dataclass(frozen=True, eq=False)
class Scatter:
    """The rows' spread around the means of their classes.

    Attributes:
        spectrum: of the rows, centred by class.
        targets: N class indices.
        mean: D, of all rows.
        inside: K x r, the class means around *mean*, along the directions of the spread.
        products: K x K, inner products of the class means around *mean*.
        weights: N, of the rows; of mean 1.
    """

    spectrum: Spectrum
    targets: NDArray[np.int64]
    mean: Array
    inside: Array
    products: Array
    weights: Array

    @classmethod
    def of(
        cls, rows: ScaledRows, targets: NDArray[np.int64], weights: Array | None = None
    ) -> Scatter:
        """Decompose *rows* N x D within their classes."""
        spectrum = decompose(rows, targets, weights)
        weights = np.ones(len(targets)) if weights is None else weights
        mean = np.bincount(targets) / len(targets) @ spectrum.means
        means = spectrum.means - mean
        inside = spectrum.along(means)
        return cls(spectrum, targets, mean, inside, means @ means.T, weights)

    @property
    def counts(self) -> NDArray[np.intp]:
        """Number of rows of each class."""
        return np.bincount(self.targets)

    def ridge(self, shrinkage: float) -> float:
        """Return t, such that the shrunk covariance is (1 - s) / n times scatter + t * I."""
        total = float(self.spectrum.spread.sum())
        dimension = self.spectrum.means.shape[1]
        # Without any spread within classes all directions count the same.
        return shrinkage / (1 - shrinkage) * (total / dimension if total > 0 else 1.0)

    def solve(self, shrinkage: float) -> tuple[Array, Array]:
        """Return weights K x D and biases K."""
        t, n = self.ridge(shrinkage), len(self.targets)
        means = self.spectrum.means - self.mean
        within = self.spectrum.combine(self.inside * _correction(self.spectrum, t))
        weight = n / (1 - shrinkage) * (within + means / t)
        priors = np.bincount(self.targets, self.weights) / n
        bias = np.log(priors) - np.einsum("kd,kd->k", weight, means) / 2
        return weight, bias - weight @ self.mean

    def left_out_error(self, shrinkage: float) -> float:
        """Return the share of rows that are labelled wrongly when they are left out.

        Leaving out a row moves its class's mean and takes one term from the scatter, which
        the formula of Sherman and Morrison follows exactly; only t is kept as it is.
        """
        t = self.ridge(shrinkage)
        parts = blocks(len(self.targets), len(self.spectrum.spread) + 1)
        wrong = sum(self._wrong(part, shrinkage, t) for part in parts)
        return wrong / len(self.targets)

    def _wrong(self, part: slice, shrinkage: float, t: float) -> int:
        own, n = self.targets[part], len(self.targets)
        each, weights = np.arange(len(own)), self.weights[part]
        coordinates = self.spectrum.coordinates(part) / np.sqrt(weights)[:, None]
        weighted = coordinates / (self.spectrum.spread + t)
        between = self.products / t + self.inside * _correction(self.spectrum, t) @ self.inside.T
        # Squared lengths by the inverse: of rows around their mean, and to the other means.
        length = np.einsum("ir,ir->i", coordinates, weighted)
        across = weighted @ self.inside.T
        across = length[:, None] + across[each, own][:, None] - across
        apart = between.diagonal()[own][:, None] + between.diagonal() - 2 * between[own]
        squares = 2 * across - length[:, None] + apart
        count = self.counts[own]
        grown = count / np.maximum(count - 1, 1)
        kept = 1 - weights * grown * length
        squares += (weights * grown / kept)[:, None] * across**2
        squares[each, own] = grown**2 * length / kept
        scores = self._left_priors(own) - squares * (n - 1) / (2 * (1 - shrinkage))
        # The only row of a class cannot be known without it.
        scores[count == 1, own[count == 1]] = -np.inf
        return int(np.count_nonzero(scores.argmax(axis=1) != own))

    def _left_priors(self, own: NDArray[np.int64]) -> Array:
        """Return the logarithms of the priors when a row of *own* is left out, n x K."""
        left = np.maximum(self.counts - (np.arange(len(self.counts)) == own[:, None]), 1)
        # Classes that were balanced have equal priors, however many rows are left.
        logs: Array = np.log(left) * (np.ptp(self.weights) == 0)
        return logs


def _correction(spectrum: Spectrum, t: float) -> Array:
    """Return ``1 / (spread + t) - 1 / t`` without cancellation."""
    return -spectrum.spread / (t * (spectrum.spread + t))
