"""The seeded stratified split, by its promises."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offshelf.data.tables.image_table import stratified_split
from offshelf.errors import DataError


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    test_size=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**40),
)
def test_promises(sizes: list[int], test_size: float, seed: int) -> None:
    labels = [f"class {c}" for c, size in enumerate(sizes) for _ in range(size)]
    names = [f"{row}.png" for row in range(len(labels))]
    splits = stratified_split(labels, names, test_size=test_size, seed=seed)
    tested = Counter(label for label, split in zip(labels, splits, strict=True) if split == "test")
    for number, size in enumerate(sizes):
        count = tested[f"class {number}"]
        assert (1 <= count <= size - 1) if size > 1 else count == 0
        assert count in (1, size - 1) or abs(count - size * test_size) <= 0.5


def test_the_order_and_other_classes_are_of_no_account() -> None:
    names = [f"{n}.png" for n in range(50)]
    alone = dict(zip(names, stratified_split(["a"] * 50, names), strict=True))
    mixed = stratified_split(["b", *["a"] * 50], ["x.png", *reversed(names)])
    assert dict(zip(reversed(names), mixed[1:], strict=True)) == alone
    assert stratified_split(["a"] * 50, names, seed=1) != stratified_split(["a"] * 50, names)


def test_most_images_keep_their_side_when_a_class_grows() -> None:
    names = [f"{n}.png" for n in range(120)]
    before = stratified_split(["a"] * 100, names[:100])
    after = stratified_split(["a"] * 120, names)[:100]
    moved = sum(a != b for a, b in zip(before, after, strict=True))
    assert moved <= 8


def test_the_same_in_every_version() -> None:
    names = [f"{n}.png" for n in range(12)]
    splits = stratified_split(["a"] * 12, names, seed=7)
    assert [n for n, split in enumerate(splits) if split == "test"] == [1, 5, 11]


@pytest.mark.parametrize("test_size", [0, 1, -0.1, 25, float("nan"), "0.2", None])
def test_test_size_out_of_range(test_size: object) -> None:
    with pytest.raises(
        DataError, match=r"test_size is a share between 0 and 1 such as 0\.25, not "
    ):
        stratified_split(["a"], ["1"], test_size=test_size)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True, None])
def test_seed_out_of_range(seed: object) -> None:
    with pytest.raises(DataError, match="seed is a whole number of 0 or more, not "):
        stratified_split(["a"], ["1"], seed=seed)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    splits = stratified_split(["a"] * 4, list("1234"), test_size=np.float32(0.5), seed=np.int64(3))  # type: ignore[arg-type]
    assert splits.count("test") == 2
