"""Interval of an accuracy whose images come in groups, which are right or wrong together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.measurement.metrics import wilson


def group_interval(
    right: NDArray[np.bool_], groups: Sequence[Hashable], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return Wilson's interval of the share of images that are right, over groups.

    It is that of as many independent images as tell the same: N divided by the design effect,
    with Student's quantile for few groups; Korn and Graubard, Survey Methodology 24 (1998),
    193-201. Never more than N images, nor fewer than there are groups at N.

    Args:
        right: N, which images are right.
        groups: N groups.
        confidence: between 0 and 1.

    Returns:
        Low and high end, 0 to 1; None for fewer than two groups, which cannot tell.

    >>> right = np.repeat([True, True, True, False], 25)
    >>> low, high = group_interval(right, np.repeat([0, 1, 2, 3], 25).tolist())
    >>> f"{low:.2f} {high:.2f}", f"{wilson(75, 100)[0]:.2f} {wilson(75, 100)[1]:.2f}"
    ('0.13 0.98', '0.66 0.82')
    """
    from scipy.special import ndtri, stdtrit

    names = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    member = np.array([names[name] for name in groups], np.int64)
    n, k = len(member), len(names)
    if k < 2:
        return None
    share = float(np.mean(right))
    apart = np.bincount(member, right - share, k)
    variance = k / (k - 1) * float(np.square(apart).sum()) / n**2
    worth = share * (1 - share) / variance if variance > 0 else float(k)
    level = (1 + confidence) / 2
    few = float(ndtri(level) / stdtrit(k - 1, level)) ** 2
    told = max(1.0, min(worth, n) * few)
    return wilson(share * told, told, confidence)
