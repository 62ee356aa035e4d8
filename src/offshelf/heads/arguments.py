"""Validation of the arguments of heads: a HeadError of one line, or the plain value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices
from offshelf.errors import HeadError
from offshelf.heads.options import MAX_SEED, NORMALISATIONS, ClassWeight, Options

_ROWS_AT_A_TIME = 64


def checked_options(
    c: float | Literal["auto"], seed: int, class_weight: str | None = None
) -> Options:
    """Return the options as plain numbers; *c* may also be the word ``auto``."""
    if class_weight not in (None, "balanced"):
        raise HeadError(f"unknown class weight {class_weight!r}: use 'balanced' or None")
    weight = cast(ClassWeight | None, class_weight)
    return Options("auto" if c == "auto" else checked_c(c), checked_seed(seed), weight)


def checked_seed(seed: int) -> int:
    """Return *seed* as a plain number."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed <= MAX_SEED:
        raise HeadError(f"seed must be a whole number from 0 to {MAX_SEED}, got {seed!r}")
    return int(seed)


def checked_c(c: Any) -> float:
    """Return *c* as a plain number."""
    number = float(c) if isinstance(c, Real) and not isinstance(c, bool) else 0.0
    if not (math.isfinite(number) and number > 0):
        raise HeadError(
            f"C must be a positive finite number or 'auto', got {c!r}: 1 is the default"
        )
    return number


def checked_targets(
    count: int, targets: Any, classes: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return targets and classes of *count* rows as the solvers take them.

    Each class has at least one row, and there are two or more.
    """
    n, classes = len(np.atleast_1d(targets)), tuple(classes)
    if count != n:
        raise HeadError(f"{count} rows of features but {n} targets: need one each")
    found = class_indices("targets", targets, len(classes), HeadError) if n else np.arange(0)
    _check_classes(np.bincount(found, minlength=len(classes)), classes)
    return found, classes


def check_normalisation(normalisation: str) -> None:
    """Check that *normalisation* is one of the known words."""
    if normalisation not in NORMALISATIONS:
        words = ", ".join(map(repr, NORMALISATIONS[:-1]))
        raise HeadError(
            f"unknown normalisation {normalisation!r}: use {words} or {NORMALISATIONS[-1]!r}"
        )


def checked_features(features: Any, dimension: int | None = None) -> NDArray[Any]:
    """Return *features* as a matrix N x D of finite real numbers.

    Args:
        features: what the caller gave; an array is not copied.
        dimension: the D that a fitted head needs; None takes any D >= 1.

    Raises:
        HeadError: not a numeric matrix, the wrong dimension, or NaN or infinity inside.
    """
    matrix = np.asarray(features)
    if matrix.ndim != 2 or matrix.shape[1] < 1 or matrix.dtype.kind not in "fiu":
        raise HeadError(
            "features must be a numeric matrix of rows x dimensions, "
            f"got shape {matrix.shape} of {matrix.dtype}"
        )
    if dimension is not None and matrix.shape[1] != dimension:
        raise HeadError(
            f"features have {matrix.shape[1]} dimensions but the head was trained on {dimension}: "
            "use the backbone, layer and pooling it was trained with"
        )
    _check_finite(matrix)
    return matrix


def _check_classes(counts: NDArray[np.intp], classes: Sequence[str]) -> None:
    twice = [name for i, name in enumerate(classes) if name in classes[:i]]
    if twice:
        raise HeadError(f"class {twice[0]!r} is named twice: class names must differ")
    present = [name for name, n in zip(classes, counts, strict=True) if n]
    if len(present) < 2:
        found = f"only {present[0]!r}" if present else "no rows"
        raise HeadError(f"training data holds {found}: a head needs at least two classes")
    absent = [repr(name) for name, n in zip(classes, counts, strict=True) if not n]
    if absent:
        raise HeadError(
            f"no training rows for {len(absent)} of {len(classes)} classes: {_some(absent)}; "
            "add images of them or leave them out"
        )


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _check_finite(matrix: NDArray[Any]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        # Both carry NaN along, so the common case is two quick passes.
        ends = np.array([matrix.max(initial=0), matrix.min(initial=0)]).astype(np.float32)
        if np.isfinite(ends).all():
            return
        bad = [np.empty(0, dtype=np.int64)]
        for start in range(0, len(matrix), _ROWS_AT_A_TIME):
            part = matrix[start : start + _ROWS_AT_A_TIME].astype(np.float32, copy=False)
            bad.append(start + np.flatnonzero(~np.isfinite(part).all(axis=1)))
    rows = np.concatenate(bad)
    raise HeadError(
        f"features hold NaN or infinity in {len(rows)} of {len(matrix)} rows, "
        f"first in row {rows[0]}: extract them again"
    )
