"""Bootstrap intervals, against scipy and by coverage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from offshelf.errors import DataError
from offshelf.evaluate.bootstrap import bootstrap_interval
from offshelf.evaluate.metrics import wilson


def results(n: int, k: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    weights = np.arange(1, k + 1) / np.arange(1, k + 1).sum()
    targets = draw.choice(k, n, p=weights)
    predictions = np.where(draw.random(n) < share, targets, (targets + 1) % k)
    return targets, predictions


def balanced(targets: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.mean([np.mean(predictions[targets == c] == c) for c in np.unique(targets)]))


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("statistic", ["accuracy", "balanced_accuracy"])
def test_the_interval_is_that_of_scipy(method, statistic):
    targets, predictions = results(150, 4, 0.9)
    plain = {"accuracy": lambda t, p: np.mean(t == p), "balanced_accuracy": balanced}[statistic]
    expected = stats.bootstrap(
        (targets, predictions),
        plain,
        paired=True,
        vectorized=False,
        n_resamples=3000,
        method=method,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    found = bootstrap_interval(targets, predictions, statistic=statistic, method=method)
    assert found.estimate == pytest.approx(plain(targets, predictions))
    # One image is 0.0067; quantiles of 3000 resamples stray by about a third of that.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.008)
    assert (found.confidence, found.method) == (0.95, method)


def test_bca_is_not_the_percentile_interval():
    targets, predictions = results(80, 3, 0.93)
    bca, plain = (
        bootstrap_interval(targets, predictions, method=method, statistic="balanced_accuracy")
        for method in ("bca", "percentile")
    )
    assert bca.low < plain.low  # accuracies near 1 have their tail below
    assert bca.high <= plain.high


def test_the_estimate_is_that_of_scikit_learn():
    targets, predictions = results(300, 6, 0.8)
    found = bootstrap_interval(targets, predictions, statistic="balanced_accuracy", resamples=200)
    assert found.estimate == pytest.approx(balanced_accuracy_score(targets, predictions))


def test_of_many_images_it_is_near_wilsons():
    targets, predictions = results(2985, 15, 0.927)
    found = bootstrap_interval(targets, predictions)
    expected = wilson(int((targets == predictions).sum()), 2985)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.0015)


@pytest.mark.parametrize("statistic", ["accuracy", "balanced_accuracy"])
def test_it_holds_the_truth_about_as_often_as_it_says(statistic):
    held = 0
    for seed in range(200):
        targets, predictions = results(120, 3, 0.85, seed)
        found = bootstrap_interval(targets, predictions, statistic=statistic, resamples=800)
        held += found.low <= 0.85 <= found.high
    assert 180 <= held <= 199  # 190 of 200 expected, deviation 3


def test_the_seed_decides_and_confidence_widens():
    targets, predictions = results(100, 3, 0.8)
    first = bootstrap_interval(targets, predictions, seed=1)
    assert bootstrap_interval(targets, predictions, seed=1) == first
    narrow = bootstrap_interval(targets, predictions, confidence=0.8)
    assert first.low < narrow.low < narrow.high < first.high
    assert json.loads(json.dumps(first.to_json()))["low"] == first.low


@pytest.mark.parametrize(("predicted", "value"), [(0, 1.0), (1, 0.0)])
def test_all_right_or_all_wrong_has_no_width(predicted, value):
    targets = np.zeros(20, int)
    found = bootstrap_interval(targets, np.full(20, predicted), resamples=100)
    assert (found.low, found.estimate, found.high) == (value, value, value)


def test_one_image_and_many_classes_work():
    assert bootstrap_interval([3], [3], resamples=100).estimate == 1.0
    targets = np.arange(1000).repeat(2)
    predictions = np.where(np.arange(2000) % 5 == 0, 0, targets)
    found = bootstrap_interval(targets, predictions, statistic="balanced_accuracy", resamples=500)
    assert 0.75 < found.low < found.estimate < found.high < 0.85


REFUSED = {
    "statistic": ({"statistic": "acuracy"}, "unknown statistic 'acuracy': use accuracy or "),
    "method": ({"method": "bcaa"}, "unknown method 'bcaa': use bca or percentile. Did you mean "),
    "confidence": ({"confidence": 95}, "confidence is a share between 0 and 1 such as 0.05, "),
    "resamples": ({"resamples": 10}, "resamples is a whole number of 100 or more, not 10"),
    "seed": ({"seed": 1.5}, "seed is a whole number of 0 or more, not 1.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_out_of_range_are_refused(case):
    options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        bootstrap_interval([0, 1], [0, 1], **options)
    assert str(caught.value).startswith(message)


def test_lists_that_do_not_fit_are_refused():
    for arguments, message in (
        (([0, 1], [0]), "2 targets but 1 predictions: need one each"),
        (([], []), "targets: there are none"),
        (([0, -1], [0, 0]), "targets: -1 in row 1 is no class index: need 0 or more"),
    ):
        with pytest.raises(DataError) as caught:
            bootstrap_interval(*(np.array(a, int) for a in arguments))
        assert str(caught.value) == message
