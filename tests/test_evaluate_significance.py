"""Paired tests, corrections and ties with the best, against scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from offshelf.measurement.significance_tests import (
    corrected_interval,
    corrected_t,
    holm,
    mcnemar,
    not_distinguishable,
)
from refusals import refused


def outcomes(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(True, True)] * both + [(True, False)] * first
    pairs += [(False, True)] * second + [(False, False)] * neither
    one, other = np.array(pairs, bool).T
    return one, other


@given(
    counts=st.tuples(*[st.integers(0, 300)] * 4).filter(any),
)
@settings(deadline=None)
def test_mcnemar_is_the_binomial_test_of_scipy(counts):
    one, other = outcomes(*counts)
    result = mcnemar(one, other)
    b, c = counts[1:3]
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert result.p == pytest.approx(expected, rel=1e-9)
    assert (result.n, result.only_first, result.only_second) == (sum(counts), b, c)
    assert mcnemar(other, one).p == result.p


@pytest.mark.parametrize(("b", "c"), [(3, 11), (84, 90), (40, 12), (1, 0), (250, 173)])
def test_mcnemar_is_that_of_statsmodels(b, c):
    reference = pytest.importorskip("statsmodels.stats.contingency_tables")
    result = mcnemar(*outcomes(100, b, c, 7))
    table = [[100, b], [c, 7]]
    assert result.p == pytest.approx(reference.mcnemar(table, exact=True).pvalue, rel=1e-9)
    corrected = reference.mcnemar(table, exact=False, correction=True)
    assert result.chi2 == pytest.approx(corrected.statistic, rel=1e-12)


def test_the_figures_of_the_literature():
    # 2768 and 2760 of 2985 right, 176 of them by one network only: "no difference".
    near = mcnemar(*outcomes(2676, 92, 84, 133))
    assert round(near.chi2, 2) == 0.28
    assert 0.5 < near.p < 0.7
    # 2768 and 2691 right: a real difference, about 22.8.
    far = mcnemar(*outcomes(2603, 165, 88, 129))
    assert round(far.chi2, 1) == 22.8
    assert far.p < 1e-5
    # Fifteen against five: the two-sided sign test, 2 * P(X <= 5).
    assert mcnemar(*outcomes(0, 15, 5, 0)).p == pytest.approx(0.041389, abs=1e-6)


def test_equal_results_are_no_difference():
    for b in (0, 5):
        result = mcnemar(*outcomes(10, b, b, 3))
        assert (result.p, result.chi2) == (1.0, 0.0)


@given(seed=st.integers(0, 1000), repeats=st.integers(2, 30), ratio=st.floats(0.1, 4))
@settings(deadline=None, max_examples=60)
def test_the_corrected_t_is_scipys_with_the_variance_corrected(seed, repeats, ratio):
    draw = np.random.default_rng(seed)
    x, y = draw.random(repeats), draw.random(repeats)
    n_train, n_test = 1000, round(1000 * ratio)
    result = corrected_t(x, y, n_train=n_train, n_test=n_test)
    plain = stats.ttest_rel(x, y)
    factor = math.sqrt((1 / repeats) / (1 / repeats + n_test / n_train))
    assert result.t == pytest.approx(plain.statistic * factor, rel=1e-9)
    expected = 2 * stats.t.sf(abs(plain.statistic * factor), repeats - 1)
    assert result.p == pytest.approx(expected, rel=1e-9)
    low, high = result.interval
    assert (low + high) / 2 == pytest.approx((x - y).mean())
    assert (low <= 0 <= high) == (result.p >= 0.05)


def test_the_interval_of_a_mean_is_wider_than_independence_would_have_it():
    values = np.array([0.92, 0.93, 0.91, 0.925])
    low, high = corrected_interval(values, n_train=300, n_test=100)
    plain = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    stretch = math.sqrt((1 / 4 + 1 / 3) / (1 / 4))
    assert (high - low) / (plain[1] - plain[0]) == pytest.approx(stretch)
    assert (low + high) / 2 == pytest.approx(values.mean())


def test_the_corrected_t_does_not_cry_wolf_where_the_plain_one_does():
    # Two equal learners, each of whose accuracy on a split depends on the images drawn.
    draw = np.random.default_rng(0)
    alarms, plain, n, repeats = 0, 0, 90, 20
    for _ in range(200):
        effect = draw.normal(size=n)  # by how much an image favours the first
        tested = np.stack([draw.permutation(n)[:30] for _ in range(repeats)])
        differences = effect[tested].mean(axis=1)
        alarms += corrected_t(differences, np.zeros(repeats), n_train=60, n_test=30).p < 0.05
        plain += stats.ttest_1samp(differences, 0).pvalue < 0.05
    assert alarms <= 22  # 5 % of 200 is 10; 22 is 4 deviations above
    assert plain > 60


def test_repeats_without_spread():
    same = corrected_t([0.1 + 0.2, 0.3], [0.3, 0.3], n_train=2, n_test=1)
    assert same.p > 0.3
    apart = corrected_t([0.9, 0.8, 0.7], [0.8, 0.7, 0.6], n_train=2, n_test=1)
    assert (apart.p, apart.t) == (0.0, math.inf)
    assert corrected_t([0.5, 0.5], [0.5, 0.5], n_train=2, n_test=1).p == 1.0


P_VALUES = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.05, 1.0])), max_size=20
)


@given(p=P_VALUES)
@settings(deadline=None)
def test_holm_is_its_definition(p):
    adjusted = holm(p)
    for i, own in enumerate(p):
        # The largest of (number of p-values at or above) * p over the p-values up to this one.
        smaller = [q for q in p if q <= own]
        expected = max(min(1.0, sum(r >= q for r in p) * q) for q in smaller)
        assert adjusted[i] == pytest.approx(expected, rel=1e-12)


def test_the_correction_is_that_of_statsmodels():
    reference = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(holm(p), reference.multipletests(p, method="holm")[1])


def test_wilson_is_that_of_statsmodels():
    reference = pytest.importorskip("statsmodels.stats.proportion")
    from offshelf.measurement.metrics import wilson

    expected = reference.proportion_confint(2768, 2985, method="wilson")
    assert wilson(2768, 2985) == pytest.approx(expected, abs=1e-12)


def test_rows_of_one_split_that_tie_the_best():
    draw = np.random.default_rng(0)
    base = draw.random(3000)
    right = [base < share for share in (0.90, 0.91, 0.905, 0.60)]
    flipped = draw.random((4, 3000)) < 0.05
    right = [row ^ flip for row, flip in zip(right, flipped, strict=True)]
    result = not_distinguishable(right)
    assert result.test == "mcnemar"
    assert result.best == max(range(4), key=lambda i: right[i].mean())
    assert result.same == (True, True, True, False)
    for i, row in enumerate(right):
        assert result.p[i] == pytest.approx(mcnemar(right[result.best], row).p)
    others = [i for i in range(4) if i != result.best]
    expected = holm([result.p[i] for i in others])
    assert [result.adjusted[i] for i in others] == pytest.approx(expected)


def test_the_correction_decides():
    # One row with p = 0.03 is worse; among nine others that are equal it is not.
    best, weak = outcomes(50, 17, 6, 0)
    assert not_distinguishable([best, weak]).same == (True, False)
    crowd = [best, weak, *[best.copy() for _ in range(9)]]
    result = not_distinguishable(crowd)
    assert 0.02 < result.p[1] < 0.05 < result.adjusted[1]
    assert all(result.same)


def test_rows_of_repeats_that_tie_the_best():
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 0.004, 10)
    rows = [mean + shared + draw.normal(0, 0.001, 10) for mean in (0.93, 0.9295, 0.90)]
    result = not_distinguishable(rows, n_train=1500, n_test=2985)
    assert result.test == "corrected_t"
    assert result.same == (True, True, False)
    expected = corrected_t(rows[result.best], rows[2], n_train=1500, n_test=2985).p
    assert result.p[2] == pytest.approx(expected)
    assert result.p[result.best] == result.adjusted[result.best] == 1.0


def test_a_single_row_and_equal_rows_tie():
    row = np.array([True, False])
    assert not_distinguishable([row]).same == (True,)
    result = not_distinguishable([row, row, ~row])
    assert result.best == 0
    assert all(result.same)


def test_the_best_row_is_rarely_left_out():
    # Eight equally good rows: any one of them may be called worst by chance, a given one rarely.
    draw = np.random.default_rng(0)
    left_out = sum(
        not not_distinguishable(list(draw.random((8, 200)) < 0.8)).same[3] for _ in range(400)
    )
    assert left_out <= 20


YES = np.array([True, False])
REFUSED = {
    "ints": (
        lambda: mcnemar(np.array([1, 0]), YES),
        "first must be a list of True and False, one per test image, got shape (2,) of int64",
    ),
    "matrix": (
        lambda: mcnemar(YES, np.stack([YES, YES])),
        "second must be a list of True and False, one per test image, got shape (2, 2) of bool",
    ),
    "lengths": (
        lambda: mcnemar(YES, np.array([True])),
        "2 outcomes but 1 of the other result: need one each",
    ),
    "one repeat": (
        lambda: corrected_t([0.5], [0.5], n_train=1, n_test=1),
        "a test across repeats needs at least 2 of them",
    ),
    "repeats": (
        lambda: corrected_t([0.5, 0.6], [0.5], n_train=1, n_test=1),
        "2 repeats but 1 of the other result: need one each",
    ),
    "size": (
        lambda: corrected_t([0.5, 0.6], [0.5, 0.7], n_train=0, n_test=1),
        "n_train is a whole number of 1 or more, not 0",
    ),
    "nan": (
        lambda: corrected_t([0.5, float("nan")], [0.5, 0.7], n_train=1, n_test=1),
        "first: NaN or infinity in row 1",
    ),
    "confidence": (
        lambda: corrected_interval([0.5, 0.6], n_train=1, n_test=1, confidence=95),
        "confidence is a share between 0 and 1 such as 0.95, not 95",
    ),
    "p above 1": (lambda: holm([0.5, 1.5]), "p-values must be a list of numbers from 0 to 1"),
    "p nan": (
        lambda: holm([float("nan")]),
        "p-values must be a list of numbers from 0 to 1",
    ),
    "none": (lambda: not_distinguishable([]), "no results to compare"),
    "alpha": (
        lambda: not_distinguishable([YES], alpha=5),
        "alpha is a share between 0 and 1 such as 0.05, not 5",
    ),
    "kinds": (
        lambda: not_distinguishable([YES, np.array([0.5, 0.6])]),
        "result 1 must be a list of True and False, one per test image, got shape (2,) of float64",
    ),
    "other lengths": (
        lambda: not_distinguishable([YES, YES[:1]]),
        "2 values in the first result but 1 in another: need one each",
    ),
    "sizes": (
        lambda: not_distinguishable([np.array([0.5, 0.6])]),
        "a test across repeats needs n_train and n_test, images per split",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tested_is_refused_in_one_line(case):
    call, message = REFUSED[case]
    assert refused(call) == message
