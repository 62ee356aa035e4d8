"""Nearest neighbours: scikit-learn's votes, and the k that really leaving rows out prefers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from made_features import made_features
from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.kinds.knn import SIZES, _smallest
from offshelf.heads.numerics.row_scaling import scaled_block

SHAPES = pytest.mark.parametrize(("n", "dimension"), [(90, 12), (40, 60)], ids=["long", "wide"])


def _model(k: int, rows: np.ndarray, targets: np.ndarray) -> KNeighborsClassifier:
    model = KNeighborsClassifier(k, weights="distance", algorithm="brute")
    return model.fit(rows, targets)


@pytest.mark.slow
@SHAPES
@pytest.mark.parametrize("k", [1, 2, 7, 40])
@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_shares_of_votes_are_those_of_scikit_learn(n, dimension, k, normalisation):
    features, targets, classes = made_features(3, n, dimension)
    head = fit_head(
        Recipe(kind=f"knn:{k}", normalisation=normalisation), features, targets, classes
    )
    other = made_features(3, 30, dimension, seed=9)[0]
    expected = _model(k, scaled_block(features, normalisation), targets)
    shares = decision(head, other)
    np.testing.assert_allclose(
        shares, expected.predict_proba(scaled_block(other, normalisation)), atol=1e-5
    )
    assert np.array_equal(
        shares.argmax(axis=1), expected.predict(scaled_block(other, normalisation))
    )


def test_a_training_row_is_its_own_nearest_and_decides_alone():
    features, targets, classes = made_features(3, 60, 20)
    shares = decision(fit_head(Recipe(kind="knn:9"), features, targets, classes), features)
    np.testing.assert_allclose(shares, np.eye(3)[targets], atol=1e-6)


@pytest.mark.slow
@SHAPES
def test_the_number_is_chosen_by_leaving_out_each_row(n, dimension):
    features, targets, classes = made_features(3, n, dimension)
    head = fit_head(Recipe(kind="knn"), features, targets, classes)
    rows = scaled_block(features, "l2")
    expected = []
    for k in SIZES:
        guesses = [
            _model(k, np.delete(rows, i, axis=0), np.delete(targets, i)).predict(rows[[i]])[0]
            for i in range(n)
        ]
        expected.append(float(np.mean(np.array(guesses) != targets)))
    assert head.parameters["k_grid"] == list(SIZES)
    np.testing.assert_allclose(head.parameters["left_out_errors"], expected)
    assert head.parameters["k"] == SIZES[int(np.argmin(expected))]
    assert head.parameters["left_out_error"] == pytest.approx(min(expected))


def test_few_rows_have_few_neighbours_to_choose_from():
    head = fit_head(Recipe(kind="knn"), np.eye(4), np.array([0, 0, 1, 1]), ["a", "b"])
    assert head.parameters["k_grid"] == [1, 3]


def test_balanced_votes_are_over_the_number_of_rows():
    features = np.array([[0.0], [0.9], [1.0], [1.1]])
    targets = np.array([0, 1, 1, 1])
    asked = np.array([[0.4]])
    plain, balanced = (
        decision(
            fit_head(
                Recipe(kind="knn:4", normalisation="none", class_weight=weight),
                features,
                targets,
                "ab",
            ),
            asked,
        )[0]
        for weight in (None, "balanced")
    )
    votes = np.array([1 / 0.4, 1 / 0.5 + 1 / 0.6 + 1 / 0.7])
    np.testing.assert_allclose(plain, votes / votes.sum(), rtol=1e-5)
    votes /= [1, 3]
    np.testing.assert_allclose(balanced, votes / votes.sum(), rtol=1e-5)


def test_of_equals_the_first_are_the_smallest():
    values = np.array([[2.0, 1.0, 1.0, 1.0, 0.0], [5.0, 5.0, 5.0, 5.0, 5.0]])
    assert _smallest(values, 3).tolist() == [[1, 2, 4], [0, 1, 2]]


def test_more_neighbours_than_rows_are_one_line():
    with pytest.raises(HeadError) as error:
        fit_head(Recipe(kind="knn:5"), np.eye(4), np.array([0, 0, 1, 1]), ["a", "b"])
    assert str(error.value) == "head 'knn:5' needs 5 training rows, got 4"
