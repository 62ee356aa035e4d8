"""Rank correlation of a cheap score with measured accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import json_number, numbers, same_length


@dataclass(frozen=True)
class Agreement:
    """Rank correlations, -1 to 1; None where a list is constant or has fewer than 3 values.

    Attributes:
        n: pairs.
        spearman: Spearman's rho.
        spearman_p: its two-sided p-value.
        kendall: Kendall's tau-b.
        kendall_p: its two-sided p-value.
        weighted_kendall: Vigna's tau, in which the best rows weigh most; the figure of
            the LogME paper.
        regret: accuracy lost by taking the row with the highest score, 0 to 1.
    """

    n: int
    spearman: float | None
    spearman_p: float | None
    kendall: float | None
    kendall_p: float | None
    weighted_kendall: float | None
    regret: float

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)


def agreement(
    scores: Sequence[float] | NDArray[np.float64],
    accuracies: Sequence[float] | NDArray[np.float64],
) -> Agreement:
    """Return how far a score orders rows as their measured accuracy does.

    Spearman, American Journal of Psychology 15 (1904), 72-101; Kendall, "Rank correlation
    methods", 1948 (tau-b, with ties); Vigna, "A weighted correlation index for rankings
    with ties", WWW 2015.

    Args:
        scores: n finite numbers, higher for better; turn an error round before.
        accuracies: n finite numbers, of the same rows.

    Raises:
        DataError: lists of two lengths, empty, or not finite.

    >>> found = agreement([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4])
    >>> found.spearman, round(found.kendall, 3), found.regret
    (0.8, 0.667, 0.0)
    """
    from scipy import stats

    x, y = numbers("scores", scores, 1), numbers("accuracies", accuracies, 1)
    same_length("scores", len(x), "accuracies", len(y))
    regret = float(y.max() - y[int(x.argmax())])
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return Agreement(len(x), None, None, None, None, None, regret)
    rho, tau = stats.spearmanr(x, y), stats.kendalltau(x, y)
    weighted = stats.weightedtau(x, y)
    return Agreement(
        len(x),
        spearman=_plain(rho.statistic),
        spearman_p=_plain(rho.pvalue),
        kendall=_plain(tau.statistic),
        kendall_p=_plain(tau.pvalue),
        weighted_kendall=_plain(weighted.statistic),
        regret=regret,
    )


def _plain(value: Any) -> float | None:
    return json_number(round(float(value), 15))
