"""Transfer scores, against their definitions computed the slow way."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge

from offshelf.errors import DataError, HeadError
from offshelf.heads.numerics.eigen import decompose
from offshelf.heads.numerics.row_scaling import scale_rows
from offshelf.measurement.transferability import agreement, class_spectrum, transfer_scores

SHAPES = {"more images": (60, 7), "more dimensions": (30, 80), "square": (25, 25)}


def make(n: int, dimension: int, k: int = 3, strength: float = 1.0, seed: int = 0):
    draw = np.random.default_rng(seed)
    targets = np.arange(n) % k
    centres = strength * draw.normal(size=(k, dimension))
    features = 0.7 + centres[targets] + draw.normal(size=(n, dimension))
    return features.astype(np.float32), targets


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("centred", [False, True])
def test_the_spectrum_is_the_singular_value_decomposition(shape, centred):
    features, targets = make(*shape)
    rows = scale_rows(features, "none")
    spectrum = decompose(rows, around_zero=not centred)
    found = class_spectrum(spectrum, shape[1], targets, floor=1e-9)
    plain = features.astype(float) - (features.mean(axis=0, dtype=float) if centred else 0)
    singular = np.linalg.svd(plain, compute_uv=False)
    rank = min(shape[0] - centred, shape[1])
    assert len(found.values) == rank
    np.testing.assert_allclose(found.values, singular[:rank] ** 2, rtol=1e-7)
    left = found.left(slice(None))
    np.testing.assert_allclose(left.T @ left, np.eye(rank), atol=1e-6)
    np.testing.assert_allclose(found.along, left.T @ np.eye(3)[targets], atol=1e-7)
    np.testing.assert_allclose(found.fourth, (np.square(plain).sum(axis=1) ** 2).sum(), rtol=1e-6)


def evidence_by_search(features: np.ndarray, targets: np.ndarray) -> float:
    """The evidence as a normal density of the targets, maximised by scipy."""
    gram = features.astype(float) @ features.T.astype(float)
    n, best = len(features), []
    for k in np.unique(targets):
        y = (targets == k).astype(float)

        def loss(logs: np.ndarray, y: np.ndarray = y) -> float:
            covariance = gram * np.exp(-logs[0]) + np.eye(n) * np.exp(-logs[1])
            return -stats.multivariate_normal(np.zeros(n), covariance).logpdf(y) / n

        starts = ((0.0, 0.0), (4.0, 3.0), (8.0, 2.0))
        runs = [optimize.minimize(loss, s, method="Nelder-Mead", tol=1e-8).fun for s in starts]
        best.append(-min(runs))
    return float(np.mean(best))


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, 0.6])
@pytest.mark.parametrize("shape", [(40, 6), (24, 50)])
def test_logme_is_the_maximum_of_the_evidence(shape, strength):
    features, targets = make(*shape, strength=strength)
    assert transfer_scores(features, targets).logme == pytest.approx(
        evidence_by_search(features, targets), abs=2e-5
    )


def test_logme_is_what_the_fixed_point_of_the_paper_gives():
    features, targets = make(120, 10, strength=0.5)
    matrix, n = features.astype(float), 120
    values = []
    for k in range(3):
        y, alpha, beta = (targets == k).astype(float), 1.0, 1.0
        for _ in range(200):
            inverse = np.linalg.inv(alpha * np.eye(10) + beta * matrix.T @ matrix)
            mean = beta * inverse @ matrix.T @ y
            gamma = 10 - alpha * np.trace(inverse)
            residual = np.square(y - matrix @ mean).sum()
            alpha, beta = gamma / (mean @ mean), (n - gamma) / residual
        sign, log_det = np.linalg.slogdet(alpha * np.eye(10) + beta * matrix.T @ matrix)
        assert sign == 1
        evidence = 10 * np.log(alpha) + n * np.log(beta) - n * np.log(2 * np.pi)
        evidence -= beta * residual + alpha * mean @ mean + log_det
        values.append(evidence / 2 / n)
    assert transfer_scores(features, targets).logme == pytest.approx(np.mean(values), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("shrink", [False, True])
def test_the_h_score_is_a_trace(shape, shrink):
    features, targets = make(*shape)
    plain = features.astype(float)
    means = np.stack([plain[targets == k].mean(axis=0) for k in range(3)])[targets]
    between = np.cov(means.T, bias=True)
    if shrink:
        fitted = LedoitWolf().fit(plain)
        expected = np.trace(np.linalg.solve(fitted.covariance_, between)) * (1 - fitted.shrinkage_)
    else:
        inverse = np.linalg.pinv(np.cov(plain.T, bias=True), rcond=1e-10, hermitian=True)
        expected = np.trace(inverse @ between)
    scores = transfer_scores(features, targets)
    found = scores.h_score_shrunk if shrink else scores.h_score
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_shrinkage_is_that_of_scikit_learn():
    for shape in SHAPES.values():
        features, targets = make(*shape)
        expected = LedoitWolf().fit(features.astype(float)).shrinkage_
        assert transfer_scores(features, targets).shrinkage == pytest.approx(expected, rel=1e-6)


def test_the_plain_h_score_says_nothing_of_many_dimensions_the_shrunk_one_does():
    good, targets = make(40, 400, strength=1.0)
    noise, _ = make(40, 400, strength=0.0)
    one, other = (transfer_scores(features, targets) for features in (good, noise))
    assert (one.h_score, other.h_score) == pytest.approx((2.0, 2.0))
    assert one.h_score_shrunk > 2 * other.h_score_shrunk


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_ridge_error_is_that_of_leaving_each_image_out(shape):
    features, targets = make(*shape, strength=0.35)
    scores = transfer_scores(features, targets)
    error, strength = scores.ridge_error, scores.ridge_strength
    wrong = 0
    for row in range(len(features)):
        kept = np.delete(np.arange(len(features)), row)
        model = Ridge(alpha=strength).fit(features[kept].astype(float), np.eye(3)[targets[kept]])
        wrong += model.predict(features[row : row + 1].astype(float)).argmax() != targets[row]
    assert error == wrong / len(features)
    assert 0 < error < 0.67


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_scores_know_their_size_and_go_into_json(shape):
    features, targets = make(*shape)
    scores = transfer_scores(features, targets)
    assert (scores.n, scores.dimension) == shape
    assert json.loads(json.dumps(scores.to_json(), allow_nan=False))["n"] == shape[0]


@pytest.mark.parametrize("shape", [(90, 12), (45, 200)])
def test_better_features_score_better(shape):
    weak, strong = (
        transfer_scores(*make(*shape, strength=strength, seed=3)) for strength in (0.2, 1.0)
    )
    assert strong.logme > weak.logme
    assert strong.h_score_shrunk > weak.h_score_shrunk
    assert strong.ridge_error < weak.ridge_error


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_order_of_images_and_the_scale_of_features_are_of_no_account(shape):
    features, targets = make(*shape)
    expected = transfer_scores(features, targets)
    order = np.random.default_rng(1).permutation(len(targets))
    for changed in (
        features[order],
        64 * features[order],
        features[order].astype(np.float64) / 1e6,
    ):
        found = transfer_scores(changed, targets[order])
        for name in ("logme", "h_score", "h_score_shrunk", "shrinkage", "ridge_error"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6)


def test_odd_features_give_finite_scores():
    targets = np.array([0, 0, 0, 1, 1, 1])
    cases = {
        "zeros": np.zeros((6, 3)),
        "constant": np.full((6, 9), 2.5),
        "one dimension": np.arange(6.0)[:, None],
        "the targets": np.eye(2)[targets],
        "twice the same rows": np.repeat(np.eye(3), 2, axis=0),
        "integers": np.arange(18).reshape(6, 3),
        "half": np.arange(18, dtype=np.float16).reshape(6, 3),
        "huge": 1e18 * np.arange(18.0).reshape(6, 3),
    }
    for name, features in cases.items():
        scores = transfer_scores(features, targets).to_json()
        assert all(np.isfinite(value) for value in scores.values()), name
    assert transfer_scores(cases["the targets"], targets).ridge_error == 0.0
    assert transfer_scores(cases["constant"], targets).ridge_error in {0.5, 1.0}


def test_classes_may_have_any_numbers():
    features, targets = make(30, 8)
    assert (
        transfer_scores(features, targets * 5 + 2).logme == transfer_scores(features, targets).logme
    )


@pytest.mark.slow
def test_a_large_dimension_is_never_squared():
    features, targets = make(300, 25_088, k=10, strength=0.05)
    tracemalloc.start()
    scores = transfer_scores(features, targets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * features.nbytes
    assert scores.ridge_error < 0.5
    assert features.dtype == np.float32


REFUSED = {
    "vector": (
        np.zeros(3),
        [0, 1, 1],
        "features must be a numeric matrix of rows x dimensions, got shape (3,) of float64",
    ),
    "text": (
        np.array([["a"], ["b"]]),
        [0, 1],
        "features must be a numeric matrix of rows x dimensions, got shape (2, 1) of <U1",
    ),
    "targets": (np.zeros((3, 2)), [0, 1], "3 rows of features but 2 targets: need one each"),
    "one class": (
        np.zeros((2, 2)),
        [1, 1],
        "all images are of one class: a transfer score needs at least two",
    ),
    "nan": (
        np.array([[0.0, 1.0, 2.0], [1.0, np.nan, 0.0]]),
        [0, 1],
        "features hold NaN or infinity in 1 of 2 rows, first in row 1: extract them again",
    ),
    "infinity": (
        np.array([[0.0], [1.0], [np.inf]]),
        [0, 1, 1],
        "features hold NaN or infinity in 1 of 3 rows, first in row 2: extract them again",
    ),
    "unlabelled": (
        np.zeros((2, 2)),
        [0, -1],
        "targets: -1 in row 1 is no class index: need 0 or more",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_refused_in_one_line(case):
    features, targets, message = REFUSED[case]
    with pytest.raises((DataError, HeadError)) as caught:
        transfer_scores(features, np.array(targets))
    assert str(caught.value) == message


def test_agreement_is_that_of_scipy():
    draw = np.random.default_rng(0)
    scores = draw.normal(size=20)
    accuracies = np.round(scores + draw.normal(size=20), 1)
    found = agreement(scores, accuracies)
    assert found.spearman == pytest.approx(stats.spearmanr(scores, accuracies).statistic)
    assert found.spearman_p == pytest.approx(stats.spearmanr(scores, accuracies).pvalue)
    assert found.kendall == pytest.approx(stats.kendalltau(scores, accuracies).statistic)
    assert found.kendall_p == pytest.approx(stats.kendalltau(scores, accuracies).pvalue)
    assert found.weighted_kendall == pytest.approx(stats.weightedtau(scores, accuracies).statistic)
    assert found.regret == pytest.approx(accuracies.max() - accuracies[scores.argmax()])
    assert found.regret > 0


def test_agreement_of_little_is_none():
    for scores, accuracies in (([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0.5] * 3)):
        found = agreement(scores, accuracies)
        assert found.spearman is found.kendall is found.weighted_kendall is None
        json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(DataError, match=r"^2 scores but 3 accuracies: need one each$"):
        agreement([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match=r"^scores must be a list of numbers, got shape \(0,\)"):
        agreement([], [])
