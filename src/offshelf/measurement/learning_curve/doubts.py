"""Doubts about a learning curve: why it is not to be extrapolated, and what may help."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.measurement.learning_curve.powerlaw import EXPONENTS, Law
from offshelf.text import counted

MIN_SIZES, MIN_REPEATS, MIN_SPAN = 4, 3, 4
USUAL_REPEATS, MANY_REPEATS = 5, 20
_MAX_AT_BOUND = 0.2


def doubts_of(
    n: NDArray[np.int64], errors: NDArray[np.float64], law: Law, resampled: Law | None
) -> list[str]:
    """Return what forbids to look ahead, one line each; [] where nothing does.

    Args:
        n: S sizes, ascending.
        errors: S x R, of every size and repeat.
        law: the fit.
        resampled: fits to resampled repeats; None for too few of them.
    """
    doubts = []
    if len(n) < MIN_SIZES:
        doubts.append(f"needs at least {MIN_SIZES} sizes, has {len(n)} (--sizes names them)")
    if n[-1] < MIN_SPAN * n[0]:
        doubts.append(
            f"the largest size must be {MIN_SPAN} times the smallest or more (--sizes names them)"
        )
    if resampled is None:
        return [
            *doubts,
            f"needs at least {MIN_REPEATS} repeats at every size (--repeats {USUAL_REPEATS})",
        ]
    if law.b[0] <= 0 or (resampled.b <= 0).mean() > _MAX_AT_BOUND:
        return [*doubts, f"accuracy does not rise with the number of images{_remedy(errors)}"]
    exponents = np.append(resampled.c, np.repeat(law.c, len(resampled.c)))
    soon = counted(int(n[:2][-1]), "image")
    shapes = (
        "accuracy rises too evenly to tell where it will level off",
        f"accuracy has nearly levelled off after {soon} per class, too early to tell what is still "
        "to come",
    )
    for bound, shape in zip(EXPONENTS, shapes, strict=True):
        # The fitted exponent alone is half of these, so it decides by itself.
        if np.isclose(exponents, bound, atol=0.02).mean() > _MAX_AT_BOUND / 2:
            doubts.append(shape + _remedy(errors))
    return doubts


def _remedy(errors: NDArray[np.float64]) -> str:
    """Return what may settle the shape of a curve; more draws only where they are few."""
    more = f"--repeats {MANY_REPEATS} or " if errors.shape[1] < MANY_REPEATS else ""
    return f" ({more}other --sizes may)"
