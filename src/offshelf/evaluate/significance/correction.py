"""Correction of p-values for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import DataError


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted so that any false alarm at all has at most the level's chance.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6 (1979), 65-70; valid whatever the dependence of the tests.

    Args:
        p_values: M numbers from 0 to 1, in any order, M >= 0.

    Raises:
        DataError: one is no share.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _p_values(p_values)
    order, m = np.argsort(p, kind="stable"), len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))
    return np.minimum(adjusted, 1.0)


def benjamini_hochberg(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for the expected share of false alarms among the alarms.

    Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal
    Statistical Society B 57 (1995), 289-300; for independent or positively dependent tests.

    Args:
        p_values: M numbers from 0 to 1, in any order, M >= 0.

    Raises:
        DataError: one is no share.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    p = _p_values(p_values)
    order, m = np.argsort(p, kind="stable")[::-1], len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum.accumulate(p[order] * m / np.arange(m, 0, -1))
    return np.minimum(adjusted, 1.0)


def _p_values(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = np.asarray(values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values must be a list of numbers from 0 to 1")
    return p
