"""The parts of an audit alone: links, groups, folds, margins, classes, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from offshelf.data.lookalikes import Fingerprint
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.jobs.audit import duplicates
from offshelf.jobs.audit.doubtful_labels import LabelCheck, folds_of_copies, judge, label_findings
from offshelf.jobs.audit.duplicates import (
    Links,
    copies,
    count_pairs,
    find_links,
    identical_findings,
    near_findings,
    same_bytes,
)
from offshelf.jobs.audit.image_quality import class_findings, picture_findings
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.progress import Silent
from offshelf.report.findings import TITLES


def table_of(labels: str, splits: str = "") -> ImageTable:
    """One image per letter; splits: r is train, e is test."""
    n = len(labels)
    words = tuple("test" if letter == "e" else "train" for letter in splits or "r" * n)
    classes = tuple(sorted(set(labels)))
    return ImageTable(tuple(f"{row}.png" for row in range(n)), tuple(labels), words, classes, ())


def links_of(features: list[list[float]], hashes: list[int], **bounds: float) -> Links:
    rows = np.array(features, np.float32).reshape(len(hashes), 2)
    chosen = Bounds(**bounds)  # type: ignore[arg-type]
    return find_links(np.array(hashes, np.uint64), lambda at: rows[at], 2, chosen)


def sets(links: Links) -> list[list[int]]:
    return [part.tolist() for part in links.components()]


def test_both_hash_and_features_must_agree() -> None:
    features = [[1, 0], [1, 0.2], [0, 1], [1, 0.1]]
    # Row 2 has the hash of row 0 and other features, row 3 the features and another hash.
    links = links_of(features, [0, 1, 0, 2**63 - 1])
    assert sets(links) == [[0, 1]]
    assert links.distance.tolist() == [1]
    assert links.cosine == pytest.approx([1 / np.sqrt(1.04)])
    assert links.roots()[0] == links.roots()[1]
    assert len(set(links.roots().tolist())) == 3


def test_the_bound_is_part_of_the_range() -> None:
    features = [[1.0, 0.0], [0.6, 0.8]]
    assert sets(links_of(features, [0, 0b111], hash_distance=3, cosine=0.6)) == [[0, 1]]
    assert sets(links_of(features, [0, 0b111], hash_distance=2, cosine=0.6)) == []
    assert sets(links_of(features, [0, 0b111], hash_distance=3, cosine=0.61)) == []


def test_features_of_zeros_confirm_nothing() -> None:
    assert sets(links_of([[0, 0], [0, 0]], [5, 5])) == []


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pictures_for_a_pair(n: int) -> None:
    assert sets(links_of([[1, 1]] * n, [7] * n)) == []


def test_links_chain() -> None:
    assert sets(links_of([[1, 0]] * 4, [0, 1, 3, 2**60 - 1], hash_distance=1)) == [[0, 1, 2]]


def test_a_thousand_copies_need_few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BATCH_VALUES", 2**10)
    asked: list[int] = []

    def read(at: NDArray[np.int64]) -> NDArray[np.float32]:
        asked.append(len(at))
        return np.ones((len(at), 16), np.float32)

    links = find_links(np.zeros(1000, np.uint64), read, 16, Bounds())
    assert sets(links) == [list(range(1000))]
    assert max(asked) <= 2 * 64
    # Half a million pairs share a hash; most are never looked at.
    assert sum(asked) < 20_000


VALUES = st.lists(st.sampled_from([0, 1, 3, 7, 2**40, 2**64 - 1]), max_size=12)


@settings(deadline=None)
@given(VALUES, st.integers(0, 3), st.integers(0, 2**12 - 1))
def test_groups_are_those_of_all_pairs(values: list[int], distance: int, sides: int) -> None:
    """Against a slow union of every confirmed pair, in batches of 64 pairs and of one."""
    features = [[1.0, 0.0] if sides >> row & 1 else [0.0, 1.0] for row in range(len(values))]
    parent = list(range(len(values)))
    for j in range(len(values)):
        for i in range(j):
            x = values[i] ^ values[j]
            bits = min(x.bit_count(), (x ^ audit_links_mirror()).bit_count())
            if bits <= distance and features[i] == features[j]:
                old, new = parent[j], parent[i]
                parent = [new if p == old else p for p in parent]
    found = links_of(features, values, hash_distance=distance).roots().tolist()
    together = [[a == b for b in found] for a in found]
    assert together == [[a == b for b in parent] for a in parent]


def audit_links_mirror() -> int:
    from offshelf.data.lookalikes import MIRROR

    return MIRROR


def test_identical_files_of_three() -> None:
    table = table_of("aabb", "rere")
    digests = [b"x" * 32, b"x" * 32, b"x" * 32, b"y" * 32]
    found = identical_findings(table, same_bytes(digests), digests)
    assert len(found) == 1
    assert found[0].figures == {
        "labels": ["a", "b"],
        "in_both_splits": True,
        "sha256": (b"x" * 32).hex(),
        "pairs": 3,
        "pairs_across_splits": 2,
        "pairs_with_two_labels": 2,
    }
    assert found[0].reason == "same bytes; in both splits; under 2 labels: 'a', 'b'"
    assert count_pairs(found).pairs == 3


def test_near_groups_take_in_identical_files() -> None:
    table = table_of("aaaa", "rrre")
    groups = same_bytes([b"x", b"y", b"x", b"z"])
    assert [group.tolist() for group in groups] == [[0, 2], [1], [3]]
    # Files x and z are near: rows 0, 2 and 3.
    links = links_of([[1, 0], [0, 1], [1, 0]], [0, 0, 1])
    found = near_findings(table, groups, links)
    assert [image.path for image in found[0].images] == ["0.png", "2.png", "3.png"]
    assert found[0].severity == "error"
    assert found[0].reason == "1 bit apart, cosine 1.000; in both splits"
    alike = copies(5, groups, links)
    assert alike[0] == alike[2] == alike[3]
    assert len(set(alike.tolist())) == 3


FOLD_ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=60)


@given(FOLD_ROWS, st.integers(2, 6), st.integers(0, 5))
def test_folds_keep_copies_together(rows: list[tuple[int, int]], folds: int, seed: int) -> None:
    targets, groups = np.array(rows).T
    fold = folds_of_copies(targets, groups, folds, seed)
    assert fold.min() >= 0
    assert fold.max() < folds
    for group in set(groups.tolist()):
        assert len(set(fold[groups == group].tolist())) == 1
    assert fold.tolist() == folds_of_copies(targets, groups, folds, seed).tolist()


def test_folds_spread_every_class() -> None:
    targets = np.repeat([0, 1, 2], 20)
    fold = folds_of_copies(targets, np.arange(60), 5, 0)
    counts = np.array([np.bincount(fold[targets == k], minlength=5) for k in range(3)])
    assert counts.min() == counts.max() == 4
    assert fold.tolist() != folds_of_copies(targets, np.arange(60), 5, 1).tolist()


def check_of(
    table: ImageTable, features: NDArray[np.float32], copy: NDArray[np.int64] | None = None
) -> LabelCheck:
    rows = np.arange(len(table))
    return LabelCheck(
        table=table,
        usable=rows,
        copies=rows if copy is None else copy,
        read=lambda at: features[at],
        seed=0,
    )


def corners(labels: str, seed: int = 0) -> NDArray[np.float32]:
    """Features that tell the letters a, b, c apart."""
    draw = np.random.default_rng(seed)
    centres = np.eye(3, 8, dtype=np.float32)[["abc".index(letter) for letter in labels]]
    return (centres + draw.normal(0, 0.05, centres.shape)).astype(np.float32)


def test_wrong_labels_have_the_greatest_margins() -> None:
    true = "a" * 12 + "b" * 12 + "c" * 12 + "abc" * 3
    features = corners(true)
    given = list(true)
    given[3], given[40] = "c", "a"
    table = table_of("".join(given), "r" * 36 + "e" * 9)
    margins = judge(check_of(table, features), 5, Silent())
    assert margins.n_judged == 45
    found = label_findings(table, margins, Bounds())
    assert {f.images[0].path: f.figures["suggested"] for f in found} == {
        "3.png": "a",
        "40.png": true[40],
    }
    assert (margins.margin[np.setdiff1d(np.arange(45), [3, 40])] < 0).all()


def test_a_copy_cannot_vouch_for_a_wrong_label() -> None:
    true = "a" * 10 + "b" * 10
    features = corners(true)
    features[1] = features[0]
    given = "cc" + true[2:]
    table = table_of(given)
    apart = judge(check_of(table, features), 5, Silent())
    together = judge(check_of(table, features, np.array([0, 0, *range(2, 20)])), 5, Silent())
    # Class c is these two copies alone: in one fold there is nothing to judge them by.
    assert together.n_judged == 18
    assert np.isnan(together.margin[:2]).all()
    assert apart.n_judged == 20


def test_two_classes() -> None:
    features = corners("a" * 8 + "b" * 8)
    margins = judge(check_of(table_of("a" * 8 + "b" * 7 + "a"), features), 4, Silent())
    assert int(margins.margin.argmax()) == 15
    assert margins.rival[15] == 1


@pytest.mark.parametrize(
    ("labels", "splits"), [("aaaa", "rrrr"), ("aabb", "eeee"), ("ab", "rr"), ("aab", "rre")]
)
def test_too_little_to_judge_by(labels: str, splits: str) -> None:
    table = table_of(labels, splits)
    margins = judge(check_of(table, corners(labels)), 5, Silent())
    assert margins.n_judged == 0
    assert label_findings(table, margins, Bounds(margin=0)) == []


def test_rows_that_cannot_be_used_are_not_judged() -> None:
    labels = "a" * 6 + "b" * 6
    features = corners(labels)
    rows = np.arange(12)
    check = LabelCheck(
        table=table_of(labels), usable=rows[1:], copies=rows, read=lambda at: features[at], seed=0
    )
    margins = judge(check, 3, Silent())
    assert margins.rival[0] == -1
    assert margins.n_judged == 11


def test_class_sizes() -> None:
    table = table_of("a" * 40 + "b" * 4 + "c" * 10, "r" * 54)
    found = class_findings(table, np.arange(54), Bounds())
    assert [f.reason for f in found] == [
        "'b': 4 usable training images",
        "40 training images of 'a', 4 of 'b'",
    ]
    assert found[1].figures == {"ratio": 10.0, "largest": "a", "smallest": "b"}
    assert class_findings(table, np.arange(54), Bounds(class_size=4, imbalance=11)) == []


def print_of(**changes: float | str | bool) -> Fingerprint:
    usual = {
        "width": 100,
        "height": 80,
        "mode": "RGB",
        "coloured": True,
        "hash": 0,
        "brightness": 120.0,
        "contrast": 50.0,
        "sharpness": 500.0,
        "flat": 0.1,
        "levels": 200,
    }
    return Fingerprint(**(usual | changes))  # type: ignore[arg-type]


PRINTS = [
    ({}, None),
    ({"width": 32, "height": 32}, None),
    ({"width": 31, "height": 90}, "31 x 90 pixels: tiny"),
    ({"width": 160, "height": 40}, "160 x 40 pixels: 4.0 times as long as wide"),
    ({"width": 159, "height": 40}, None),
    ({"width": 320, "height": 200}, "320 x 200 pixels: 8 times the pixels of the median"),
    ({"width": 40, "height": 25}, "40 x 25 pixels: tiny, 1/8 of the pixels of the median"),
    ({"brightness": 39.9}, "mean grey 39.9"),
    ({"brightness": 40.0}, None),
    ({"brightness": 215.1}, "mean grey 215.1"),
    ({"contrast": 14.9, "sharpness": 1.0}, "contrast 14.9"),
    ({"sharpness": 29.9}, "sharpness 29.9"),
    ({"mode": "RGB", "coloured": False}, "1 image of 41 stored as RGB without colour"),
    ({"mode": "I;16"}, "1 image of 41 stored as I;16 (grey of more than 8 bits, scaled to 8)"),
    ({"mode": "P"}, "1 image of 41 stored as P (colours from a palette)"),
]


@pytest.mark.parametrize(("changes", "reason"), PRINTS)
def test_bounds_of_pictures(changes: dict[str, float | str | bool], reason: str | None) -> None:
    prints = {row: print_of() for row in range(40)} | {40: print_of(**changes)}
    found = picture_findings(table_of("a" * 41), prints, Bounds())
    assert [finding.reason for finding in found] == ([reason] if reason else [])
    assert all(finding.images[0].path == "40.png" for finding in found)


def test_a_mode_that_many_share_is_not_odd() -> None:
    prints = {row: print_of(mode="L" if row % 3 else "RGB") for row in range(30)}
    assert picture_findings(table_of("a" * 30), prints, Bounds()) == []


def test_no_pictures() -> None:
    assert picture_findings(table_of("ab"), {}, Bounds()) == []


def test_the_worst_comes_first() -> None:
    prints = {0: print_of(brightness=30.0), 1: print_of(brightness=5.0), 2: print_of()}
    found = picture_findings(table_of("abc"), prints, Bounds())
    assert [finding.figures["mean_grey"] for finding in found] == [5.0, 30.0]
    prints = {0: print_of(brightness=220.0), 1: print_of(brightness=250.0)}
    found = picture_findings(table_of("ab"), prints, Bounds())
    assert [finding.figures["mean_grey"] for finding in found] == [250.0, 220.0]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hash_distance", 33, "hash_distance is a number from 0 to 32, not 33"),
        ("cosine", -0.1, "cosine is a number from 0 to 1, not -0.1"),
        ("margin", float("nan"), "margin is a number from 0 to 1e+06, not nan"),
        ("folds", 1, "folds is a number from 2 to 1000, not 1"),
    ],
)
def test_bounds_have_ranges(name: str, value: float, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Bounds(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_every_kind_has_a_sentence_with_its_bound() -> None:
    sentences = Bounds(dark=17, cosine=0.77, margin=1.25, class_size=6).sentences()
    assert list(sentences) == list(TITLES)
    for kind, number in (
        ("dark", "17"),
        ("near_duplicate", "0.77"),
        ("doubtful_label", "1.25"),
        ("small_class", "6"),
    ):
        assert number in sentences[kind]
