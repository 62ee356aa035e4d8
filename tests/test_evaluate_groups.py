"""Groups of images: where they come from, and that none is on both sides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offshelf.data.tables.image_table import ImageTable
from offshelf.measurement.group_interval import group_interval
from offshelf.measurement.metrics import wilson
from offshelf.measurement.splits.image_groups import groups_by_column, groups_by_pattern
from offshelf.measurement.splits.protocol import given_split, k_fold, repeats
from refusals import refused


def table_of(rows: list[tuple[str, str, str]]) -> tuple[ImageTable, tuple[str, ...]]:
    """Rows of class, group, split; the name of an image ends in its number."""
    paths = tuple(f"/d/{label}/{group}-{n}.png" for n, (label, group, _) in enumerate(rows))
    labels, groups, splits = zip(*rows, strict=True)
    return ImageTable(paths, labels, splits, tuple(sorted(set(labels))), ()), groups


def pure(sizes: dict[str, list[int]]) -> tuple[ImageTable, tuple[str, ...]]:
    """Groups that belong to one class each, by their sizes."""
    return table_of(
        [
            (label, f"{label}{number}", "train")
            for label, found in sizes.items()
            for number, size in enumerate(found)
            for _ in range(size)
        ]
    )


@given(data=st.data(), k=st.integers(2, 4), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_folds_keep_groups_together(data, k, seed):
    sizes = st.lists(st.integers(1, 6), min_size=4, max_size=9)
    table, groups = pure({f"c{i}": data.draw(sizes) for i in range(data.draw(st.integers(1, 4)))})
    folds = k_fold(table, k, seed=seed, groups=groups)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(table)))
    for fold in folds:
        sides = [{groups[row] for row in rows} for rows in (fold.train, fold.test)]
        assert not sides[0] & sides[1]
        for rows in (fold.train, fold.test):
            assert {table.labels[row] for row in rows} == set(table.classes)


def test_folds_of_groups_are_balanced():
    table, groups = pure({"a": [8, 4, 4, 3, 3, 2], "b": [1] * 12})
    counts = [
        Counter(table.labels[row] for row in fold.test) for fold in k_fold(table, 3, groups=groups)
    ]
    assert [count["b"] for count in counts] == [4, 4, 4]
    assert sorted(count["a"] for count in counts) == [7, 8, 9]


def test_groups_that_mix_classes_stay_together_too():
    draw = np.random.default_rng(1)
    rows = [
        (str(draw.choice(["a", "b", "c"])), f"g{draw.integers(30)}", "train") for _ in range(300)
    ]
    table, groups = table_of(rows)
    for fold in (*k_fold(table, 5, groups=groups), *repeats(table, 30, 4, groups=groups)):
        assert not {groups[row] for row in fold.train} & {groups[row] for row in fold.test}
        assert {table.labels[row] for row in fold.test} == {"a", "b", "c"}
    for fold in repeats(table, 30, 4, groups=groups):
        assert Counter(table.labels[row] for row in fold.train) == {"a": 30, "b": 30, "c": 30}


@given(data=st.data(), n=st.integers(1, 8), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_repeats_of_groups_train_with_n_and_test_other_groups(data, n, seed):
    sizes = st.lists(st.integers(1, 4), min_size=12, max_size=16)
    table, groups = pure({f"c{i}": data.draw(sizes) for i in range(3)})
    for fold in repeats(table, n, 3, seed=seed, groups=groups):
        assert Counter(table.labels[row] for row in fold.train) == dict.fromkeys(table.classes, n)
        assert not {groups[row] for row in fold.train} & {groups[row] for row in fold.test}
        assert {table.labels[row] for row in fold.test} == set(table.classes)


def test_the_order_of_rows_does_not_move_a_group():
    table, groups = pure({"a": [3, 2, 2, 1, 1], "b": [2, 2, 2, 2, 2]})
    order = np.random.default_rng(0).permutation(len(table)).tolist()
    shuffled = ImageTable(
        tuple(table.paths[i] for i in order),
        tuple(table.labels[i] for i in order),
        table.splits,
        table.classes,
        (),
    )
    mixed = tuple(groups[i] for i in order)
    for make in (k_fold, lambda t, **more: repeats(t, 3, 5, **more)):
        plain = make(table, groups=groups, seed=4)
        moved = make(shuffled, groups=mixed, seed=4)
        for one, other in zip(plain, moved, strict=True):
            assert {table.paths[i] for i in one.test} == {shuffled.paths[i] for i in other.test}
            assert {table.paths[i] for i in one.train} == {shuffled.paths[i] for i in other.train}
    assert any(
        set(one.test) != set(other.test)
        for one, other in zip(
            repeats(table, 3, 5, groups=groups, seed=4),
            repeats(table, 3, 5, groups=groups, seed=5),
            strict=True,
        )
    )


NAMES = ImageTable(
    ("/d/cat/ann-1.png", "/d/cat/ann-2.png", "/d/dog/bob-1.png"),
    ("cat", "cat", "dog"),
    ("train",) * 3,
    ("cat", "dog"),
    (),
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"([a-z]+)-\d", ("ann", "ann", "bob")),
        (r"[a-z]+-", ("ann-", "ann-", "bob-")),
        (r"(\w+)/(\w+)", ("cat/ann", "cat/ann", "dog/bob")),
        (r"-(1)|-(2)", ("1/", "/2", "1/")),
    ],
)
def test_a_pattern_names_the_groups(pattern, expected):
    assert groups_by_pattern(NAMES, pattern) == expected


def test_a_column_names_the_groups(tmp_path):
    table = ImageTable(
        tuple(str(tmp_path / name) for name in ("a 1.png", "b/2.png")),
        ("x", "y"),
        ("train",) * 2,
        (),
        (),
    )
    file = tmp_path / "groups.csv"
    file.write_text("Person;path;label\nann;b/2.png;y\nbob;./a 1.png;x\n\ncarl;c.png;x\n")
    assert groups_by_column(table, file, "person") == ("bob", "ann")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = {"path": ["a 1.png", "b/2.png"], "person": [7, 8]}
    parquet.write_table(pyarrow.table(cells), tmp_path / "groups.parquet")
    assert groups_by_column(table, tmp_path / "groups.parquet", "Person") == ("7", "8")


def test_groups_that_cannot_be_are_refused_in_one_line():
    table, groups = pure({"a": [2, 2, 2], "b": [3, 3, 3, 3]})
    assert refused(lambda: k_fold(table, 4, groups=groups)) == (
        "too few groups: 4 folds need 4 groups in each class, but 'a' has 3: choose at most 3"
    )
    assert refused(lambda: repeats(table, 5, groups=groups)) == (
        "too few groups: 5 training images per class leave none of the 3 groups of 'a' to test: "
        "choose at most 4"
    )
    assert refused(lambda: k_fold(table, 2, groups=groups[1:])) == (
        "17 groups but 18 images: need one each"
    )
    assert refused(lambda: k_fold(table, 2, groups=("", *groups[1:]))) == (
        "1 image without a group, first in row 0"
    )
    split, members = table_of([("a", "g", "train"), ("a", "g", "test"), ("b", "h", "train")])
    assert refused(lambda: given_split(split, groups=members)) == (
        "the given split has 1 group on both sides: 'g'; "
        "choose k-fold or repeats, which keep groups together"
    )


def test_groups_that_tie_all_images_of_a_class_are_refused():
    rows = [("a", "g0", "train"), ("b", "g0", "train")] * 3 + [
        ("a", "g1", "train"),
        ("b", "g1", "train"),
    ]
    table, groups = table_of(rows)
    assert len(k_fold(table, 2, groups=groups)) == 2
    assert "too few groups" in refused(lambda: k_fold(table, 3, groups=groups))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "(",
            "'(' is not a regular expression for groups: missing ), unterminated subpattern at "
            "position 0",
        ),
        (
            "ann",
            "the pattern for groups 'ann' finds nothing in 1 name of 3, first in 'dog/bob-1.png': "
            "it has to find a group in every name",
        ),
        (
            "x*",
            "the pattern for groups 'x*' finds nothing in 3 names of 3, first in 'cat/ann-1.png': "
            "it has to find a group in every name",
        ),
    ],
)
def test_a_pattern_that_finds_no_group_is_refused(pattern, message):
    assert refused(lambda: groups_by_pattern(NAMES, pattern)) == message


def test_a_column_is_read_as_the_table_of_images_is(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    table = ImageTable((str(tmp_path / "in" / "a.png"),), ("x",), ("train",), ("x",), ())
    file = tmp_path / "groups.csv"
    file.write_text(f"sep=;\npath;person;caption\nin\\a.png;ann;{'x' * 200_000}\n")
    assert groups_by_column(table, file, "person") == ("ann",)


def test_a_column_that_does_not_fit_is_refused(tmp_path):
    table = ImageTable((str(tmp_path / "a.png"),), ("x",), ("train",), ("x",), ())
    file = tmp_path / "groups.csv"
    cases = {
        "path,person\nb.png,ann\n": f"{file}: no 'person' for 1 image of 1: '{tmp_path / 'a.png'}'",
        "path,person\na.png,\n": f"{file}: no 'person' for 1 image of 1: '{tmp_path / 'a.png'}'",
        "path,person\na.png,ann\na.png,bob\n": f"{file}: 'a.png' is in two groups of 'person'",
        "path,persn\na.png,ann\n": (
            f"{file}: has no column 'person'; its columns are 'path', 'persn'. "
            "Did you mean 'persn'?"
        ),
        "path,person,Person\na.png,ann,bob\n": (
            f"{file}: has more than one column 'person'; its columns are "
            "'path', 'person', 'Person'. Did you mean 'Person'?"
        ),
        "path,person\na.png\n": f"{file}: row 2 has 1 cell, the header has 2",
        'path,person\na.png,"x\n': f"{file}: row 2 is not valid CSV: a quote is not closed",
        "": f"{file}: the file is empty",
    }
    for text, message in cases.items():
        file.write_text(text)
        assert refused(lambda: groups_by_column(table, file, "person")) == message
    missing = tmp_path / "none.csv"
    assert refused(lambda: groups_by_column(table, missing, "person")) == (
        f"{missing}: cannot be read: No such file or directory"
    )
    for name in ("none.parquet", "bad.parquet"):
        (tmp_path / "bad.parquet").write_bytes(b"not parquet")
        what = "does not exist" if name[0] == "n" else "is not a Parquet file, or it is damaged"
        parquet = tmp_path / name
        assert refused(lambda: groups_by_column(table, parquet, "person")) == f"{parquet}: {what}"  # noqa: B023


def test_what_no_smaller_number_mends_is_said():
    table, groups = pure({"a": [6], "b": [2, 2, 2]})
    end = "helps; leave the class out, or name smaller groups"
    assert refused(lambda: k_fold(table, 2, groups=groups)) == (
        f"too few groups: 2 folds need 2 groups in each class, but 'a' has 1: no smaller number of "
        f"folds {end}"
    )
    assert refused(lambda: repeats(table, 2, groups=groups)) == (
        "too few groups: 2 training images per class leave none of the 1 group of 'a' to test: no "
        f"smaller number of images {end}"
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_number_that_is_advised_can_be_had(seed):
    table, groups = pure({"a": [3, 2, 4], "b": [3, 3, 3, 3]})
    text = refused(lambda: repeats(table, 8, 5, seed=seed, groups=groups))
    advised = int(text.rpartition(" ")[2])
    assert 4 <= advised < 8
    assert len(repeats(table, advised, 5, seed=seed, groups=groups)) == 5


@pytest.mark.parametrize(
    ("groups", "each", "alike"), [(9, 5, 0.6), (20, 5, 0.6), (40, 5, 0.3), (100, 1, 0.01)]
)
def test_an_interval_over_groups_holds_the_share(groups: int, each: int, alike: float):
    """As often as it says, where one over images does not: of made-up groups with a known share."""
    draw, spread = np.random.default_rng(0), 1 / alike - 1
    member = np.repeat(np.arange(groups), each)
    held, plain = [], []
    for _ in range(400):
        shares = draw.beta(0.75 * spread, 0.25 * spread, groups)
        right = draw.random(len(member)) < shares[member]
        low, high = group_interval(right, member.tolist())
        held.append(low <= 0.75 <= high)
        low, high = wilson(int(right.sum()), len(right))
        plain.append(low <= 0.75 <= high)
    assert 0.92 < np.mean(held) < 0.98
    assert each == 1 or np.mean(plain) < 0.88


def test_an_interval_over_groups_at_its_ends():
    every = np.ones(30, bool)
    low, high = group_interval(every, [k // 5 for k in range(30)])
    assert high == 1.0
    assert low < wilson(6, 6)[0] < wilson(30, 30)[0]
    assert group_interval(~every, [k // 5 for k in range(30)])[0] == 0.0
    assert group_interval(every, ["a"] * 30) is None
