"""The path over C: what GridSearchCV finds on the same folds, and what a head records of it."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import LinearSVC

from made_features import made_features
from offshelf.errors import HeadError
from offshelf.heads.class_balance import stratified_folds
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.fitting.serialise import pack_head, unpack_head
from offshelf.heads.head import FittedHead
from offshelf.heads.kinds.linear import learn_best
from offshelf.heads.numerics.row_scaling import scale_rows, scaled_block
from offshelf.heads.options import FOLDS, GRID
from offshelf.heads.svm.newton import Problems, minimise, start
from offshelf.heads.svm.solve import COARSE, Search, make_training, search

CS = (0.01, 0.1, 1.0, 10.0, 100.0)


def _generated(k: int, n: int, dimension: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    return made_features(k, n, dimension, seed=k, informative=12, separation=0.8)


def _digits() -> tuple[np.ndarray, np.ndarray, list[str]]:
    features, targets = load_digits(return_X_y=True)
    return features[:500].astype(np.float32), targets[:500], [str(i) for i in range(10)]


def _searched(features, targets, classes, cs, folds=FOLDS, seed=0) -> tuple[Search, FittedHead]:
    training = make_training(scale_rows(features, "l2"), targets, len(classes), max(cs))
    found = search(training, cs, folds, seed)
    learned = learn_best(training, found, seed)
    return found, FittedHead("svm", tuple(classes), learned.arrays, learned.parameters, "l2")


DATA = {
    "digits": _digits,
    "wide": lambda: _generated(4, 150, 400),
    "dense": lambda: _generated(5, 200, 90),
    "two classes": lambda: _generated(2, 120, 200),
    "long": lambda: _generated(3, 400, 20),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_accuracies_and_choice_are_those_of_a_grid_search(name):
    features, targets, classes = DATA[name]()
    path, head = _searched(features, targets, classes, CS, folds=4, seed=1)
    c = head.parameters["C"]
    fold = stratified_folds(targets, 4, seed=1)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(4)]
    rows = scaled_block(features, "l2")
    grid = GridSearchCV(LinearSVC(dual=False, tol=1e-8, max_iter=5000), {"C": CS}, cv=splits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid.fit(rows, targets)
    found = np.stack([grid.cv_results_[f"split{k}_test_score"] for k in range(4)], axis=1)
    # In each fold one row more or less: scores of folds are near, not exact.
    assert np.abs(path.accuracies - found).max() <= 1.01 / np.bincount(fold).min()
    assert np.abs(path.accuracies.mean(axis=1) - grid.cv_results_["mean_test_score"]).max() < 0.005
    regret = grid.best_score_ - found[path.cs.index(c)].mean()
    assert regret <= 0.002
    scores = decision(head, features)
    reference = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=5000).fit(rows, targets)
    assert np.array_equal(scores.argmax(axis=1), reference.predict(rows))


def test_the_head_is_that_of_a_fit_at_the_chosen_c():
    features, targets, classes = _generated(4, 150, 400)
    _, head = _searched(features, targets, classes, CS)
    alone = fit_head(Recipe(c=head.parameters["C"]), features, targets, classes)
    np.testing.assert_allclose(decision(head, features), decision(alone, features), atol=1e-4)


def test_each_c_keeps_a_solution_of_its_own():
    features, targets, _ = _generated(3, 90, 200)
    training = make_training(scale_rows(features, "l2"), targets, 3, 10.0)
    found = search(training, (0.1, 1.0, 10.0), 3, seed=0)
    signs = training.signs()
    for c, solution in zip(found.cs, found.solutions, strict=True):
        exact, _ = minimise(Problems(training.gram, signs, c), start(signs), 1e-4)
        np.testing.assert_allclose(solution.scores, exact.scores, atol=COARSE)
    assert np.abs(found.solutions[0].scores - found.solutions[2].scores).max() > 3 * COARSE


def test_the_figures_are_of_the_folds():
    features, targets, classes = _generated(3, 90, 30)
    path, head = _searched(features, targets, classes, [1, 0.1, 1.0], folds=3)
    assert path.cs == (0.1, 1.0)
    assert path.accuracies.shape == (2, 3)
    assert head.parameters["C"] == path.cs[int(path.accuracies.mean(axis=1).argmax())]


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [([[0.5, 0.5], [0.9, 0.7], [0.7, 0.9]], 1), ([[1, 1], [1, 1]], 0), ([[0, 0], [0, 0.1]], 1)],
)
def test_the_best_mean_wins_and_of_equals_the_smallest_c(accuracies, best):
    values = np.array(accuracies, dtype=float)
    assert Search(tuple(range(len(values))), values, ()).best == best


def test_the_same_seed_gives_the_same_path_and_another_seed_other_folds():
    features, targets, classes = _generated(4, 150, 100)
    first, again, other = (
        _searched(features, targets, classes, (0.1, 10), seed=seed) for seed in (3, 3, 4)
    )
    assert np.array_equal(first[0].accuracies, again[0].accuracies)
    assert first[1].arrays["weight"].tobytes() == again[1].arrays["weight"].tobytes()
    assert not np.array_equal(first[0].accuracies, other[0].accuracies)


def test_auto_chooses_c_and_records_how():
    features, targets, classes = _generated(4, 150, 60)
    head = fit_head(Recipe(c="auto", seed=7), features, targets, classes)
    path, best = _searched(features, targets, classes, GRID, seed=7)
    assert head.parameters == {
        "C": best.parameters["C"],
        "seed": 7,
        "loss": "squared_hinge",
        "tolerance": 2e-5,
        "C_grid": list(GRID),
        "fold_accuracies": path.accuracies.tolist(),
    }
    assert (len(GRID), GRID[0], GRID[-1], FOLDS) == (7, 0.01, 100.0, 5)
    arrays, document = pack_head(head)
    again = unpack_head(arrays, json.loads(json.dumps(document, allow_nan=False)))
    assert again.parameters == head.parameters
    assert decision(again, features).tobytes() == decision(head, features).tobytes()


def test_a_class_with_fewer_rows_than_folds_is_a_note():
    features, targets, classes = _generated(3, 60, 20)
    kept = np.concatenate([np.flatnonzero(targets < 2), np.flatnonzero(targets == 2)[:1]])
    head = fit_head(Recipe(c="auto"), features[kept], targets[kept], classes)
    assert head.notes == ("svm: a class has only 1 row for the 5 folds that chose C",)


@pytest.mark.parametrize("folds", [1, 31, 2.5])
def test_folds_that_do_not_suit_the_rows_are_refused_in_one_line(folds):
    with pytest.raises(HeadError) as caught:
        _searched(*_generated(3, 30, 12), CS, folds=folds)
    message = f"folds must be a whole number from 2 to the 30 rows, got {folds!r}"
    assert str(caught.value) == message


@given(counts=st.lists(st.integers(1, 20), min_size=2, max_size=6), data=st.data())
def test_folds_are_even_and_spread_every_class(counts, data):
    targets = np.repeat(np.arange(len(counts)), counts)
    targets = np.random.default_rng(0).permutation(targets)
    folds = data.draw(st.integers(2, len(targets)))
    fold = stratified_folds(targets, folds, seed=data.draw(st.integers(0, 100)))
    sizes = np.bincount(fold, minlength=folds)
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1
    for k in range(len(counts)):
        of_class = np.bincount(fold[targets == k], minlength=folds)
        assert of_class.max() - of_class.min() <= 1
