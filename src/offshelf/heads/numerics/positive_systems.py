"""Positive definite systems by Cholesky's decomposition, in several threads at a time.

Python's wrappers of LAPACK hold the interpreter's lock while LAPACK works, so threads would take
turns. The same functions, as scipy offers them to compiled code, do not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]
# What is added to the diagonal of a system: one number > 0, or one for each row.
Diagonal = float | Matrix

_ARGUMENTS = 8
# How the signature of a function begins that takes sizes as numbers of 32 bits.
_SIGNATURE = b"void (char *, int *, int *, "


def solve_positive(system: Matrix, targets: Matrix, ridge: Diagonal) -> Matrix:
    """Return x with ``(system + diag(ridge)) @ x = targets``, in the type of *system*.

    Args:
        system: n x n, symmetric, float32 or float64; it is written over.
        targets: n; left as they are.
        ridge: what is added to the diagonal.

    >>> solve_positive(np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([4.0, 2.0]), 1.0).round(9)
    array([2., 0.])
    """
    diagonal = system.diagonal() + ridge
    np.einsum("ii->i", system)[:] = diagonal
    solution = targets.astype(system.dtype)
    if not len(system) or _decomposed(system, solution):
        return solution
    # Rounding hid that it is positive; elimination with pivots does not need it to be.
    upper = np.triu(system, 1)
    found = np.linalg.solve(upper + upper.T + np.diag(diagonal), targets)
    return found.astype(system.dtype, copy=False)


def _decomposed(system: Matrix, solution: Matrix) -> bool:
    """Solve in place; false when *system*, whose upper triangle is left, is not positive."""
    # To LAPACK, which counts along columns, the lower triangle is the upper one.
    name = "sposv" if system.dtype == np.float32 else "dposv"
    posv = _compiled(name)
    # Nothing stands between what is called there and memory that is not its own.
    suits = system.flags.c_contiguous and system.shape == (len(solution), len(solution))
    if posv is None or not suits:
        return _in_turn(name, system, solution)
    size, one, failed = (ctypes.c_int(value) for value in (len(system), 1, 0))
    n, columns, info = (ctypes.byref(value) for value in (size, one, failed))
    posv(b"U", n, columns, system.ctypes.data, n, solution.ctypes.data, n, info)
    return failed.value == 0


def _in_turn(name: str, system: Matrix, solution: Matrix) -> bool:
    from scipy.linalg import lapack

    solved = getattr(lapack, name)(system.T, solution, lower=0, overwrite_a=1)
    solution[:] = solved[1]
    return bool(solved[2] == 0)


@lru_cache(maxsize=2)
def _compiled(name: str) -> Callable[..., None] | None:
    """Return LAPACK's function *name* without the interpreter's lock; None where it differs."""
    from scipy.linalg import cython_lapack

    offered: dict[str, Any] = dict(cython_lapack.__pyx_capi__)
    capsule, python = offered[name], ctypes.pythonapi
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    signature = name_of(("PyCapsule_GetName", python))(capsule)
    if not signature.startswith(_SIGNATURE):
        return None
    address = pointer_of(("PyCapsule_GetPointer", python))(capsule, signature)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * _ARGUMENTS)(address)
