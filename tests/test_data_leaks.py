"""Test rows whose bytes are also in the training split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offshelf.data.tables.image_table import ImageTable, contradiction, leaked_test_rows


def table_of(splits: list[str]) -> ImageTable:
    n = len(splits)
    paths = tuple(f"{number}.png" for number in range(n))
    return ImageTable(paths, ("x",) * n, tuple(splits), ("x",), ())


CASES = [
    ("nothing in both", ["train", "test"], [b"a", b"b"], []),
    ("one copy", ["train", "test", "test"], [b"a", b"b", b"a"], [2]),
    ("every copy counts", ["train", "train", "test", "test"], [b"a"] * 4, [2, 3]),
    ("copies within a split", ["train", "train", "test", "test"], [b"a", b"a", b"b", b"b"], []),
    ("files without a digest", ["train", "test"], [b"", b""], []),
    ("no images", [], [], []),
]


@pytest.mark.parametrize(("splits", "digests", "expected"), [c[1:] for c in CASES])
def test_leaked_rows(splits: list[str], digests: list[bytes], expected: list[int]) -> None:
    rows = leaked_test_rows(table_of(splits), digests)
    assert rows.dtype == np.int64
    assert rows.tolist() == expected


def test_a_digest_for_every_row() -> None:
    with pytest.raises(ValueError, match="zip"):
        leaked_test_rows(table_of(["train", "test"]), [b"a"])


ROWS = st.lists(st.tuples(st.sampled_from(["train", "test"]), st.sampled_from([b"", b"a", b"b"])))


@given(ROWS)
def test_it_is_what_comparing_every_pair_says(rows: list[tuple[str, bytes]]) -> None:
    train = [digest for split, digest in rows if split == "train"]
    expected = [n for n, (s, d) in enumerate(rows) if s == "test" and d and d in train]
    found = leaked_test_rows(table_of([split for split, _ in rows]), [d for _, d in rows])
    assert found.tolist() == expected


def labelled(labels: str) -> ImageTable:
    paths = tuple(f"{number}.png" for number in range(len(labels)))
    classes = tuple(sorted(set(labels)))
    return ImageTable(paths, tuple(labels), ("train",) * len(labels), classes, ())


@pytest.mark.parametrize(
    ("labels", "digests", "line"),
    [
        ("xy", [b"a", b"b"], ""),
        ("xx", [b"a", b"a"], ""),
        ("xy", [b"", b""], ""),
        (
            "zxyx",
            [b"b", b"a", b"a", b"c"],
            "1 picture has more than one label, for example 1.png ('x', 'y'); see 'offshelf audit'",
        ),
        (
            "xyyxx",
            [b"a", b"b", b"a", b"b", b"b"],
            "2 pictures have more than one label, for example 0.png ('x', 'y'); "
            "see 'offshelf audit'",
        ),
    ],
)
def test_pictures_under_two_labels_are_counted_by_their_bytes(
    labels: str, digests: list[bytes], line: str
) -> None:
    assert contradiction(labelled(labels), digests) == line
