"""The nearest mean of a class, as a linear head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.kinds.fitter import CrossFit, Learned
from offshelf.heads.kinds.linear import LinearHead, halved, linear_arrays
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import Options


class Centroid(LinearHead):
    """A row belongs to the class whose mean is nearest in Euclidean distance.

    ``|x - m|^2 = |x|^2 - 2 (m.x - |m|^2 / 2)``, so the largest score ``m.x - |m|^2 / 2`` is
    the smallest distance: what scikit-learn's ``NearestCentroid`` does. Nothing is
    regularised and means do not depend on the size of a class, so C and class weights have
    no effect.
    """

    uses_c = searches_c = False

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K."""
        weight, bias = _solve(rows, np.arange(n_classes)[:, None] == targets)
        note = "centroid: class weights have no effect, means do not depend on numbers of rows"
        notes = () if options.class_weight is None else (note,)
        return Learned(linear_arrays(weight, bias), {}, notes)

    def cross_fit(self, task: CrossFit) -> NDArray[np.float64]:
        """Return the scores of rows that are held out."""
        own = np.arange(task.n_classes)[:, None] == task.targets

        def solve(kept: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            inside = np.zeros(len(task.fold), dtype=bool)
            inside[kept] = True
            return _solve(task.rows, own & inside)

        return task.linear(solve)


def _solve(
    rows: ScaledRows, own: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights and biases of the means of each class's *own* rows, K x N."""
    means = rows.combine(own / own.sum(axis=1, keepdims=True))
    return halved(means, -np.einsum("kd,kd->k", means, means) / 2)
