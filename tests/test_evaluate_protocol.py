"""Folds: who trains and who is tested, from a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.measurement.splits.image_groups import image_names
from offshelf.measurement.splits.protocol import Fold, given_split, k_fold, repeats, subsets


def make_table(sizes: dict[str, int], root: str = "/data", shift: int = 0) -> ImageTable:
    """One row per image; every third one is a test image."""
    rows = [
        (f"{root}/{label}/{number:03}.png", label, "test" if number % 3 == 2 else "train")
        for label, size in sizes.items()
        for number in range(shift, shift + size)
    ]
    paths, labels, splits = zip(*rows, strict=True)
    return ImageTable(paths, labels, splits, tuple(sorted(sizes)), ())


def reordered(table: ImageTable, order: list[int]) -> ImageTable:
    pick = [tuple(values[row] for row in order) for values in (table.paths, table.labels)]
    splits = tuple(table.splits[row] for row in order)
    return ImageTable(pick[0], pick[1], splits, table.classes, ())


def by_path(table: ImageTable, folds: tuple[Fold, ...]) -> list[tuple[set[str], set[str]]]:
    return [
        ({table.paths[i] for i in fold.train}, {table.paths[i] for i in fold.test})
        for fold in folds
    ]


def per_class(table: ImageTable, rows: np.ndarray) -> Counter[str]:
    return Counter(table.labels[row] for row in rows)


SIZES = {"a": 11, "b": 7, "c": 23}
TABLE = make_table(SIZES)


def test_a_fold_is_sorted_and_cannot_be_changed():
    fold = Fold(np.array([3, 1]), [2])
    assert fold.train.tolist() == [1, 3]
    assert fold.test.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        fold.train[0] = 9


def test_the_given_split_is_that_of_the_table():
    (fold,) = given_split(TABLE)
    assert {TABLE.splits[row] for row in fold.train} == {"train"}
    assert {TABLE.splits[row] for row in fold.test} == {"test"}
    assert len(fold.train) + len(fold.test) == len(TABLE)


@given(
    sizes=st.lists(st.integers(5, 40), min_size=1, max_size=6),
    k=st.integers(2, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_k_folds_test_every_image_once_and_are_stratified(sizes, k, seed):
    table = make_table({f"c{i}": size for i, size in enumerate(sizes)})
    folds = k_fold(table, k, seed=seed)
    assert len(folds) == k
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(table)))
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(len(table)))
    for label, size in Counter(table.labels).items():
        shares = {per_class(table, fold.test)[label] for fold in folds}
        assert shares <= {size // k, -(-size // k)}


def test_the_remainders_of_the_classes_do_not_all_fall_to_the_first_fold():
    table = make_table({f"c{i}": 6 for i in range(40)})
    sizes = [len(fold.test) for fold in k_fold(table, 5)]
    assert sum(sizes) == 240
    assert max(sizes) - min(sizes) < 20  # without offsets the first fold has 40 more


@pytest.mark.parametrize("n", [1, 4, 6])
def test_repeats_take_n_of_each_class_and_test_the_rest(n):
    folds = repeats(TABLE, n, 8, seed=3)
    assert len(folds) == 8
    for fold in folds:
        assert per_class(TABLE, fold.train) == dict.fromkeys(SIZES, n)
        assert sorted([*fold.train, *fold.test]) == list(range(len(TABLE)))
    assert len({tuple(fold.train) for fold in folds}) == 8


@pytest.mark.slow
def test_every_image_has_the_same_chance_to_train():
    table = make_table({"a": 20, "b": 20})
    taken = np.zeros(40)
    for fold in repeats(table, 5, 2000):
        taken[fold.train] += 1
    # Binomial(2000, 1/4): mean 500, deviation 19.4; five of them is 1 in 10^6.
    assert np.abs(taken - 500).max() < 97


MAKERS = {
    "k-fold": lambda table, **more: k_fold(table, 4, **more),
    "repeats": lambda table, **more: repeats(table, 5, 3, **more),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_same_seed_is_the_same_whatever_the_order_and_the_place(make):
    expected = by_path(TABLE, make(TABLE, seed=5))
    order = np.random.default_rng(0).permutation(len(TABLE)).tolist()
    shuffled = reordered(TABLE, order)
    assert by_path(shuffled, make(shuffled, seed=5)) == expected
    elsewhere = make_table(SIZES, root="/media/other/data")
    found = by_path(elsewhere, make(elsewhere, seed=5))
    moved = [[{p.replace("/media/other", "") for p in side} for side in fold] for fold in found]
    assert moved == [list(fold) for fold in expected]
    assert by_path(TABLE, make(TABLE, seed=6)) != expected


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_another_class_more_or_less_moves_no_image(make):
    more = make_table(SIZES | {"aa": 9, "z": 30})
    wider = by_path(more, make(more))
    for (train, test), (train_more, test_more) in zip(
        by_path(TABLE, make(TABLE)), wider, strict=True
    ):
        assert train <= train_more
        assert test <= test_more


def test_a_smaller_n_is_part_of_a_larger_one():
    for small, large in zip(repeats(TABLE, 2, 4), repeats(TABLE, 6, 4), strict=True):
        assert set(small.train) < set(large.train)


def test_folds_inside_a_training_set_stay_inside():
    (outer,) = given_split(TABLE)
    for fold in k_fold(TABLE, 3, rows=outer.train):
        assert sorted([*fold.train, *fold.test]) == outer.train.tolist()
    for fold in repeats(TABLE, 2, 2, rows=outer.train):
        assert set(fold.train) | set(fold.test) == set(outer.train)


def test_subsets_are_nested_and_keep_the_test_set():
    (outer,) = given_split(TABLE)
    draws = subsets(TABLE, outer, [1, 3, 5], times=4, seed=2)
    assert [len(draw) for draw in draws] == [4, 4, 4]
    for size, row in zip([1, 3, 5], draws, strict=True):
        for fold in row:
            assert per_class(TABLE, fold.train) == dict.fromkeys(SIZES, size)
            assert np.array_equal(fold.test, outer.test)
            assert set(fold.train) <= set(outer.train)
    for small, middle in zip(draws[0], draws[1], strict=True):
        assert set(small.train) < set(middle.train)
    assert len({tuple(fold.train) for fold in draws[1]}) > 1


def test_image_names_do_not_depend_on_the_place():
    assert image_names(["/a/b/x/1.png", "/a/b/xy/1.png"]) == ("x/1.png", "xy/1.png")
    assert image_names(["x/1.png", "y/1.png"]) == ("x/1.png", "y/1.png")
    assert image_names(["/1.png", "/2.png"]) == ("1.png", "2.png")
    assert image_names([]) == ()


UNLABELLED = ImageTable(("a.png",), ("",), ("test",), (), ())
REFUSED = {
    "k too large": (
        lambda: k_fold(TABLE, 8),
        "8 folds are more than the 7 images of the smallest class 'b': choose at most 7",
    ),
    "a single image": (
        lambda: k_fold(make_table({"a": 5, "b": 1})),
        "5 folds are more than the 1 image of the smallest class 'b': "
        "leave the class out or add images",
    ),
    "k of 1": (lambda: k_fold(TABLE, 1), "k is a whole number of 2 or more, not 1"),
    "k of text": (lambda: k_fold(TABLE, "5"), "k is a whole number of 2 or more, not '5'"),
    "seed": (lambda: k_fold(TABLE, seed=-1), "seed is a whole number of 0 or more, not -1"),
    "n too large": (
        lambda: repeats(TABLE, 100),
        "100 training images per class and one to test cannot be taken from 'b', which has 7: "
        "choose at most 6",
    ),
    "n leaves none": (
        lambda: repeats(TABLE, 7),
        "7 training images per class and one to test cannot be taken from 'b', which has 7: "
        "choose at most 6",
    ),
    "n of a single image": (
        lambda: repeats(make_table({"a": 5, "b": 1}), 1),
        "1 training image per class and one to test cannot be taken from 'b', which has 1: "
        "leave the class out",
    ),
    "n of 0": (lambda: repeats(TABLE, 0), "n per class is a whole number of 1 or more, not 0"),
    "times": (lambda: repeats(TABLE, 1, 0), "repeats is a whole number of 1 or more, not 0"),
    "subset too large": (
        lambda: subsets(TABLE, given_split(TABLE)[0], [2, 9]),
        "9 training images per class cannot be taken from 'b', which has 5: choose at most 5",
    ),
    "no sizes": (
        lambda: subsets(TABLE, given_split(TABLE)[0], []),
        "no sizes: name at least one number of training images per class",
    ),
    "no labels": (
        lambda: k_fold(UNLABELLED),
        "the images have no labels: a protocol needs the class of each image",
    ),
    "no images": (
        lambda: k_fold(TABLE, rows=np.array([], np.int64)),
        "no images: a protocol needs at least two of each class",
    ),
    "no train side": (
        lambda: given_split(UNLABELLED),
        "the given split has no train images: choose k-fold or repeats",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_split_is_refused_in_one_line(case):
    call, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message
