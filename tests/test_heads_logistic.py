"""Logistic regression: scikit-learn's minimum, in any coordinates, and its cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from made_features import made_features, softmax
from offshelf.heads.class_balance import stratified_folds
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.kinds import logistic
from offshelf.heads.kinds.logistic import Losses
from offshelf.heads.numerics.row_scaling import scaled_block
from offshelf.heads.options import FOLDS, GRID

SHAPES = pytest.mark.parametrize(("n", "dimension"), [(90, 12), (40, 60)], ids=["long", "wide"])


def _reference(rows, targets, c, **given):
    return LogisticRegression(C=c, tol=1e-10, max_iter=20_000, **given).fit(rows, targets)


@pytest.mark.slow
@SHAPES
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("normalisation", ["l2", "none"])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_scores_and_posteriors_are_those_of_scikit_learn(
    n, dimension, k, c, normalisation, class_weight
):
    features, targets, classes = made_features(k, n, dimension, uneven=True)
    rows = scaled_block(features, normalisation)
    head = fit_head(
        Recipe(kind="logistic", c=c, normalisation=normalisation, class_weight=class_weight),
        features,
        targets,
        classes,
    )
    model = _reference(rows, targets, c, class_weight=class_weight)
    assert head.notes == ()
    scores = decision(head, features)
    np.testing.assert_allclose(softmax(scores), model.predict_proba(rows), atol=1e-4)
    if k == 2:
        np.testing.assert_allclose(2 * scores[:, 1], model.decision_function(rows), atol=2e-3)


@pytest.mark.slow
@SHAPES
@pytest.mark.parametrize("k", [2, 3])
def test_auto_has_the_accuracies_of_really_leaving_folds_out(n, dimension, k):
    features, targets, classes = made_features(k, n, dimension)
    head = fit_head(Recipe(kind="logistic", c="auto", seed=7), features, targets, classes)
    rows, fold = scaled_block(features, "l2"), stratified_folds(targets, FOLDS, 7)
    expected = [
        [
            _reference(rows[fold != held], targets[fold != held], c).score(
                rows[fold == held], targets[fold == held]
            )
            for held in range(FOLDS)
        ]
        for c in GRID
    ]
    # A label may differ where a rough solution is tied.
    difference = np.abs(np.array(head.parameters["fold_accuracies"]) - expected)
    assert (difference * np.bincount(fold) > 1.5).sum() == 0
    assert (difference > 1e-9).sum() <= 2
    best = np.mean(head.parameters["fold_accuracies"], axis=1).round(12).argmax()
    assert head.parameters["C"] == GRID[best]


@pytest.mark.parametrize("k", [2, 3])
def test_the_gradient_is_the_slope_of_the_loss(k):
    draw = np.random.default_rng(0)
    losses = Losses(draw.normal(size=(9, 4)), np.arange(9) % k, k, draw.uniform(0.5, 2, 9))
    at = draw.normal(size=losses.start().size)
    value, gradient = losses.value(at, 0.7)
    for place in range(len(at)):
        step = np.zeros(len(at))
        step[place] = 1e-6
        slope = (losses.value(at + step, 0.7)[0] - losses.value(at - step, 0.7)[0]) / 2e-6
        assert slope == pytest.approx(gradient[place], abs=1e-7)
    assert value > 0


def test_too_few_steps_are_told(monkeypatch):
    monkeypatch.setattr(logistic, "MAX_STEPS", 2)
    features, targets, classes = made_features(3, 60, 12)
    assert fit_head(Recipe(kind="logistic", c=100), features, targets, classes).notes == (
        "logistic: not converged at C=100; scores are approximate, a smaller C converges",
    )
