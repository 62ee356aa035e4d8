"""Scores into probabilities, how reliable they are, and when an image is unknown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics.pairwise import cosine_distances

from offshelf.errors import DataError
from offshelf.heads.probabilities.distances import centroids, nearest_distance
from offshelf.heads.probabilities.rejection import fit_threshold, threshold_from_json
from offshelf.heads.probabilities.score_calibration import (
    Sigmoid,
    Temperature,
    calibration_from_json,
    fit_sigmoid,
    fit_temperature,
)
from offshelf.measurement.probability_metrics import (
    reliability,
    reliability_rows,
)


def sample(n: int, k: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose softmax at the temperature *scale* is the truth."""
    draw = np.random.default_rng(seed)
    logits = 2 * draw.normal(size=(n, k))
    targets = (logits + draw.gumbel(size=(n, k))).argmax(axis=1)
    return (scale * logits).astype(np.float32), targets


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("scale", [0.05, 1.0, 300.0])
def test_the_temperature_is_the_one_of_least_log_loss(k, scale):
    scores, targets = sample(800, k, scale)
    found = fit_temperature(scores, targets).temperature

    def loss(log_temperature: float) -> float:
        logs = special.log_softmax(scores.astype(float) / np.exp(log_temperature), axis=1)
        return -logs[np.arange(len(targets)), targets].mean()

    bounds = (np.log(scale) - 3, np.log(scale) + 3)
    best = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(best.x), rel=1e-4)
    assert found == pytest.approx(scale, rel=0.25)


def test_calibration_brings_the_error_down():
    scores, targets = sample(4000, 5, 0.1)
    fitted = fit_temperature(scores[:2000], targets[:2000])
    raw = reliability(Temperature(1.0).probabilities(scores[2000:]), targets[2000:])
    after = reliability(fitted.probabilities(scores[2000:]), targets[2000:])
    assert after.ece < 0.04
    assert raw.ece > 0.3
    assert after.log_loss < raw.log_loss
    assert after.brier < raw.brier
    assert after.accuracy == raw.accuracy
    assert raw.confidence < raw.accuracy


def test_the_sigmoid_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(400, 4))
    targets = (features[:, :3] + draw.normal(size=(400, 3))).argmax(axis=1)
    model = RidgeClassifier().fit(features, targets)
    reference = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid")
    reference.fit(features, targets)
    scores = model.decision_function(features)
    found = fit_sigmoid(scores, targets).probabilities(scores)
    np.testing.assert_allclose(found, reference.predict_proba(features), atol=1e-4)


def test_platts_minimum_is_found_where_classes_part_without_error():
    x = np.concatenate([np.linspace(-9, -1, 30), np.linspace(1, 9, 20)])
    scores, targets = np.stack([-x, x], axis=1), (x > 0).astype(int)
    found = fit_sigmoid(scores, targets)
    wanted = np.where(targets == 1, 21 / 22, 1 / 32)

    def loss(p: np.ndarray) -> float:
        z = p[0] * x + p[1]
        return float((np.logaddexp(0, z) - (1 - wanted) * z).sum())

    best = optimize.minimize(loss, [-1.0, 0.0], tol=1e-12)
    assert (found.slopes[1], found.offsets[1]) == pytest.approx(best.x, rel=1e-3, abs=1e-3)


@pytest.mark.slow
@given(
    scores=st.lists(
        st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=3, max_size=3),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None)
def test_probabilities_are_probabilities_whatever_the_scores(scores):
    matrix = np.array(scores, np.float32)
    targets = np.arange(len(matrix)) % 3
    makers = (Temperature(1e-3), Sigmoid((-2.0, -1e-3, 3.0), (0.0, 5.0, -5.0)))
    fitted = (fit_temperature(matrix, targets), fit_sigmoid(matrix, targets))
    for calibration in (*makers, *fitted):
        found = calibration.probabilities(matrix)
        assert found.shape == matrix.shape
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-9)


def test_temperature_never_changes_the_class():
    scores, targets = sample(500, 4, 0.3)
    found = fit_temperature(scores, targets).probabilities(scores)
    assert np.array_equal(found.argmax(axis=1), scores.argmax(axis=1))


def test_a_row_far_from_every_class_keeps_its_order():
    sigmoid = Sigmoid((-1.0, -1.0, -1.0), (0.0, 0.0, 0.0))
    found = sigmoid.probabilities(np.array([[-2000.0, -2001.0, -2003.0]]))[0]
    assert found[0] > found[1] > found[2] > 0


