"""Groups of rows: no fold that judges, calibrates or chooses C divides one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from offshelf.errors import DataError, HeadError, OffshelfError
from offshelf.heads.class_balance import fold_splits
from offshelf.heads.fitting.fit_head import Recipe, Trainer, decision, fit_head
from offshelf.heads.group_folds import (
    Groups,
    group_numbers,
    grouped_folds,
    groups_with_copies,
    held_out_folds,
)
from offshelf.heads.options import FOLDS, GRID
from offshelf.heads.probabilities.out_of_distribution import held_out_classes, surroundings
from offshelf.heads.probabilities.probability_model import (
    Certainty,
    ProbabilitySettings,
    fit_certainty,
)

CLASSES = ("a", "b", "c")


def scenes(
    groups: int = 8, each: int = 5
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of which those of a group are nearly the same, and groups of a class quite different."""
    draw = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), groups * each)
    member = np.repeat(np.arange(3 * groups), each)
    centres, own = 0.5 * draw.normal(size=(3, 20)), 1.5 * draw.normal(size=(3 * groups, 20))
    noise = 0.1 * draw.normal(size=(len(targets), 20))
    return (centres[targets] + own[member] + noise).astype(np.float32), targets, member


def certainty(rows: Any, groups: Any, settings: ProbabilitySettings | None = None) -> Certainty:
    trainer = Trainer(Recipe(), *rows, CLASSES, groups=groups)
    return fit_certainty(trainer, *rows, CLASSES, settings or ProbabilitySettings())


