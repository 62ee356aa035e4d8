"""The nearest mean of a class, as a linear head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.head import Learned, Options
from offshelf.heads.linear import LinearHead, halved, linear_arrays
from offshelf.heads.scaling import ScaledRows


class Centroid(LinearHead):
    """A row belongs to the class whose mean is nearest in Euclidean distance.

    ``|x - m|^2 = |x|^2 - 2 (m.x - |m|^2 / 2)``, so the largest score ``m.x - |m|^2 / 2`` is
    the smallest distance: what scikit-learn's ``NearestCentroid`` does. Nothing is
    regularised and means do not depend on the size of a class, so C and class weights have
    no effect.
    """

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K."""
        own = np.arange(n_classes)[:, None] == targets
        means = rows.combine(own / own.sum(axis=1, keepdims=True))
        weight, bias = halved(means, -np.einsum("kd,kd->k", means, means) / 2)
        note = "centroid: class weights have no effect, means do not depend on numbers of rows"
        notes = () if options.class_weight is None else (note,)
        return Learned(linear_arrays(weight, bias), {}, notes)