def test_odd_scores_are_fitted_with_a_note():
    targets = np.array([0, 1, 0, 1])
    right = fit_temperature(2 * np.eye(2)[targets] - 1, targets)
    assert right.notes == (
        "every out-of-fold score was right: the temperature is set by Laplace's rule",
    )
    chosen = right.probabilities(2 * np.eye(2)[targets] - 1)[np.arange(4), targets]
    assert chosen == pytest.approx([5 / 6] * 4)
    wrong = fit_temperature(1 - 2 * np.eye(2)[targets], targets)
    assert wrong.notes == (
        "the scores do not tell the classes apart: probabilities are near equal",
    )
    assert wrong.probabilities(1 - 2 * np.eye(2)[targets]) == pytest.approx(0.5, abs=0.01)
    flat = fit_temperature(np.ones((4, 2)), targets)
    assert flat == Temperature(1.0, ("all scores of a row are equal: probabilities are too",))
    backwards = fit_sigmoid(
        np.random.default_rng(0).normal(size=(4, 2)) - 9 * np.eye(2)[targets], targets
    )
    assert backwards.notes == ("in 2 of 2 classes a higher score spoke against the class",)
    assert fit_sigmoid(9 * np.eye(2)[targets], targets).notes == ()


def test_calibrations_survive_json():
    scores, targets = sample(200, 3, 1.0)
    for calibration in (
        fit_temperature(scores, targets),
        fit_sigmoid(scores, targets),
        Temperature(2.0, ("a note",)),
    ):
        document = json.loads(json.dumps(calibration.to_json(), allow_nan=False))
        assert calibration_from_json(document, 3) == calibration


DAMAGED = [
    None,
    [],
    {},
    {"kind": "isotonic"},
    {"kind": "temperature"},
    {"kind": "temperature", "temperature": 0},
    {"kind": "temperature", "temperature": -1.0},
    {"kind": "temperature", "temperature": float("nan")},
    {"kind": "temperature", "temperature": True},
    {"kind": "temperature", "temperature": "1"},
    {"kind": "temperature", "temperature": 1.0, "notes": [1]},
    {"kind": "sigmoid", "slopes": [1.0] * 2, "offsets": [1.0] * 2},
    {"kind": "sigmoid", "slopes": [1.0] * 3, "offsets": [1.0, None, 1.0]},
    {"kind": "sigmoid", "slopes": [1.0] * 3, "offsets": [1.0, float("inf"), 1.0]},
    {"kind": "sigmoid", "slopes": 3, "offsets": 3},
]


@pytest.mark.parametrize("document", DAMAGED, ids=str)
def test_a_damaged_calibration_is_refused(document):
    with pytest.raises(DataError) as caught:
        calibration_from_json(document, 3)
    assert str(caught.value) == ("damaged calibration: no temperature and no sigmoids of 3 classes")


