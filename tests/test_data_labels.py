"""Labels beside images: what is a class, and what is refused before any work."""

# ruff: noqa: E501 (tables of whole messages)

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from offshelf.data.tables.classes import sorted_classes
from offshelf.errors import DataError

NAN = float("nan")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        (np.array(["b", "a", "b"], object), ["a", "b"]),
        (pd.Series(["b", "a", "b"]), ["a", "b"]),
        (pd.Series(["b", "a", "b"], dtype="string"), ["a", "b"]),
        (pd.Categorical(["b", "a", "b"]), ["a", "b"]),
        ([3, 1, 3], [1, 3]),
        ([3, 1.0, 3], [1, 3]),
        (np.array([3.0, 1.0, 3.0]), [1, 3]),
        ([True, False, True], [False, True]),
        (("nan", "NA", "None"), ["NA", "None", "nan"]),
        ([date(2024, 5, 1), date(2023, 5, 1), date(2024, 5, 1)], [date(2023, 5, 1), date(2024, 5, 1)]),
    ],
)  # fmt: skip
def test_classes(labels: Any, classes: list[Any]) -> None:
    found, targets = sorted_classes(labels, 3)
    assert found.tolist() == classes
    assert [classes[place] for place in targets] == list(labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b", NAN], ["a", "b", None], ["a", "b", ""], ["a", "b", "  "], [1, 2, NAN],
        ["a", "b", np.nan], ["a", "b", pd.NA], ["a", "b", pd.NaT], np.array([0.0, 1.0, NAN]),
        np.array(["a", "b", None], object), pd.Series(["a", "b", None], dtype="string"),
        pd.Series([1, 2, None], dtype="Int64"), pd.Series(["a", "b", None]),
        pd.Categorical(["a", "b", None]), np.array(["2024-01-01", "2024-01-02", "NaT"], "M8[D]"),
        np.ma.array([1, 2, 3], mask=[0, 0, 1]), [True, False, None],
    ],
)  # fmt: skip
def test_missing_labels(labels: Any) -> None:
    with pytest.raises(DataError) as caught:
        sorted_classes(labels, 3)
    assert str(caught.value) == (
        "1 of 3 labels is missing, the first at position 2 (counted from 0)"
    )


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([None, "a", NAN], "2 of 3 labels are missing, the first at position 0 (counted from 0)"),
        ([1, "1", 2], "labels of several kinds (int, str), such as 1 and '1'; make them all text"),
        ([1, True, 2], "labels of several kinds (bool, int), such as 1 and True; make them all text"),
        ([b"a", "a", "b"], "labels of several kinds (bytes, str), such as b'a' and 'a'; make them all text"),
        (np.array([1, "1", 2], object), "labels of several kinds (int, str), such as 1 and '1'; make them all text"),
        ([0.5, 1.5, 2], "labels are continuous numbers; a classifier needs classes"),
        (["a", "b"], "3 images but labels of shape (2,)"),
        ([["a"], ["b"], ["c"]], "3 images but labels of shape (3, 1)"),
        ([["a"], ["b", "c"], ["c"]], "labels are lists of several lengths; give one label for each"),
        ("abc", "3 images but labels of shape ()"),
        ([1j, 2j, 3j], "labels are continuous numbers; a classifier needs classes"),
        (["caf\xe9", "cafe\u0301", "tea"], "labels 'cafe\u0301', 'caf\xe9' differ only in Unicode composition; make them one"),
    ],
)  # fmt: skip
def test_labels_that_are_no_classes(labels: Any, text: str) -> None:
    with pytest.raises(DataError) as caught:
        sorted_classes(labels, 3)
    assert str(caught.value) == text
