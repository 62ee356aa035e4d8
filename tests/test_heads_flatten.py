"""Linear heads over prepared rows are linear over the features: the same scores."""

from __future__ import annotations

import numpy as np
import pytest

from made_features import made_features
from offshelf.errors import HeadError
from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head
from offshelf.heads.kinds.linear import linear_weights
from offshelf.heads.numerics.row_scaling import scaled_block

pytestmark = pytest.mark.usefixtures("few_epochs")


@pytest.mark.parametrize("kind", ["svm", "logistic", "ridge", "lda", "centroid", "fc"])
@pytest.mark.parametrize("normalisation", ["l2", "none", "standard"])
@pytest.mark.parametrize("reduction", ["none", "pca:5", "whiten:5", "random:5"])
def test_weights_over_the_features_give_the_scores(kind, normalisation, reduction):
    features, targets, classes = made_features(3, 50, 12)
    head = fit_head(
        Recipe(kind=kind, normalisation=normalisation, reduction=reduction),
        features,
        targets,
        classes,
    )
    weight, bias = linear_weights(head)
    assert (weight.shape, bias.shape) == ((3, 12), (3,))
    rows = scaled_block(features, "l2") if normalisation == "l2" else features.astype(float)
    scores = decision(head, features)
    np.testing.assert_allclose(rows @ weight.T + bias, scores, atol=1e-5 * np.abs(scores).max())


@pytest.mark.parametrize(
    ("kind", "normalisation", "message"),
    [
        ("knn:3", "l2", "the head knn:3 is not linear: it cannot be explained"),
        ("fc:4", "l2", "the head fc:4 is not linear: it cannot be explained"),
        (
            "svm",
            "sqrt",
            "the head svm takes roots of its features (normalisation 'sqrt'): "
            "it cannot be explained",
        ),
    ],
)
def test_what_is_not_linear_is_one_line(kind, normalisation, message):
    features, targets, classes = made_features(3, 30, 8)
    head = fit_head(Recipe(kind=kind, normalisation=normalisation), features, targets, classes)
    with pytest.raises(HeadError) as error:
        linear_weights(head)
    assert str(error.value) == message
