"""Figures of several labels: they are those of scikit-learn, and their intervals hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
)

from offshelf.measurement.label_metrics import evaluate_labels
from offshelf.measurement.metrics import wilson
from refusals import refused

NAMES = ["beach", "sea", "ship", "wood", "rare"]


def made(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.random((n, 5)) < [0.5, 0.3, 0.2, 0.1, 0.03]
    truth[0] = True
    scores = (truth + 0.7 * draw.normal(size=truth.shape)).round(1)
    return truth, scores, scores > 0.6


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    truth, scores, present = made(seed=seed)
    found = evaluate_labels(truth, scores, present, NAMES)
    assert found.mean_average_precision == pytest.approx(average_precision_score(truth, scores))
    for average in ("micro", "macro"):
        expected = f1_score(truth, present, average=average)
        assert getattr(found, f"{average}_f1") == pytest.approx(expected)
    assert found.exact == pytest.approx((truth == present).all(axis=1).mean())
    for row, f1, precision, recall, ap in zip(
        found.per_label,
        f1_score(truth, present, average=None),
        precision_score(truth, present, average=None),
        recall_score(truth, present, average=None),
        average_precision_score(truth, scores, average=None),
        strict=True,
    ):
        assert (row.f1, row.precision, row.recall, row.average_precision) == pytest.approx(
            (f1, precision, recall, ap)
        )


def test_known_answers() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    scores = np.array([[0.9, 0.2], [0.4, 0.8], [0.6, 0.7], [0.1, 0.9]])
    found = evaluate_labels(truth, scores, scores > 0.5, ["a", "b"], thresholds=[0.5, 0.5])
    first, second = found.per_label
    assert first.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert second.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (first.n, first.predicted, first.precision, first.recall, first.f1) == (
        2,
        2,
        0.5,
        0.5,
        0.5,
    )
    assert (second.precision, second.recall, second.f1) == (2 / 3, 1.0, pytest.approx(0.8))
    assert found.micro_f1 == pytest.approx(2 * 3 / (4 + 5))
    assert found.macro_f1 == pytest.approx(0.65)
    assert (found.exact, found.unlabelled, found.predicted_none) == (0.25, 1, 0)
    assert first.recall_interval == wilson(1, 2)
    assert second.precision_interval == wilson(2, 3)
    assert found.intervals["exact"] == wilson(1, 4)


def test_labels_without_images_have_no_figures_and_no_part_in_the_means() -> None:
    truth, scores, present = made()
    truth[:, 3] = False
    present[:, 4], truth[:, 4] = False, False
    found = evaluate_labels(truth, scores, present, NAMES)
    wrong, empty = found.per_label[3:]
    assert (wrong.n, wrong.recall, wrong.average_precision, wrong.f1) == (0, None, None, 0.0)
    assert (wrong.precision, wrong.recall_interval) == (0.0, None)
    assert (empty.precision, empty.f1, empty.f1_interval) == (None, None, None)
    kept = slice(0, 3)
    assert found.mean_average_precision == pytest.approx(
        average_precision_score(truth[:, kept], scores[:, kept])
    )
    assert found.macro_f1 == pytest.approx(
        f1_score(truth[:, kept], present[:, kept], average="macro")
    )
    assert found.micro_f1 == pytest.approx(f1_score(truth, present, average="micro"))
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth, scores, present = made(20_000, seed=9)
    whole = evaluate_labels(truth[:10_000], scores[:10_000], present[:10_000], NAMES)
    wanted = ("mean_average_precision", "micro_f1", "macro_f1")
    inside = dict.fromkeys(wanted, 0)
    for start in range(0, 10_000, 500):
        part = slice(start, start + 500)
        found = evaluate_labels(truth[part], scores[part], present[part], NAMES)
        for name in wanted:
            low, high = found.intervals[name]
            assert low <= getattr(found, name) <= high
            inside[name] += low <= getattr(whole, name) <= high
    assert min(inside.values()) >= 16


def test_intervals_are_the_same_each_time_and_wider_for_groups() -> None:
    truth, scores, present = made(60)
    once, again = (evaluate_labels(truth, scores, present, NAMES) for _ in range(2))
    assert once.intervals == again.intervals
    copies = [np.repeat(one, 5, axis=0) for one in (truth, scores, present)]
    units = np.repeat(np.arange(60), 5)
    flattering = evaluate_labels(*copies, NAMES).intervals["micro_f1"]
    honest = evaluate_labels(*copies, NAMES, units=units).intervals["micro_f1"]
    assert honest[1] - honest[0] > 1.6 * (flattering[1] - flattering[0])
    assert honest == pytest.approx(once.intervals["micro_f1"])


def test_an_interval_is_no_point_where_nothing_is_wrong() -> None:
    truth = np.zeros((40, 2), bool)
    truth[:9, 0] = truth[5:30, 1] = True
    found = evaluate_labels(truth, truth * 2.0, truth, ["a", "b"])
    low, high = wilson(9, 9)
    first = found.per_label[0]
    assert first.f1_interval == pytest.approx((2 * low / (1 + low), 1.0))
    assert first.average_precision_interval == pytest.approx((low, high))
    other = wilson(25, 25)[0]
    assert found.intervals["mean_average_precision"] == pytest.approx(((low + other) / 2, 1.0))
    both = wilson(34, 34)[0]
    assert found.intervals["micro_f1"] == pytest.approx((2 * both / (1 + both), 1.0))
    ends = [2 * one / (1 + one) for one in (low, other)]
    assert found.intervals["macro_f1"] == pytest.approx((sum(ends) / 2, 1.0))


def test_what_cannot_be_measured_is_one_line() -> None:
    truth, scores, present = made(10)
    none = np.zeros_like(truth)
    assert refused(lambda: evaluate_labels(none, scores, present, NAMES)) == (
        "no test image has a label: nothing to evaluate"
    )
    assert refused(lambda: evaluate_labels(truth, scores[:, :2], present, NAMES)) == (
        "scores of shape (10, 2) for labels of shape (10, 5)"
    )
