"""A head taken apart and put together, and what is refused on the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from offshelf.errors import ModelFileError
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.head import FittedHead


def _head(k: int = 3) -> tuple[FittedHead, np.ndarray]:
    features = np.random.default_rng(k).standard_normal((30, 8), dtype=np.float32)
    return fit_head(Recipe(), features, np.arange(30) % k, [f"c{i}" for i in range(k)]), features


@pytest.mark.parametrize("k", [2, 3])
def test_a_head_survives_json_and_arrays_bit_for_bit(k):
    head, features = _head(k)
    arrays, document = pack_head(head)
    copies = {name: np.frombuffer(a.tobytes(), "f4").reshape(a.shape) for name, a in arrays.items()}
    again = unpack_head(copies, json.loads(json.dumps(document, allow_nan=False)))
    assert decision(again, features).tobytes() == decision(head, features).tobytes()
    assert (again.kind, again.classes, again.normalisation) == (head.kind, head.classes, "l2")
    assert (again.parameters, again.notes) == (head.parameters, head.notes)
    assert not again.arrays["weight"].flags.writeable


def test_notes_and_unusual_names_survive():
    arrays = {"weight": np.zeros((2, 1), np.float32), "bias": np.zeros(2, np.float32)}
    head = FittedHead("svm", ("ä ö", "a\nb"), arrays, {"C": 1.0}, "none", ("a note",))
    again = unpack_head(*pack_head(head))
    assert (again.classes, again.notes) == (("ä ö", "a\nb"), ("a note",))


def _with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[3] = np.nan
    return array


ABSENT = object()
KNOWN = "the heads are svm, logistic, ridge, lda, knn, centroid, fc."
REFUSED_DOCUMENTS = {
    "no classes": ({"classes": ABSENT}, "head lacks 'classes'"),
    "unknown key": (
        {"colour": 1},
        "head holds unknown 'colour': written by a newer version?",
    ),
    "one class": ({"classes": ["a"]}, "head has 1 classes: needs at least two"),
    "class twice": (
        {"classes": ["a", "a", "b"]},
        "head has a class name that is empty or used twice",
    ),
    "empty name": (
        {"classes": ["a", "", "b"]},
        "head has a class name that is empty or used twice",
    ),
    "numbers as classes": ({"classes": [1, 2, 3]}, "head has classes that are no list of texts"),
    "classes as text": ({"classes": "abc"}, "head has classes that are no list of texts"),
    "notes": ({"notes": [None]}, "head has notes that are no list of texts"),
    "normalisation": ({"normalisation": "l1"}, "head has unknown normalisation 'l1'"),
    "parameters": ({"parameters": [1]}, "head has parameters that are no JSON object"),
    "nested parameter": (
        {"parameters": {"C": {"C": 1}}},
        "head has parameter 'C' that is no text, finite number or list",
    ),
    "nan parameter": (
        {"parameters": {"C": float("nan")}},
        "head has parameter 'C' that is no text, finite number or list",
    ),
    "nan in a list": (
        {"parameters": {"C": [[1.0], [float("inf")]]}},
        "head has parameter 'C' that is no text, finite number or list",
    ),
    "deep list": (
        {"parameters": {"C": [[[1.0]]]}},
        "head has parameter 'C' that is no text, finite number or list",
    ),
    "kind": (
        {"kind": "svmm"},
        f"unknown head 'svmm': {KNOWN} Did you mean 'svm'?",
    ),
    "kind of another type": ({"kind": {}}, f"unknown head {{}}: {KNOWN}"),
    "class count": (
        {"classes": ["a", "b"]},
        "head has weights of shape (3, 8) for 2 classes",
    ),
}


@pytest.mark.parametrize("case", REFUSED_DOCUMENTS)
def test_a_wrong_document_is_refused_in_one_line(case):
    changed, message = REFUSED_DOCUMENTS[case]
    arrays, document = pack_head(_head()[0])
    document = {k: v for k, v in (document | changed).items() if v is not ABSENT}
    with pytest.raises(ModelFileError) as caught:
        unpack_head(arrays, document, "x.offshelf")
    assert str(caught.value) == f"x.offshelf: {message}"


@pytest.mark.parametrize(("document", "kind"), [(None, "NoneType"), ([], "list"), ("a", "str")])
def test_a_document_of_another_type_is_refused(document, kind):
    with pytest.raises(ModelFileError) as caught:
        unpack_head({}, document)
    assert str(caught.value) == f"model file: head is a {kind} instead of a JSON object"


REFUSED_ARRAYS = {
    "missing": (
        lambda a: {"weight": a["weight"]},
        "head holds the arrays ['weight'] instead of ['bias', 'weight']",
    ),
    "unknown": (
        lambda a: {**a, "x": a["bias"]},
        "head holds the arrays ['bias', 'weight', 'x'] instead of ['bias', 'weight']",
    ),
    "nan": (
        lambda a: {**a, "weight": _with_nan(a["weight"])},
        "head array 'weight' holds NaN or infinity",
    ),
    "float64": (
        lambda a: {**a, "bias": a["bias"].astype(np.float64)},
        "head array 'bias' is float64 instead of float32",
    ),
    "bias": (
        lambda a: {**a, "bias": a["bias"][:2]},
        "head has biases of shape (2,) for 3 classes",
    ),
    "flat weights": (
        lambda a: {**a, "weight": a["weight"].reshape(-1)},
        "head has weights of shape (24,) for 3 classes",
    ),
    "no dimensions": (
        lambda a: {**a, "weight": a["weight"][:, :0]},
        "head has weights of shape (3, 0) for 3 classes",
    ),
}


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_wrong_arrays_are_refused_in_one_line(case):
    change, message = REFUSED_ARRAYS[case]
    arrays, document = pack_head(_head()[0])
    with pytest.raises(ModelFileError) as caught:
        unpack_head(change(arrays), document, "x.offshelf")
    assert str(caught.value) == f"x.offshelf: {message}"
