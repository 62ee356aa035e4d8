"""Class weights: every head weighs as scikit-learn's does, and rare classes are found."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_class_weight

from made_features import made_features, softmax
from offshelf.heads.class_balance import class_weights
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.numerics.row_scaling import scaled_block
from offshelf.heads.svm import solve
from offshelf.heads.svm.gram import DenseGram, FactoredGram
from offshelf.heads.svm.newton import Problems, minimise, start

SHAPES = pytest.mark.parametrize(
    ("n", "dimension"), [(120, 12), (60, 80)], ids=["factored", "dense"]
)
C = pytest.mark.parametrize("c", [0.01, 1.0, 100.0])


def test_weights_are_those_of_scikit_learn():
    targets = np.repeat([0, 1, 2], [5, 1, 30])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(class_weights(targets, 3, "balanced"), expected)


@SHAPES
@C
@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_svm_is_the_balanced_linear_svc(n, dimension, k, c):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    rows = scaled_block(features, "l2")
    model = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=20_000, class_weight="balanced")
    expected = model.fit(rows, targets).decision_function(rows)
    head = fit_head(Recipe(c=c, class_weight="balanced"), features, targets, classes)
    scores = decision(head, features)
    assert head.notes == ()
    assert head.parameters["class_weight"] == "balanced"
    np.testing.assert_allclose(scores[:, 1] if k == 2 else scores, expected, atol=1e-4)


def test_the_balanced_svm_searches_c_with_its_weights():
    features, targets, classes = made_features(3, 80, 20, uneven=True)
    head = fit_head(Recipe(c="auto", class_weight="balanced"), features, targets, classes)
    c = head.parameters["C"]
    fixed = fit_head(Recipe(c=c, class_weight="balanced"), features, targets, classes)
    np.testing.assert_allclose(decision(head, features), decision(fixed, features), atol=1e-4)


@pytest.mark.parametrize("direct_size", [0, 10, 1000], ids=["steps", "mixed", "direct"])
@pytest.mark.parametrize("c", [0.1, 50.0])
def test_each_row_may_have_its_own_cost(direct_size, c):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(60, 25)) / 5
    targets, costs = draw.choice([-1.0, 1.0], (4, 60)), draw.uniform(0.1, 10, (4, 60))
    gram = DenseGram(rows @ rows.T + 1)
    gram.direct_size = direct_size
    problems = Problems(gram, targets, c, costs=costs)
    point, found = minimise(problems, start(targets), 1e-9)
    assert found
    lacking = point.coefficients - 2 * c * costs * targets * problems.slack(point.scores)
    assert np.abs(lacking).max() < 1e-5 * max(1, c)


@pytest.mark.parametrize("shape", [(6, 20), (40, 5)])
def test_both_forms_of_the_inner_products_solve_with_a_diagonal(shape):
    draw = np.random.default_rng(0)
    rows, ridge = draw.normal(size=shape), draw.uniform(0.1, 2, shape[0])
    wanted, chosen = draw.normal(size=shape[0]), np.arange(shape[0])
    whole = rows @ rows.T + 1
    expected = np.linalg.solve(whole + np.diag(ridge), wanted)
    radius = float(np.linalg.norm(rows, axis=1).max())
    for gram in (DenseGram(whole), FactoredGram(rows, np.ones(shape[0]), radius)):
        np.testing.assert_allclose(gram.solve(chosen, wanted, ridge), expected, atol=1e-8)


def test_costs_of_one_change_nothing():
    features, targets, _ = made_features(3, 60, 80)
    from offshelf.heads.numerics.row_scaling import scale_rows

    rows = scale_rows(features, "l2")
    plain = solve.make_training(rows, targets, 3, 1.0)
    assert plain.costs() == 1.0
    even = solve.Training(rows, plain.gram, targets, plain.positives, np.ones(3))
    np.testing.assert_allclose(solve.solve(even, 1.0)[0], solve.solve(plain, 1.0)[0], atol=1e-6)


@pytest.mark.slow
@SHAPES
@C
@pytest.mark.parametrize("k", [2, 4])
def test_ridge_is_the_balanced_ridge_classifier_and_leaves_out_exactly(n, dimension, k, c):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    rows = scaled_block(features, "l2")
    head = fit_head(Recipe(kind="ridge", c=c, class_weight="balanced"), features, targets, classes)
    model = RidgeClassifier(alpha=1 / (2 * c), class_weight="balanced").fit(rows, targets)
    expected = model.decision_function(rows)
    scores = decision(head, features)
    np.testing.assert_allclose(scores[:, 1] if k == 2 else scores, expected, atol=1e-5)
    weights, wrong = class_weights(targets, k, "balanced")[targets], 0
    for row in range(n):
        # The weights of the others stay as they are.
        kept = np.arange(n) != row
        plain = RidgeClassifier(alpha=1 / (2 * c))
        plain.fit(rows[kept], targets[kept], sample_weight=weights[kept])
        wrong += plain.predict(rows[[row]])[0] != targets[row]
    assert head.parameters["left_out_error"] == pytest.approx(wrong / n)


@SHAPES
@C
@pytest.mark.parametrize("k", [2, 4])
def test_lda_has_equal_priors(n, dimension, k, c):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    rows = scaled_block(features, "l2")
    head = fit_head(Recipe(kind="lda", c=c, class_weight="balanced"), features, targets, classes)
    model = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=1 / (1 + c), priors=np.full(k, 1 / k)
    ).fit(rows, targets)
    np.testing.assert_allclose(
        softmax(decision(head, features)), model.predict_proba(rows), atol=3e-4
    )
    assert 0 <= head.parameters["left_out_error"] <= 1


@SHAPES
@pytest.mark.parametrize("k", [2, 4])
def test_centroids_are_those_of_scikit_learn_and_need_no_weights(n, dimension, k):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    rows = scaled_block(features, "l2")
    head = fit_head(Recipe(kind="centroid", class_weight="balanced"), features, targets, classes)
    expected = NearestCentroid().fit(rows, targets).predict(rows)
    assert np.array_equal(decision(head, features).argmax(axis=1), expected)
    assert head.notes == (
        "centroid: class weights have no effect, means do not depend on numbers of rows",
    )
    assert fit_head(Recipe(kind="centroid"), features, targets, classes).notes == ()


@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge", "lda", "knn:7"])
def test_rare_classes_are_found_more_often(kind):
    features, targets, classes = made_features(2, 400, 6, seed=5)
    kept = np.flatnonzero((targets == 0) | (np.arange(400) % 10 == 0))
    recalls = []
    for weight in (None, "balanced"):
        head = fit_head(
            Recipe(kind=kind, class_weight=weight), features[kept], targets[kept], classes
        )
        guesses = decision(head, features).argmax(axis=1)
        recalls.append((guesses[targets == 1] == 1).mean())
    assert recalls[1] > recalls[0]
