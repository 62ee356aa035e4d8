"""The choice of C where rows have groups: cross-validation in folds of whole groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.group_folds import held_out_folds
from offshelf.heads.kinds.fitter import CrossFit, Fitter, Learned
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import Options
from offshelf.heads.regularisation_path import best_of, regularisation_path


def fit_by_groups(
    fitter: Fitter, rows: ScaledRows, targets: NDArray[np.int64], options: Options
) -> Learned:
    """Return what a head learns at the C of the best mean accuracy; of equals the smallest.

    The folds keep the groups of *options* together.

    Raises:
        HeadError: no class has rows of two groups.
    """
    n_classes = int(targets.max()) + 1
    fold = held_out_folds(targets, seed=options.seed, groups=options.groups)
    if fold.max() < 0:
        raise HeadError(
            "C cannot be chosen in folds: no class has images of two groups, or two that are no "
            "copies; give a C"
        )
    found: dict[float, tuple[Learned, list[float]]] = {}

    def measure(cs: Sequence[float]) -> list[float]:
        for c in cs:
            own = replace(options, c=c)
            learned = fitter.fit(rows, targets, n_classes, own)
            task = CrossFit(
                rows=rows,
                targets=targets,
                n_classes=n_classes,
                options=own,
                fold=fold,
                arrays=learned.arrays,
            )
            found[c] = learned, _accuracies(fitter.cross_fit(task), targets, fold)
        return [float(np.mean(found[c][1])) for c in cs]

    cs, means = regularisation_path(measure)
    best, _ = found[cs[best_of(means)]]
    record = {"C_grid": list(cs), "fold_accuracies": [found[c][1] for c in cs]}
    return Learned(best.arrays, {**best.parameters, **record}, best.notes)


def _accuracies(
    scores: NDArray[np.float64] | None, targets: NDArray[np.int64], fold: NDArray[np.int64]
) -> list[float]:
    if scores is None:
        raise HeadError("C cannot be chosen in folds of groups for this head: give a C")
    right = scores.argmax(axis=1) == targets
    return [float(right[fold == part].mean()) for part in range(int(fold.max()) + 1)]
