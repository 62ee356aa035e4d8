"""Linear systems on the active rows of many problems: small ones directly, large ones together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.row_scaling import Matrix
from offshelf.heads.svm.gram import Diagonal, Gram

MAX_PRODUCTS = 150
# The size up to which systems are solved directly is right for this tolerance.
_USUAL = 2e-2
# How much more may be left of a system than the smallest ridge is of the largest product.
_LEFT = 10.0

Mask = NDArray[np.bool_]


def solve_systems(
    gram: Gram, active: Mask, wanted: Matrix, ridge: Diagonal, start: Matrix, tolerance: float
) -> Matrix:
    """Return x, P x n: zero off the active rows, ``x @ gram + ridge * x = wanted`` on them.

    Args:
        gram: inner products of n rows.
        active: P x n, the rows of each problem.
        wanted: P x n.
        ridge: what is added to the diagonal, > 0: one number, or P x n.
        start: P x n, a guess for the systems that are solved step by step.
        tolerance: root mean square of what those may leave unsolved; in float64 less is left
            where the ridge is small beside the products.
    """
    solution = np.zeros_like(start)
    if start.dtype == np.float64:
        # At the minimum a row lacks its ridge times its coefficient: little beside its score.
        tolerance *= min(1.0, _LEFT * float(np.min(ridge)) / gram.largest)
    # Steps become more with each digit, where a decomposition has them all.
    longer = max(1.0, math.log(max(tolerance, 1e-16)) / math.log(_USUAL))
    large = np.flatnonzero(active.sum(axis=1) > gram.direct_size * longer ** (1 / 3))
    if len(large):
        # All of them as a slice, so that nothing is copied.
        some: Any = slice(None) if len(large) == len(active) else large
        solution[some], done = _together(
            gram, active[some], wanted[some], _of(ridge, some), start[some], tolerance
        )
        large = large[done]
    rest = np.setdiff1d(np.arange(len(active)), large)
    _one_by_one(gram, active, wanted, ridge, rest, solution)
    return solution


def _one_by_one(
    gram: Gram,
    active: Mask,
    wanted: Matrix,
    ridge: Diagonal,
    problems: NDArray[np.intp],
    solution: Matrix,
) -> None:
    for problem in problems:
        rows = np.flatnonzero(active[problem])
        solution[problem] = 0
        if len(rows):
            diagonal = _of(ridge, (problem, rows))
            solution[problem, rows] = gram.solve(rows, wanted[problem, rows], diagonal)


def _together(
    gram: Gram, active: Mask, wanted: Matrix, ridge: Diagonal, start: Matrix, tolerance: float
) -> tuple[Matrix, Mask]:
    """Conjugate gradients on all systems, each product one matrix product for all of them.

    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", Journal
    of Research of the National Bureau of Standards 49 (1952), 409-436.
    """
    kind = start.dtype
    diagonal = np.asarray(ridge, dtype=kind)
    solution = start * active
    left = wanted - gram.times(solution)
    left -= diagonal * solution
    left *= active
    direction = left.copy()
    size = _square(left)
    enough = tolerance**2 * active.sum(axis=1)
    for _ in range(MAX_PRODUCTS):
        going = size > enough
        if not going.any():
            break
        image = gram.times(direction)
        image *= active
        image += diagonal * direction
        length = np.where(going, size / _positive(np.einsum("ij,ij->i", direction, image)), 0)
        solution += length[:, None].astype(kind) * direction
        left -= length[:, None].astype(kind) * image
        before, size = size, _square(left)
        direction *= (size / _positive(before))[:, None].astype(kind)
        direction += left
    return solution, size <= enough


def _of(ridge: Diagonal, chosen: Any) -> Diagonal:
    return ridge[chosen] if isinstance(ridge, np.ndarray) else ridge


def _square(matrix: Matrix) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
    return squares


def _positive(values: Matrix) -> NDArray[np.float64]:
    return np.maximum(values, np.finfo(np.float64).tiny).astype(np.float64)