def slow_error(sure: np.ndarray, right: np.ndarray, bins: int) -> float:
    total = 0.0
    for low in range(bins):
        inside = (sure > low / bins) & (sure <= (low + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    return total


@given(seed=st.integers(0, 100), bins=st.integers(1, 20), k=st.integers(2, 6))
@settings(deadline=None, max_examples=50)
def test_the_calibration_error_is_its_definition(seed, bins, k):
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.full(k, 0.3), 80)
    targets = draw.integers(0, k, 80)
    right = probabilities.argmax(axis=1) == targets
    expected = slow_error(probabilities.max(axis=1), right, bins)
    result = reliability(probabilities, targets, bins=bins)
    assert result.ece == pytest.approx(expected, abs=1e-12)
    assert sum(row.n for row in result.rows) == result.n == 80
    assert sum(row.n * row.accuracy for row in result.rows) == pytest.approx(right.sum())
    rows = reliability_rows(probabilities.max(axis=1), right, bins=bins, binning="mass")
    gaps = [row.n * abs(row.confidence - row.accuracy) for row in rows]
    assert result.ece_mass == pytest.approx(sum(gaps) / 80, abs=1e-12)


def test_the_losses_are_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    probabilities, targets = draw.dirichlet(np.ones(4), 50), draw.integers(0, 4, 50)
    result = reliability(probabilities, targets)
    expected = sklearn_log_loss(targets, probabilities, labels=range(4))
    assert result.log_loss == pytest.approx(expected)
    two = np.stack([probabilities[:, 0], 1 - probabilities[:, 0]], axis=1)
    ones = (targets > 0).astype(int)
    assert reliability(two, ones).brier == pytest.approx(2 * brier_score_loss(ones, two[:, 1]))
    json.dumps(result.to_json(), allow_nan=False)


def test_a_probability_of_nothing_has_a_finite_loss():
    assert 700 < reliability(np.array([[1.0, 0.0]]), np.array([1])).log_loss < 710


def test_bins_of_equal_mass_hold_equally_many():
    sure = np.random.default_rng(0).random(100) ** 0.2
    rows = reliability_rows(sure, sure > 0.5, bins=10, binning="mass")
    assert [row.n for row in rows] == [10] * 10
    assert max(row.high for row in rows) == sure.max()
    tied = np.array([0.5] * 30 + [0.9] * 10)
    assert [row.n for row in reliability_rows(tied, tied > 0, bins=8, binning="mass")] == [30, 10]
    order = np.random.default_rng(1).permutation(40)
    right = np.arange(40) % 3 > 0
    assert reliability_rows(tied[order], right[order], binning="mass") == reliability_rows(
        tied, right, binning="mass"
    )
    same = reliability_rows(np.full(5, 0.7), np.ones(5, bool), bins=3, binning="mass")
    assert [row.n for row in same] == [5]


def test_a_row_says_what_it_holds():
    (row,) = reliability_rows(np.array([0.8, 0.9]), np.array([True, False]), bins=2)
    assert (row.low, row.high, row.n) == (0.5, 1.0, 2)
    assert (row.confidence, row.accuracy) == (pytest.approx(0.85), 0.5)
    assert row.interval[0] < 0.5 < row.interval[1]
    edges = reliability_rows(np.array([0.0, 0.5, 1.0]), np.ones(3, bool), bins=2)
    assert [row.n for row in edges] == [2, 1]


@given(seed=st.integers(0, 500), n=st.integers(20, 200), rate=st.sampled_from([0.05, 0.1, 0.25]))
@settings(deadline=None)
def test_a_threshold_rejects_no_more_than_asked(seed, n, rate):
    values = np.round(np.random.default_rng(seed).random(n), 2)
    low = fit_threshold(values, rate)
    assert low.rejected == low.unknown(values).sum() <= rate * n
    far = fit_threshold(1 - values, rate, measure="centroid_distance")
    assert far.rejected == low.rejected
    assert np.array_equal(far.unknown(1 - values), low.unknown(values))
    assert low.value in values
    # And it is the strictest: one value further and more than the share would go.
    assert (values <= low.value).sum() >= np.floor(rate * (n + 1))


def test_new_images_are_rejected_as_often_as_asked():
    draw = np.random.default_rng(0)
    shares = [
        fit_threshold(draw.normal(size=99), 0.1).unknown(draw.normal(size=200)).mean()
        for _ in range(300)
    ]
    assert 0.08 < np.mean(shares) <= 0.102


def test_a_threshold_needs_images_and_survives_json():
    with pytest.raises(DataError) as caught:
        fit_threshold(np.ones(18), 0.05)
    assert str(caught.value) == (
        "a false-reject rate of 0.05 needs at least 19 held-out images, there are 18"
    )
    threshold = fit_threshold(np.arange(19) / 19, 0.05)
    assert threshold.rejected == 0
    document = json.loads(json.dumps(threshold.to_json(), allow_nan=False))
    assert threshold_from_json(document) == threshold
    for changes, message in (
        ({"value": None}, "damaged threshold: value must be a list of numbers, got shape (1,) of "),
        ({"value": float("inf")}, "damaged threshold: value: NaN or infinity in row 0"),
        ({"measure": "distance"}, "damaged threshold: unknown measure 'distance': use "),
        ({"measure": []}, "damaged threshold: unknown measure []: use "),
        ({"n": 0}, "damaged threshold: n is a whole number of 1 or more, not 0"),
        ({"false_reject": 2}, "damaged threshold: false_reject is a share between 0 and 1"),
    ):
        with pytest.raises(DataError) as caught:
            threshold_from_json(document | changes)
        assert str(caught.value).startswith(message)
    for broken in (None, {}, {"measure": "confidence"}):
        with pytest.raises(DataError, match=r"^damaged threshold: \w+ is missing$"):
            threshold_from_json(broken)


def test_distances_are_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    features = draw.normal(size=(60, 9)).astype(np.float32)
    known = draw.normal(size=(40, 9)).astype(np.float32)
    expected = cosine_distances(features, known).min(axis=1)
    np.testing.assert_allclose(nearest_distance(features, known), expected, atol=1e-6)
    assert nearest_distance(known, known).max() < 1e-6


def test_distances_do_not_depend_on_blocks(monkeypatch):
    draw = np.random.default_rng(0)
    features, known = draw.normal(size=(50, 5)), draw.normal(size=(50, 5))
    expected = nearest_distance(features, known)
    monkeypatch.setattr("offshelf.heads.probabilities.distances._BLOCK_VALUES", 350)
    np.testing.assert_allclose(nearest_distance(features, known), expected, rtol=1e-12)


def test_centroids_are_mean_directions():
    draw = np.random.default_rng(0)
    features, targets = draw.normal(size=(30, 4)), np.arange(30) % 3
    found = centroids(features, targets, 3)
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    for k in range(3):
        mean = directions[targets == k].mean(axis=0)
        np.testing.assert_allclose(found[k], mean / np.linalg.norm(mean), rtol=1e-5)
    assert found.dtype == np.float32
    assert nearest_distance(features, found).shape == (30,)
    assert centroids(np.zeros((2, 3)), np.array([0, 1]), 2).tolist() == [[0.0] * 3] * 2


def test_strange_features_are_unknown():
    draw = np.random.default_rng(0)
    centre = np.eye(3, 20)
    known = centre[np.arange(300) % 3] + 0.1 * draw.normal(size=(300, 20))
    strange = draw.normal(size=(100, 20))
    distances = nearest_distance(known[:200], known[200:])
    threshold = fit_threshold(distances, 0.05, measure="centroid_distance")
    assert threshold.unknown(nearest_distance(strange, known[200:])).mean() > 0.95


ONE_ROW = np.array([[0.5, 0.5]])
REFUSED = {
    "one class": (
        lambda: fit_temperature(np.ones((3, 1)), np.zeros(3, int)),
        "scores need a column for each of at least two classes",
    ),
    "rows": (
        lambda: fit_sigmoid(np.ones((3, 2)), np.zeros(2, int)),
        "3 rows of scores but 2 targets: need one each",
    ),
    "target": (
        lambda: fit_sigmoid(np.ones((1, 2)), np.array([2])),
        "targets: 2 in row 0 is no class index: need 0 to 1",
    ),
    "nan": (
        lambda: fit_temperature(np.array([[1.0, 2.0], [np.nan, 0.0]]), np.zeros(2, int)),
        "scores: NaN or infinity in row 1",
    ),
    "vector": (
        lambda: Temperature(1.0).probabilities(np.ones(3)),
        "scores must be a matrix of numbers, got shape (3,) of float64",
    ),
    "columns": (
        lambda: Sigmoid((1.0,) * 3, (0.0,) * 3).probabilities(ONE_ROW),
        "2 columns of scores but 3 calibrated classes: need one each",
    ),
    "sum": (
        lambda: reliability(np.array([[0.5, 0.5], [0.5, 0.6]]), np.array([0, 0])),
        "probabilities in row 1 are not from 0 to 1 with the sum 1",
    ),
    "negative": (
        lambda: reliability(np.array([[1.5, -0.5]]), np.array([0])),
        "probabilities in row 0 are not from 0 to 1 with the sum 1",
    ),
    "bins": (
        lambda: reliability(ONE_ROW, np.array([0]), bins=0),
        "bins is a whole number of 1 or more, not 0",
    ),
    "binning": (
        lambda: reliability_rows(np.ones(1), np.ones(1, bool), binning="mas"),
        "unknown binning 'mas': use 'width' or 'mass'",
    ),
    "confidence": (
        lambda: reliability_rows(np.array([1.5]), np.ones(1, bool)),
        "confidences must be from 0 to 1",
    ),
    "rate": (
        lambda: fit_threshold(np.ones(99), 5),
        "false-reject rate is a share between 0 and 1 such as 0.05, not 5",
    ),
    "measure": (
        lambda: fit_threshold(np.ones(99), 0.1, measure="confidense"),
        "unknown measure 'confidense': use confidence, centroid_distance, neighbour_distance, "
        "covariance_distance. Did you mean 'confidence'?",
    ),
    "dimensions": (
        lambda: nearest_distance(np.ones((1, 2)), np.ones((1, 3))),
        "features have 2 dimensions but the reference 3",
    ),
    "centroid": (
        lambda: centroids(np.ones((2, 2)), np.array([0, 3]), 2),
        "targets: 3 in row 1 is no class index: need 0 to 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_calibrated_is_refused_in_one_line(case):
    call, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message
