"""Serialisation of heads: named arrays and JSON, which are untrusted until checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import DataError, HeadError, ModelFileError
from offshelf.heads.head import FittedHead, frozen
from offshelf.heads.kinds.registry import get_fitter
from offshelf.heads.label_decisions import LABEL_HEADS, LabelDecisions, decisions_from_json
from offshelf.heads.options import NORMALISATIONS, Normalisation
from offshelf.heads.preparation.prepare import Preparation, preparation_problem
from offshelf.heads.preparation.reduction import parse_reduction

_KEYS = ("kind", "classes", "normalisation", "parameters", "notes")
# A version that does not know decisions on labels refuses them, as it would show one label.
_OPTIONAL_KEYS = ("reduction", "labels")
_PREPARATION = "preparation."


def pack_head(head: FittedHead) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Return the arrays of *head* and the rest of it as a JSON object.

    >>> arrays = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)}
    >>> arrays, document = pack_head(FittedHead("svm", ("a", "b"), arrays, {"C": 1.0}, "l2"))
    >>> sorted(arrays), document["kind"], document["classes"]
    (['bias', 'weight'], 'svm', ['a', 'b'])
    """
    document = {
        "kind": head.kind,
        "classes": list(head.classes),
        "normalisation": head.normalisation,
        "reduction": head.reduction,
        "parameters": dict(head.parameters),
        "notes": list(head.notes),
        **({"labels": head.decisions.to_json()} if head.decisions else {}),
    }
    preparation = {f"{_PREPARATION}{name}": array for name, array in head.preparation.items()}
    return {**head.arrays, **preparation}, document


def unpack_head(
    arrays: Mapping[str, NDArray[Any]], document: Any, source: str = "model file"
) -> FittedHead:
    """Build the head that :func:`pack_head` took apart, from untrusted input.

    Args:
        arrays: float32 arrays by name; copied where they are not contiguous.
        document: what was read from JSON, of any type.
        source: what to call the file in messages.

    Raises:
        ModelFileError: a key, name, type, shape or class count is wrong, or a value is
            NaN or infinite.

    >>> unpack_head({}, {"kind": "svm"}, "a.offshelf")
    Traceback (most recent call last):
    ...
    offshelf.errors.ModelFileError: a.offshelf: head lacks 'classes'
    """
    _check_keys(document, source)
    classes = _checked_classes(document["classes"], source)
    if document["normalisation"] not in NORMALISATIONS:
        _refuse(source, f"has unknown normalisation {document['normalisation']!r}")
    _check_parameters(document["parameters"], source)
    _check_texts("notes", document["notes"], source)
    reduction = _checked_reduction(document.get("reduction", "none"), source)
    _check_values(arrays, source)
    of_preparation = {n: a for n, a in arrays.items() if n.startswith(_PREPARATION)}
    preparation = {n.removeprefix(_PREPARATION): _float32(a) for n, a in of_preparation.items()}
    learned = {name: a for name, a in arrays.items() if not name.startswith(_PREPARATION)}
    _check_arrays(learned, document["kind"], len(classes), source)
    normalisation = cast(Normalisation, document["normalisation"])
    problem = preparation_problem(
        Preparation(normalisation, reduction, preparation), learned["weight"].shape[1]
    )
    if problem:
        _refuse(source, problem)
    return FittedHead(
        kind=document["kind"],
        classes=classes,
        arrays={name: _float32(array) for name, array in learned.items()},
        parameters=dict(document["parameters"]),
        normalisation=normalisation,
        notes=tuple(document["notes"]),
        reduction=reduction,
        preparation=preparation,
        decisions=_decisions(document, len(classes), source),
    )


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    return frozen(np.array(array, np.float32))


def _decisions(document: Mapping[str, Any], n_labels: int, source: str) -> LabelDecisions | None:
    if "labels" not in document:
        return None
    if document["kind"] not in LABEL_HEADS:
        _refuse(source, f"of the kind {document['kind']!r} cannot have several labels")
    try:
        return decisions_from_json(document["labels"], n_labels)
    except DataError as error:
        raise ModelFileError(f"{source}: head has {error}") from None


def _refuse(source: str, what: str) -> NoReturn:
    raise ModelFileError(f"{source}: head {what}")


def _check_keys(document: Any, source: str) -> None:
    if not isinstance(document, dict):
        _refuse(source, f"is a {type(document).__name__} instead of a JSON object")
    for key in _KEYS:
        if key not in document:
            _refuse(source, f"lacks {key!r}")
    unknown = sorted(str(key) for key in set(document) - {*_KEYS, *_OPTIONAL_KEYS})
    if unknown:
        _refuse(source, f"holds unknown {unknown[0]!r}: written by a newer version?")


def _check_texts(key: str, value: Any, source: str) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        _refuse(source, f"has {key} that are no list of texts")


def _checked_classes(value: Any, source: str) -> tuple[str, ...]:
    _check_texts("classes", value, source)
    if len(value) < 2:
        _refuse(source, f"has {len(value)} classes: needs at least two")
    if "" in value or len(set(value)) != len(value):
        _refuse(source, "has a class name that is empty or used twice")
    return tuple(value)


def _check_parameters(value: Any, source: str) -> None:
    if not isinstance(value, dict):
        _refuse(source, "has parameters that are no JSON object")
    for name, parameter in value.items():
        if not _is_plain(parameter):
            _refuse(source, f"has parameter {name!r} that is no text, finite number or list")


def _is_plain(value: Any, depth: int = 2) -> bool:
    """Whether *value* is a text or finite number, or lists of them at most *depth* deep."""
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)


def _check_arrays(
    arrays: Mapping[str, NDArray[Any]], kind: Any, n_classes: int, source: str
) -> None:
    try:
        fitter = get_fitter(kind)
    except HeadError as error:
        raise ModelFileError(f"{source}: {error}") from None
    problem = fitter.problem(arrays, n_classes)
    if problem:
        _refuse(source, problem)


def _check_values(arrays: Mapping[str, NDArray[Any]], source: str) -> None:
    for name, array in sorted(arrays.items()):
        if array.dtype != np.float32:
            _refuse(source, f"array {name!r} is {array.dtype} instead of float32")
        if not np.isfinite(array).all():
            _refuse(source, f"array {name!r} holds NaN or infinity")


def _checked_reduction(value: Any, source: str) -> str:
    try:
        parse_reduction(value)
    except HeadError as error:
        raise ModelFileError(f"{source}: head has {error}") from None
    return str(value)