@pytest.mark.parametrize("seed", range(20))
def test_a_group_is_in_one_fold_and_each_class_stays_in_training(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n, k = int(draw.integers(20, 200)), int(draw.integers(2, 6))
    targets, groups = draw.integers(0, k, n), draw.integers(0, draw.integers(2, 40), n)
    fold = grouped_folds(targets, groups, 5, seed)
    for group in np.unique(groups):
        assert len(set(fold[groups == group]) - {-1}) <= 1
    assert set(np.unique(fold)) - {-1} == set(range(int(fold.max()) + 1))
    for held, kept in fold_splits(fold):
        assert set(targets[held]) <= set(targets[kept])
    for label in np.unique(targets):
        one = fold[targets == label]
        assert (one == -1).all() or (one >= 0).all()
        if len(np.unique(groups[targets == label])) == 1:
            assert (one == -1).all()


def test_folds_of_groups_are_even() -> None:
    _, targets, groups = scenes(groups=10, each=4)
    fold = grouped_folds(targets, groups, 5, seed=0)
    assert np.bincount(fold).tolist() == [24] * 5
    assert np.unique(fold[targets == 1], return_counts=True)[1].tolist() == [8] * 5


def test_names_of_groups() -> None:
    assert group_numbers(np.array([7, 3, 7]), 3).tolist() == [0, 1, 0]
    for groups, text in (
        (["a", "", None, float("nan")], "3 images without a group, first in row 1"),
        (["a"] * 4, "all images are of one group: two or more are needed, or none"),
    ):
        with pytest.raises(HeadError) as caught:
            group_numbers(groups, 4)
        assert str(caught.value) == text
    with pytest.raises(OffshelfError, match=r"^3 groups for 4 images|groups"):
        group_numbers(["a", "b", "c"], 4)


@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge", "lda"])
def test_c_is_the_best_of_folds_of_whole_groups(kind: str) -> None:
    features, targets, groups = scenes()
    head = fit_head(Recipe(kind=kind, c="auto"), features, targets, CLASSES, groups)
    fold = grouped_folds(targets, groups, FOLDS, seed=0)
    assert set(GRID) <= set(head.parameters["C_grid"])
    shares = []
    for c in head.parameters["C_grid"]:
        right = []
        for held, kept in fold_splits(fold):
            part = fit_head(Recipe(kind=kind, c=c), features[kept], targets[kept], CLASSES)
            right.append((decision(part, features[held]).argmax(axis=1) == targets[held]).mean())
        shares.append(right)
    np.testing.assert_allclose(head.parameters["fold_accuracies"], shares, atol=1e-9)
    chosen = head.parameters["C_grid"][int(np.mean(shares, axis=1).round(12).argmax())]
    assert head.parameters["C"] == chosen
    assert np.mean(shares) < 1
    same = fit_head(Recipe(kind=kind, c=chosen), features, targets, CLASSES)
    assert (decision(same, features) == decision(head, features)).all()


def test_heads_that_search_no_c_are_trained_as_ever() -> None:
    features, targets, groups = scenes()
    for kind in ("knn:3", "centroid"):
        one = fit_head(Recipe(kind=kind, c="auto"), features, targets, CLASSES, groups)
        other = fit_head(Recipe(kind=kind, c="auto"), features, targets, CLASSES)
        assert one.parameters == other.parameters


def test_probabilities_are_less_sure_where_groups_are_held_out() -> None:
    features, targets, groups = scenes()
    rows = features, targets
    alone, together = certainty(rows, None), certainty(rows, groups)
    trained = fit_head(Recipe(), *rows, CLASSES)
    scores = decision(trained, features)
    one, other = (found.probabilities(scores) for found in (alone, together))
    assert one is not None
    assert other is not None
    assert other.max(axis=1).mean() < one.max(axis=1).mean() - 0.01
    assert alone.unlike is not None
    assert together.unlike is not None
    assert together.unlike.n == alone.unlike.n == len(targets)


def test_distances_are_to_other_groups() -> None:
    features, targets, groups = scenes()
    alone, apart = (surroundings(features, targets, groups=each) for each in (None, groups))
    near, far = (one.held_out("neighbour_distance") for one in (alone, apart))
    assert near.max() < 0.02 < far.min()
    assert not any(np.intersect1d(groups[h], groups[k]).size for h, k in fold_splits(apart.fold))
    for kept, known, _ in held_out_classes(targets, groups):
        assert not np.intersect1d(groups[kept], groups[known]).size


def test_classes_of_a_single_group_are_told() -> None:
    features, targets, groups = scenes()
    groups = np.where(targets == 2, 99, groups)
    assert certainty((features, targets), groups).notes == (
        "a class has images that cannot say how sure to be, as no group or copy of them can be "
        "held out: 'c'",
    )
    found = certainty((features, targets), targets)
    assert found.notes[0] == (
        "no probabilities: every class has images of a single group, or copies of one, so none can "
        "be held out"
    )
    with pytest.raises(HeadError) as caught:
        fit_head(Recipe(c="auto"), features, targets, CLASSES, targets)
    assert str(caught.value) == (
        "C cannot be chosen in folds: no class has images of two groups, or two that are no "
        "copies; give a C"
    )


@pytest.mark.parametrize("groups", [5, [[1], [2]], np.zeros((2, 2))])
def test_groups_that_are_no_single_values_are_refused(groups: Any) -> None:
    with pytest.raises(DataError, match=r"^groups: one name or number for each image is needed$"):
        group_numbers(groups, 2)


COPIES = [
    ([0, 1, 2, 3], ["a", "b", "c", "d"], [0, 1, 2, 3]),
    ([3, 3, 1, 1, 0], ["a", "b", "b", "c", "d"], [1, 1, 1, 1, 0]),
    ([2, 1, 0], ["a", "b", "a"], [0, 1, 0]),
    ([2, 1, 0], ["", "", ""], [2, 1, 0]),
    (None, ["b", "a", "", "b", ""], [0, 1, 2, 0, 3]),
    (None, ["a", "a"], [0, 0]),
]


@pytest.mark.parametrize(("groups", "names", "expected"), COPIES)
def test_copies_join_groups(
    groups: list[int] | None, names: list[str], expected: list[int]
) -> None:
    given = None if groups is None else np.array(groups)
    found = groups_with_copies(given, [name.encode() for name in names])
    assert found is not None
    assert np.unique(found, return_inverse=True)[1].tolist() == expected


@pytest.mark.parametrize("groups", [None, np.array([1, 1, 0])])
def test_without_copies_groups_stay_as_they_are(groups: Groups | None) -> None:
    assert groups_with_copies(groups, [b"a", b"", b""]) is groups


def test_no_fold_divides_copies_or_groups() -> None:
    draw = np.random.default_rng(3)
    targets, groups = draw.integers(0, 3, 90), draw.integers(0, 25, 90)
    digests = [bytes([number]) for number in draw.integers(0, 70, 90)]
    for given in (None, groups):
        joined = groups_with_copies(given, digests)
        fold = held_out_folds(targets, groups=joined)
        assert (fold >= 0).sum() > 60
        for held, kept in fold_splits(fold):
            assert not {digests[row] for row in held} & {digests[row] for row in kept}
            if given is not None:
                assert not set(given[held]) & set(given[kept])


@pytest.mark.parametrize("recipe", [Recipe(kind="fc"), Recipe(normalisation="standard")])
def test_heads_trained_anew_have_the_groups_of_their_rows(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, targets, groups = scenes(groups=4, each=3)
    trainer, seen = Trainer(recipe, features, targets, CLASSES, groups=groups), []

    def fit(_: Recipe, *given: Any) -> Any:
        seen.append(given[-1])
        return trainer.head

    monkeypatch.setattr("offshelf.heads.fitting.fit_head.fit_head", fit)
    fold = held_out_folds(targets, groups=groups)
    trainer.held_out(fold)
    kept = np.flatnonzero(fold != 0)
    trainer.retrained(kept, kept)
    splits = [groups[rows] for _, rows in fold_splits(fold)]
    for found, expected in zip(seen, [*splits, groups[kept]], strict=True):
        assert found.tolist() == expected.tolist()


def test_strange_images_are_of_no_group_that_is_known() -> None:
    draw = np.random.default_rng(0)
    targets, groups = draw.integers(0, 4, 200), draw.integers(0, 30, 200)
    parts = list(held_out_classes(targets, groups))
    assert len(parts) == 4
    for kept, known, strange in parts:
        for tested in (known, strange):
            assert not np.intersect1d(groups[kept], groups[tested]).size


def test_a_group_of_all_classes_holds_nothing_strange() -> None:
    targets = np.arange(40) % 2
    assert list(held_out_classes(targets, np.zeros(40, np.int64))) == []


def test_many_groups_of_one_row_take_little_memory() -> None:
    targets, groups = np.arange(30_000) % 3_000, np.arange(30_000)
    fold = grouped_folds(targets, groups, FOLDS, seed=0)
    assert np.bincount(fold).tolist() == [6_000] * 5
