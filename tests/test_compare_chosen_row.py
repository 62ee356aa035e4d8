"""Which row of a comparison becomes a model, and what is said of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from made_comparisons import judged, made_row
from offshelf.jobs.compare.chosen_row import ChosenRow, chosen_row
from offshelf.jobs.compare.comparison_rows import Row

BIG, SMALL = 40_000_000, 10_000_000


def rows(**changes: Any) -> tuple[Row, ...]:
    """Return the best row, one that is faster, one that is smaller, and one that is worse."""
    return judged(
        [
            made_row(190, ms=50.0, size_of_model=BIG, **changes),
            made_row(188, head="ridge", ms=10.0, size_of_model=2 * BIG),
            made_row(187, head="lda", ms=30.0, size_of_model=SMALL),
            made_row(90, head="knn", ms=1.0, size_of_model=1),
        ]
    )


def head_of(found: ChosenRow) -> str:
    assert found.row is not None
    return found.row.recipe.head


def test_the_best_row_is_taken_without_a_word() -> None:
    found = chosen_row(rows())
    assert (head_of(found), found.title, found.notes) == ("svm", "the best row", ())


def test_the_fastest_that_cannot_be_told_from_the_best() -> None:
    found = chosen_row(rows(), "speed")
    assert head_of(found) == "ridge"
    assert found.title == "the fastest row that cannot be told from the best"
    assert found.notes == (
        "ridge: the fastest of 3 that cannot be told from the best row, 10 ms for an image in "
        "place of 50 ms for an image; it gives up 1.00 points: 94.00 % in place of 95.00 % "
        "(p = 0.500)",
    )


def test_the_smallest_that_cannot_be_told_from_the_best() -> None:
    found = chosen_row(rows(), "size")
    assert head_of(found) == "lda"
    assert found.notes == (
        "lda: the smallest of 3 that cannot be told from the best row, 10.0 MB in place of "
        "40.0 MB; it gives up 1.50 points: 93.50 % in place of 95.00 % (p = 0.500)",
    )


def test_among_equals_the_most_accurate_then_the_fastest_then_the_first() -> None:
    same = {"ms": 5.0, "size_of_model": SMALL}
    found = judged([made_row(190, ms=9.0, size_of_model=BIG), made_row(187, head="lda", **same)])
    better = judged([*found, made_row(188, head="ridge", **same)])
    assert head_of(chosen_row(better, "speed")) == "ridge"
    faster = judged([*better, made_row(188, head="knn", **(same | {"ms": 4.0}))])
    assert head_of(chosen_row(faster, "size")) == "knn"
    first = judged([made_row(190, **same), made_row(190, head="ridge", **same)])
    assert [head_of(chosen_row(first, word)) for word in ("accuracy", "speed")] == ["svm", "svm"]


def test_the_best_row_may_be_the_fastest_or_the_only_one() -> None:
    two = judged([made_row(190, ms=1.0), made_row(189, head="ridge", ms=2.0)])
    assert chosen_row(two, "speed").notes == (
        "the best row is also the fastest of the 2 that cannot be told from it",
    )
    alone = judged([made_row(190), made_row(90, head="ridge", ms=2.0)])
    assert chosen_row(alone, "size").notes == (
        "no other row that fit can make is as good as the best one",
    )


def test_an_unknown_speed_is_said() -> None:
    unknown = judged([made_row(190, ms=None), made_row(189, head="ridge", ms=None)])
    assert chosen_row(unknown, "speed").notes == (
        "no row's speed is known, so the most accurate was taken",
    )
    one = judged([made_row(190, ms=None), made_row(189, head="ridge", ms=2.0)])
    (note,) = chosen_row(one, "speed").notes
    assert "2 ms for an image in place of an unknown time" in note


@pytest.mark.parametrize("prefer", ["accuracy", "speed", "size"])
def test_a_row_that_fit_cannot_make_is_never_taken(prefer: str) -> None:
    found = chosen_row(rows(scaling="none"), prefer)
    assert head_of(found) == {"accuracy": "ridge", "speed": "ridge", "size": "lda"}[prefer]
    only = judged([made_row(190, scaling="none")])
    assert chosen_row(only, prefer).row is None


def test_a_worse_row_is_taken_where_fit_can_make_no_better() -> None:
    found = chosen_row(judged([made_row(190, scaling="none"), made_row(90, ms=1.0)]), "speed")
    assert found.title == "the best row that fit can make"
    assert found.notes == (
        "fit cannot make the best row: it always scales pixels as belongs to the weights; the "
        "command makes efficientnet_lite0 penultimate, svm, C = 1: 45.00 %",
    )


def test_a_row_without_a_head_is_never_taken() -> None:
    failed = dataclasses.replace(made_row(1), score=None, cost=None, verdict=None, problem="no")
    assert head_of(chosen_row((*rows(), failed), "size")) == "lda"
