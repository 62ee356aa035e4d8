"""Which of many results the data cannot tell from the best, by the tests of :mod:`.paired`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import numbers, same_length, share
from offshelf.errors import DataError
from offshelf.evaluate.significance.paired import binomial_p, outcomes, t_test, variance_factor


@dataclass(frozen=True)
class Comparison:
    """Every result against the best one.

    Attributes:
        best: number of the result with the highest accuracy, the first of equal ones.
        test: ``mcnemar`` or ``corrected_t``.
        p: p-value of each result against the best; 1 for the best itself.
        adjusted: the same after Holm's correction.
        same: True where the result is not distinguishable from the best, and for it.
        alpha: the level.
    """

    best: int
    test: str
    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    same: tuple[bool, ...]
    alpha: float

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def not_distinguishable(
    results: Sequence[NDArray[Any]],
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    alpha: float = 0.05,
) -> Comparison:
    """Say which results the data cannot tell from the best one.

    Each of M results is tested against the one with the highest accuracy, and the M - 1
    p-values are corrected by Holm. The best was chosen by the same data; so this is a
    confidence set for the best in the sense of Hsu, "Simultaneous confidence intervals
    for all distances from the 'best'", Annals of Statistics 9 (1981), 1026-1034: the
    result that is truly best is left out with a chance of about alpha at most. It is no
    promise that of many equal results none is left out.

    Args:
        results: M >= 1 lists of one length. Lists of bool say of each image of one test
            set whether it was right: McNemar's exact test. Lists of float hold the
            accuracy in each repeat: the corrected resampled t-test.
        n_train: training images of a repeat; needed for lists of float.
        n_test: test images of a repeat; needed for lists of float.
        alpha: the level, between 0 and 1.

    Raises:
        DataError: no results, lists of several kinds or lengths, or a size is missing.

    >>> repeats = [np.array([0.90, 0.91, 0.90]), np.array([0.91, 0.90, 0.92]), np.full(3, 0.5)]
    >>> not_distinguishable(repeats, n_train=100, n_test=50).same
    (True, True, False)
    """
    alpha = share("alpha", alpha)
    matrix = _stacked(results)
    best = int(np.argmax(np.round(matrix.mean(axis=1), 12)))
    if matrix.dtype == bool:
        test, p = "mcnemar", _against(matrix, best)
    else:
        if n_train is None or n_test is None:
            raise DataError("a test across repeats needs n_train and n_test, images per split")
        factor = variance_factor(matrix.shape[1], n_train, n_test)
        test, p = "corrected_t", t_test(matrix[best] - matrix, factor, 0.95)[1]
    others = np.arange(len(matrix)) != best
    adjusted = np.ones(len(matrix))
    adjusted[others] = holm(p[others])
    same = tuple((adjusted > alpha).tolist())
    return Comparison(best, test, tuple(p.tolist()), tuple(adjusted.tolist()), same, alpha)


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
    p: NDArray[np.float64] = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values must be a list of numbers from 0 to 1")
    order, m = np.argsort(p, kind="stable"), len(p)
    adjusted = np.empty(m)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(m, 0, -1))
    return np.minimum(adjusted, 1.0)


def _stacked(results: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if not len(results):
        raise DataError("no results to compare")
    arrays = [np.asarray(result) for result in results]
    right = arrays[0].dtype == bool
    checked = [
        outcomes(f"result {number}", array) if right else numbers(f"result {number}", array, 1)
        for number, array in enumerate(arrays)
    ]
    for array in checked:
        same_length("values in the first result", len(checked[0]), "in another", len(array))
    return np.stack(checked)


def _against(right: NDArray[np.bool_], best: int) -> NDArray[np.float64]:
    return binomial_p((right[best] & ~right).sum(axis=1), (~right[best] & right).sum(axis=1))
