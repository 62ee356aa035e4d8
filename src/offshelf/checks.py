"""Validation of arguments, with messages of one line."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import DataError, OffshelfError


def whole(what: str, value: Any, low: int = 0) -> int:
    """Return *value* as an int.

    Raises:
        DataError: it is not a whole number of *low* or more.

    >>> whole("seed", np.int64(3))
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise DataError(f"{what} is a whole number of {low} or more, not {value!r}")
    return int(value)


def share(what: str, value: Any, such_as: float = 0.05) -> float:
    """Return *value* as a float.

    Raises:
        DataError: it does not lie between 0 and 1, ends excluded; the text has *such_as*, or
            what was perhaps meant by per cent, as an example.

    >>> share("alpha", 0.05)
    0.05
    >>> share("alpha", 5)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: alpha is a share between 0 and 1 such as 0.05, not 5
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < number < 1:
        example = number / 100 if 1 < number < 100 else such_as
        raise DataError(f"{what} is a share between 0 and 1 such as {example:g}, not {value!r}")
    return number


def class_indices(
    what: str,
    values: Any,
    n_classes: int | None = None,
    error: type[OffshelfError] = DataError,
) -> NDArray[np.int64]:
    """Return *values* as N class indices, int64, N >= 1.

    Raises:
        DataError: (or *error*) not a list of whole numbers, an empty one, or an index outside
            the *n_classes* classes (None takes any number of them).

    >>> class_indices("targets", [0, 2], 3)
    array([0, 2])
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise error(
            f"{what} must be a list of class indices, got shape {array.shape} of {array.dtype}"
        )
    if not array.size:
        raise error(f"{what}: there are none")
    outside = array < 0 if n_classes is None else (array < 0) | (array >= n_classes)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        known = "0 or more" if n_classes is None else f"0 to {n_classes - 1}"
        raise error(f"{what}: {array[row]} in row {row} is no class index: need {known}")
    return array.astype(np.int64)


def numbers(what: str, values: Any, dimensions: int) -> NDArray[np.float64]:
    """Return *values* as a finite float64 array with so many dimensions, none of length 0.

    Raises:
        DataError: another number of dimensions, no values, not numbers, NaN or infinity.

    >>> numbers("scores", [[1, 2]], 2)
    array([[1., 2.]])
    """
    array = np.asarray(values)
    if array.ndim != dimensions or not array.size or array.dtype.kind not in "fiu":
        form = {1: "a list", 2: "a matrix"}[dimensions]
        raise DataError(
            f"{what} must be {form} of numbers, got shape {array.shape} of {array.dtype}"
        )
    result: NDArray[np.float64] = array.astype(np.float64)
    if not np.isfinite(result).all():
        row = int(np.argwhere(~np.isfinite(result))[0, 0])
        raise DataError(f"{what}: NaN or infinity in row {row}")
    return result


def same_length(first: str, n: int, second: str, m: int) -> None:
    """Refuse two lists of different lengths.

    Raises:
        DataError: n is not m.
    """
    if n != m:
        raise DataError(f"{n} {first} but {m} {second}: need one each")


def json_number(value: float | None) -> float | None:
    """Return *value*, or None for what JSON has no number for.

    >>> json_number(float("inf")), json_number(0.5)
    (None, 0.5)
    """
    return value if value is not None and math.isfinite(value) else None
