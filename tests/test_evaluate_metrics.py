"""The figures of a test set, against scikit-learn and scipy."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from offshelf.errors import DataError
from offshelf.measurement.metrics import evaluate, wilson


@given(k=st.integers(1, 8), n=st.integers(1, 60), seed=st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_every_figure_is_that_of_scikit_learn(k, n, seed):
    rng = np.random.default_rng(seed)
    targets, predictions = rng.integers(0, k, n), rng.integers(0, k, n)
    right = rng.random(n) < 0.6
    predictions[right] = targets[right]
    result = evaluate(targets, predictions, [f"c{i}" for i in range(k)])
    labels = np.arange(k)
    expected = precision_recall_fscore_support(targets, predictions, labels=labels, zero_division=0)
    found = [(row.precision, row.recall, row.f1, row.n) for row in result.per_class]
    np.testing.assert_allclose(np.array(found).T, expected, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about labels that do not occur: the case at hand
        matrix = confusion_matrix(targets, predictions, labels=labels)
        balanced = balanced_accuracy_score(targets, predictions)
    assert np.array_equal(result.confusion, matrix)
    assert result.balanced_accuracy == pytest.approx(balanced, rel=1e-12)
    assert result.accuracy == np.mean(targets == predictions)


@given(
    n=st.integers(1, 5000),
    share=st.floats(0, 1),
    confidence=st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999]),
)
@settings(deadline=None)
def test_wilson_is_that_of_scipy(n, share, confidence):
    k = round(share * n)
    interval = binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_known_figure():
    low, high = wilson(2768, 2985)
    assert f"{100 * 2768 / 2985:.2f} [{100 * low:.2f}, {100 * high:.2f}]" == "92.73 [91.74, 93.61]"


def test_the_interval_ends_where_shares_end():
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0
    assert 0.0 < wilson(0, 7)[1] < wilson(7, 7)[0] < 1.0


def test_an_evaluation_adds_up_and_is_json():
    targets, predictions = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 0, 0])
    result = evaluate(targets, predictions, ("a", "b", "c", "d"))
    assert result.classes == ("a", "b", "c", "d")
    assert (result.n, result.correct, result.accuracy) == (6, 3, 0.5)
    assert result.accuracy_interval == wilson(3, 6)
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert sum(row.n for row in result.per_class) == result.confusion.sum() == result.n
    c = result.per_class[2]
    assert (c.name, c.n, c.precision, c.recall, c.f1) == ("c", 0, 0.0, 0.0, 0.0)
    assert result.confusion.dtype == np.int64
    assert not result.confusion.flags.writeable
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["confusion"] == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert document["per_class"][1] == {
        "name": "b",
        "n": 2,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
    }
    assert document["accuracy_interval"] == list(wilson(3, 6))
    assert sorted(document) == [
        "accuracy",
        "accuracy_interval",
        "balanced_accuracy",
        "confusion",
        "correct",
        "n",
        "per_class",
    ]


REFUSED = {
    "empty": ([], [], "the test set is empty: nothing to evaluate"),
    "length": ([0, 1, 1], [0, 1], "3 targets but 2 predictions: need one each"),
    "unlabelled": ([0, -1], [0, 1], "targets: -1 in row 1 is no class index: need 0 to 1"),
    "outside": ([0, 1], [2, 1], "predictions: 2 in row 0 is no class index: need 0 to 1"),
    "scores": (
        [0, 1],
        [[0.5, 0.5], [0.1, 0.9]],
        "predictions must be a list of class indices, got shape (2, 2) of float64",
    ),
    "text": (["a"], [0], "targets must be a list of class indices, got shape (1,) of <U1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_evaluated_is_refused_in_one_line(case):
    targets, predictions, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        evaluate(np.array(targets), np.array(predictions), ("a", "b"))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0), "no share of 1 in 0: need n >= 1 and k from 0 to n"),
        ((5, 4), "no share of 5 in 4: need n >= 1 and k from 0 to n"),
        ((-1, 4), "no share of -1 in 4: need n >= 1 and k from 0 to n"),
        ((1, 4, 95), "confidence must be between 0 and 1, got 95"),
    ],
)
def test_wilson_refuses_what_is_no_share(arguments, message):
    with pytest.raises(DataError) as caught:
        wilson(*arguments)
    assert str(caught.value) == message
