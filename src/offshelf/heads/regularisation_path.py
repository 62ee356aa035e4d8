"""The values of C that ``auto`` tries: a grid, and what lies beyond it while that is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from offshelf.heads.options import GRID, LADDER

# For each of some values of C a figure that is better the larger it is.
Measure = Callable[[Sequence[float]], Sequence[float]]


def regularisation_path(measure: Measure) -> tuple[tuple[float, ...], list[float]]:
    """Return the values of C that were tried, rising, and the figure of each.

    Of equals the smallest C is the best. Where the best is an end of what was tried and better
    than the value beside it, the next value beyond is tried, too, from 1e-6 to 1e6.

    Args:
        measure: is called with ``GRID`` first, then with one value at a time.

    >>> cs, _ = regularisation_path(lambda cs: [-abs(c - 2000) for c in cs])
    >>> [round(c) for c in cs[-3:]]
    [464, 2154, 10000]
    """
    cs, figures = list(GRID), list(measure(GRID))
    while (beyond := _beyond(cs, figures)) is not None:
        place = 0 if beyond < cs[0] else len(cs)
        cs.insert(place, beyond)
        figures.insert(place, *measure((beyond,)))
    return tuple(cs), figures


def best_of(figures: Sequence[float]) -> int:
    """Return the place of the best figure, of equals the first."""
    return int(np.argmax(np.round(figures, 12)))


def is_end(c: float) -> bool:
    """Return whether nothing beyond *c* is ever tried.

    >>> is_end(1e6), is_end(100.0)
    (True, False)
    """
    return c in (LADDER[0], LADDER[-1])


def _beyond(cs: Sequence[float], figures: Sequence[float]) -> float | None:
    """Return the next C to try, or None where the best is inside or nothing is left."""
    rounded, best = np.round(figures, 12), best_of(figures)
    low, high = LADDER.index(cs[0]), LADDER.index(cs[-1])
    if best == len(cs) - 1 and high + 1 < len(LADDER):
        return LADDER[high + 1]
    if best == 0 and low > 0 and rounded[0] > rounded[1]:
        return LADDER[low - 1]
    return None
