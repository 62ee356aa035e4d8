"""Learning curves: the law is found, and looked ahead with only where the data allow it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from offshelf.errors import DataError
from offshelf.measurement.learning_curve.measured_curve import fit_curve
from offshelf.measurement.learning_curve.powerlaw import fit_law, robust_means
from offshelf.measurement.metrics import wilson

SIZES = [5, 10, 20, 40, 80]


def accuracies(a: float, b: float, c: float, noise: float, repeats: int = 8, seed: int = 0):
    draw = np.random.default_rng(seed)
    means = 1 - a - b * np.array(SIZES, float) ** -c
    return means[:, None] + noise * draw.normal(size=(len(SIZES), repeats))


@pytest.mark.slow
@given(
    a=st.floats(0, 0.3),
    b=st.floats(0.1, 0.7),
    c=st.floats(0.2, 1.5),
    seed=st.integers(0, 10),
)
@settings(max_examples=40, deadline=None)
def test_the_fit_is_the_least_squares_one(a, b, c, seed):
    n = np.array(SIZES)
    draw = np.random.default_rng(seed)
    errors = a + b * n**-c + 0.01 * draw.normal(size=5)
    weights = draw.uniform(0.5, 2, 5)

    def residuals(p):
        return np.sqrt(weights) * (errors - p[0] - p[1] * n ** -p[2])

    bounds = ([0, 0, 0.05], [1, np.inf, 2])
    starts = [(a + 0.01, b, c), (0.1, 0.5, 0.3), (0.01, 0.5, 1.0), (0.2, 1.0, 1.8)]
    loss = min(optimize.least_squares(residuals, s, bounds=bounds).cost for s in starts)
    law = fit_law(n, errors[None], weights)
    found = 0.5 * np.square(residuals([float(v[0]) for v in law])).sum()
    assert found <= loss * (1 + 1e-4) + 1e-9
    assert law.a[0] >= 0
    assert law.b[0] >= 0
    assert 0.05 <= law.c[0] <= 2


@pytest.mark.parametrize(("a", "b", "c"), [(0.05, 0.6, 0.7), (0.0, 0.5, 0.4), (0.2, 0.7, 1.0)])
def test_the_law_is_found_again(a, b, c):
    curve = fit_curve(SIZES, accuracies(a, b, c, 0.001))
    assert (curve.a, curve.b, curve.c) == pytest.approx((a, b, c), abs=0.06)
    assert curve.identified
    assert curve.a_interval[0] <= a + 1e-9
    assert curve.a_interval[1] >= a
    assert curve.c_interval[0] <= c <= curve.c_interval[1]
    assert curve.furthest == 320
    for n in (80, 160, 320):
        estimate = curve.at(n)
        assert estimate.accuracy == pytest.approx(1 - a - b * n**-c, abs=0.006)
        assert estimate.low <= estimate.accuracy <= estimate.high
        assert estimate.extrapolated == (n > 80)


@pytest.mark.slow
def test_the_interval_holds_the_truth():
    truth = 1 - 0.06 - 0.5 * 160**-0.6
    held = 0
    for seed in range(60):
        curve = fit_curve(SIZES, accuracies(0.06, 0.5, 0.6, 0.006, 6, seed), resamples=400)
        if curve.identified:
            estimate = curve.at(160)
            held += estimate.low <= truth <= estimate.high
        else:
            held += 1
    assert held >= 54


def test_the_interval_grows_ahead():
    curve = fit_curve(SIZES, accuracies(0.06, 0.5, 0.6, 0.006))
    widths = [curve.at(n).high - curve.at(n).low for n in (80, 160, 320)]
    assert widths[0] < widths[1] < widths[2]
    assert curve.backtest is not None


def test_ahead_the_interval_allows_for_test_images_and_for_those_to_come():
    values = accuracies(0.06, 0.5, 0.6, 0.006)
    # Every draw of the largest size holds all images.
    values[-1] = values[-1].mean()
    known, tested = fit_curve(SIZES, values), fit_curve(SIZES, values, tested=300)
    assert tested.at(80) == known.at(80)
    for n in (160, 320):
        one, other = known.at(n), tested.at(n)
        low, high = wilson(round(300 * one.accuracy), 300)
        assert other.accuracy == one.accuracy
        assert other.high - one.accuracy > high - one.accuracy
        assert one.accuracy - other.low > one.accuracy - low
    # As the delete-half jackknife of draws of half the images, and of a quarter.
    variances = values.var(axis=1, ddof=1)[2:4] * [20 / 60, 40 / 40]
    reach = stats.t.ppf(0.975, 2 * 7)
    assert known.pool == pytest.approx(reach * np.sqrt(variances.mean()))
    assert fit_curve(SIZES, accuracies(0.06, 0.5, 0.6, 0.0, 1)).pool == 0


@pytest.mark.slow
def test_a_look_ahead_from_few_images_holds_what_is_measured_later():
    """Heads of two noisy classes: pools of 20 a class foretell 40 a class on other images."""
    held = looked = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)

        def images(per_class, draw=draw):
            targets = np.repeat([0, 1], per_class)
            return draw.normal(size=(len(targets), 24)) + 0.5 * targets[:, None], targets

        def accuracy(train, test):
            means = [train[0][train[1] == k].mean(axis=0) for k in (0, 1)]
            distances = [np.square(test[0] - mean).sum(axis=1) for mean in means]
            return float((np.argmin(distances, axis=0) == test[1]).mean())

        def part(of, n, draw=draw):
            rows = np.concatenate(
                [draw.choice(np.flatnonzero(of[1] == k), n, replace=False) for k in (0, 1)]
            )
            return of[0][rows], of[1][rows]

        pool, test, later = images(20), images(100), images(20)
        sizes = [2, 5, 10, 20]
        measured = [[accuracy(part(pool, n), test) for _ in range(5)] for n in sizes]
        curve = fit_curve(sizes, measured, resamples=400, tested=200)
        if not curve.identified:
            continue
        both = np.concatenate([pool[0], later[0]]), np.concatenate([pool[1], later[1]])
        estimate = curve.at(40)
        truth = accuracy(both, images(5000))
        looked += 1
        held += estimate.low <= truth <= estimate.high
    assert looked >= 20
    # With a true rate of 95 %, fewer have a probability below one in a thousand.
    assert held >= stats.binom.ppf(0.001, looked, 0.95)


def test_a_stray_repeat_hardly_moves_the_fit():
    clean = accuracies(0.05, 0.6, 0.7, 0.002)
    stray = clean.copy()
    stray[3, 0] = 0.2
    one, other = fit_curve(SIZES, clean), fit_curve(SIZES, stray)
    assert other.at(160).accuracy == pytest.approx(one.at(160).accuracy, abs=0.004)
    plain = fit_law(np.array(SIZES), 1 - stray.mean(axis=1)[None], np.ones(5))
    assert (
        abs(float(1 - plain.a[0] - plain.b[0] * 160 ** -plain.c[0]) - one.at(160).accuracy) > 0.01
    )


def test_a_robust_mean_of_quiet_values_is_their_mean():
    values = np.random.default_rng(0).normal(0, 0.01, (4, 10))
    assert robust_means(values) == pytest.approx(values.mean(axis=1), abs=0.003)
    assert robust_means(np.full((2, 3), 0.5)).tolist() == [0.5, 0.5]


DOUBTFUL = {
    "sizes": (
        SIZES[:3],
        accuracies(0.05, 0.6, 0.7, 0.001)[:3],
        "needs at least 4 sizes, has 3 (--sizes names them)",
    ),
    "span": (
        [50, 60, 70, 80],
        accuracies(0.05, 0.6, 0.7, 0.001)[:4],
        "the largest size must be 4 times the smallest or more (--sizes names them)",
    ),
    "repeats": (
        SIZES,
        accuracies(0.05, 0.6, 0.7, 0.001, 2),
        "needs at least 3 repeats at every size (--repeats 5)",
    ),
    "flat": (
        SIZES,
        np.ones((5, 4)),
        "accuracy does not rise with the number of images (--repeats 20 or other --sizes may)",
    ),
    "falling": (
        SIZES,
        accuracies(0.05, 0.6, 0.7, 0.001)[::-1],
        "accuracy does not rise with the number of images (--repeats 20 or other --sizes may)",
    ),
    "noise": (
        SIZES,
        np.tile([0.5, 0.6, 0.7, 0.8], (5, 1)) + 0.01 * np.random.default_rng(0).normal(size=(5, 4)),
        None,
    ),
    "straight": (
        SIZES,
        accuracies(0.0, 1.0, 0.02, 0.0005),
        "accuracy rises too evenly to tell where it will level off "
        "(--repeats 20 or other --sizes may)",
    ),
    "step": (
        SIZES,
        0.9
        - np.array([0.4, 0, 0, 0, 0])[:, None]
        + 0.001 * np.random.default_rng(0).normal(size=(5, 5)),
        "accuracy has nearly levelled off after 10 images per class, too early to tell what is "
        "still to come (--repeats 20 or other --sizes may)",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_no_look_ahead_where_the_data_do_not_fix_the_curve(case):
    sizes, values, doubt = DOUBTFUL[case]
    curve = fit_curve(sizes, values)
    assert not curve.identified
    assert curve.furthest == max(sizes)
    if doubt:
        assert doubt in curve.doubts
    assert not curve.at(max(sizes)).extrapolated
    with pytest.raises(DataError) as caught:
        curve.at(max(sizes) + 1)
    assert str(caught.value) == (
        f"no estimate for {max(sizes) + 1} images per class, only from {min(sizes)} to "
        f"{max(sizes)}: {curve.doubts[0]}"
    )
    document = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert [row["n"] for row in document["estimates"]] == [max(sizes)]


def test_never_further_than_four_times():
    curve = fit_curve(SIZES, accuracies(0.05, 0.6, 0.7, 0.001))
    with pytest.raises(
        DataError, match=r"^no estimate for 321 images per class, only from 5 to 320$"
    ):
        curve.at(321)
    with pytest.raises(
        DataError, match=r"^no estimate for 4 images per class, only from 5 to 320$"
    ):
        curve.at(4)
    document = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert [row["n"] for row in document["estimates"]] == [80, 160, 320]
    assert [row["extrapolated"] for row in document["estimates"]] == [False, True, True]
    assert document["identified"] is True


def test_the_order_of_sizes_is_of_no_account_and_the_seed_decides():
    values = accuracies(0.05, 0.6, 0.7, 0.005)
    one = fit_curve(SIZES, values, seed=1)
    other = fit_curve(SIZES[::-1], values[::-1], seed=1)
    assert one.to_json() == other.to_json()
    assert fit_curve(SIZES, values, seed=2).at(160) != one.at(160)
    assert [point.n for point in other.points] == SIZES
    assert one.points[0].mean == pytest.approx(values[0].mean())
    assert one.points[0].sd == pytest.approx(values[0].std(ddof=1))


def test_one_repeat_gives_a_curve_without_intervals():
    curve = fit_curve(SIZES, accuracies(0.05, 0.6, 0.7, 0.0, 1))
    assert (curve.a_interval, curve.c_interval, curve.at(40).low) == (None, None, None)
    assert curve.at(40).accuracy == pytest.approx(1 - 0.05 - 0.6 * 40**-0.7, abs=1e-3)
    assert curve.points[0].sd == 0.0


REFUSED = {
    "none": ([], [], "a learning curve needs sizes that are all different"),
    "twice": ([5, 5], [[0.5], [0.6]], "a learning curve needs sizes that are all different"),
    "zero": ([0], [[0.5]], "n per class is a whole number of 1 or more, not 0"),
    "lists": ([5, 6], [[0.5]], "2 sizes but 1 lists of accuracies: need one each"),
    "ragged": (
        [5, 6],
        [[0.5], [0.5, 0.6]],
        "a learning curve needs the same repeats at every size, at least one",
    ),
    "empty": ([5], [[]], "a learning curve needs the same repeats at every size, at least one"),
    "percent": ([5], [[92.7]], "accuracies must be from 0 to 1"),
    "nan": ([5], [[float("nan")]], "accuracies must be from 0 to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_curve_is_refused_in_one_line(case):
    sizes, values, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        fit_curve(sizes, values)
    assert str(caught.value) == message
