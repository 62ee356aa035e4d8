"""Validation of labels given beside images: none missing, all of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_names import composed
from offshelf.errors import DataError
from offshelf.text import listed


def sorted_classes(labels: Any, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted classes among *count* labels, and each label's place in them.

    Raises:
        DataError: the labels are too few or many, missing, of several kinds, continuous
            numbers, or two of them print alike.

    >>> sorted_classes(["b", "a", "b"], 3)
    (array(['a', 'b'], dtype='<U1'), array([1, 0, 1]))
    >>> sorted_classes(["b", None], 2)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: 1 of 2 labels is missing, the first at position 1 (counted from 0)
    """
    if hasattr(labels, "to_numpy"):
        labels = labels.to_numpy()
    array = np.asarray(labels) if isinstance(labels, np.ndarray) else _array(labels)
    if array.ndim != 1 or len(array) != count:
        raise DataError(f"{count} images but labels of shape {array.shape}")
    values = array.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if isinstance(labels, np.ma.MaskedArray):
        values = labels.tolist()
    _check_present(values)
    _check_one_kind(values)
    if array.dtype.kind == "c" or (array.dtype.kind == "f" and not _whole(array)):
        raise DataError("labels are continuous numbers; a classifier needs classes")
    try:
        classes, targets = np.unique(array, return_inverse=True)
    except TypeError as error:
        kind = type(values[0]).__name__
        raise DataError(f"labels of type {kind} have no order; make them text") from error
    _check_distinct([str(label) for label in classes])
    return classes, targets.astype(np.int64)


def _whole(numbers: NDArray[Any]) -> bool:
    return bool((np.isfinite(numbers) & (np.floor(numbers) == numbers)).all())


def _array(labels: Any) -> NDArray[Any]:
    try:
        return np.asarray(labels)
    except ValueError as error:  # rows of several lengths
        raise DataError("labels are lists of several lengths; give one label for each") from error


def _check_present(values: Sequence[Any]) -> None:
    missing = [place for place, value in enumerate(values) if _is_missing(value)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{len(missing)} of {len(values)} labels {verb} missing, the first at position "
            f"{missing[0]} (counted from 0)"
        )


def _is_missing(value: Any) -> bool:
    """Return whether *value* stands for no label: None, NaN, NaT, pandas' NA, empty text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    if isinstance(value, str | bytes):
        return not value.strip()
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _check_one_kind(values: Sequence[Any]) -> None:
    """Refuse what numpy would turn into one kind: 1 and "1" are not one class by the way."""
    first: dict[str, Any] = {}
    for value in values:
        first.setdefault(_kind(value), value)
    if len(first) > 1:
        kinds = ", ".join(sorted({type(value).__name__ for value in first.values()}))
        examples = " and ".join(repr(value) for value in list(first.values())[:2])
        raise DataError(
            f"labels of several kinds ({kinds}), such as {examples}; make them all text"
        )


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | float | np.integer | np.floating):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _check_distinct(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(composed(name), name)
        if other != name:
            raise DataError(
                f"labels {listed([other, name])} differ only in Unicode composition; make them one"
            )
