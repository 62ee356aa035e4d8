"""Inner products of rows: both forms agree, in any type, without a copy of the matrix."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from offshelf.heads.fitting.fit_head import Recipe, fit_head
from offshelf.heads.numerics.row_scaling import ScaledRows, inner_products, scale_rows, scaled_block
from offshelf.heads.svm.gram import DenseGram, FactoredGram, make_gram


def _rows(n: int, dimension: int, normalisation: str = "l2", scale: float = 1.0) -> ScaledRows:
    values = np.random.default_rng(n + dimension).standard_normal((n, dimension)) * scale
    return scale_rows(values.astype(np.float32), normalisation)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalisation", ["l2", "none"])
@pytest.mark.parametrize(("n", "dimension"), [(1, 1), (7, 3), (300, 17), (257, 9000), (520, 5000)])
def test_inner_products_are_those_of_the_scaled_rows(n, dimension, normalisation, dtype):
    rows = _rows(n, dimension, normalisation)
    scaled = scaled_block(rows.features, normalisation)
    found = inner_products(rows, 1.0, dtype)
    assert found.dtype == dtype
    assert np.array_equal(found, found.T)
    exact = scaled @ scaled.T + 1
    tolerance = (1e-6 if dtype is np.float32 else 1e-13) * np.abs(exact).max()
    np.testing.assert_allclose(found, exact, atol=tolerance, rtol=0)


def _both(dtype: type, n: int = 120, dimension: int = 15) -> tuple[DenseGram, FactoredGram]:
    rows = _rows(n, dimension)
    dense = DenseGram(inner_products(rows, 1.0, dtype))
    return dense, FactoredGram(rows.features.astype(dtype), rows.factors, rows.radius)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_forms_give_the_same_products(dtype):
    coefficients = np.random.default_rng(0).standard_normal((4, 120)).astype(dtype)
    first, second = (gram.times(coefficients) for gram in _both(dtype))
    assert first.dtype == second.dtype == dtype
    np.testing.assert_allclose(first, second, rtol=0, atol=2e-4 if dtype is np.float32 else 1e-11)


@pytest.mark.parametrize("form", [0, 1], ids=["dense", "factored"])
def test_float64_coefficients_are_not_rounded(form):
    coefficients = np.random.default_rng(0).standard_normal((4, 120))
    coefficients[:, ::3] = 0
    single, double = _both(np.float32)[form], _both(np.float64)[form]
    expected = coefficients @ double.times(np.eye(120))
    np.testing.assert_allclose(single.times(coefficients), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(double.times(coefficients), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 10, 16, 17, 90, 120])
def test_both_forms_solve_the_same_systems(size):
    draw = np.random.default_rng(size)
    rows = np.sort(draw.choice(120, size, replace=False))
    targets = draw.choice([-1.0, 1.0], size)
    dense, factored = _both(np.float64)
    system = dense.values[np.ix_(rows, rows)] + 0.01 * np.eye(size)
    expected = np.linalg.solve(system, targets)
    for gram in (dense, factored):
        np.testing.assert_allclose(gram.solve(rows, targets, 0.01), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_system_is_solved_in_the_wider_type_of_products_and_targets(dtype):
    gram, rows = DenseGram(np.eye(3, dtype=np.float32)), np.arange(2)
    assert gram.solve(rows, np.ones(2, dtype), 0.5).dtype == dtype


def test_many_values_are_solved_from_parts_as_well(monkeypatch):
    kept = _both(np.float32)[1]
    monkeypatch.setattr("offshelf.heads.svm.gram._MAX_EXTENDED_VALUES", 0)
    parted = _both(np.float32)[1]
    rows, targets = np.arange(0, 120, 2), np.ones(60)
    assert np.array_equal(parted.solve(rows, targets, 0.5), kept.solve(rows, targets, 0.5))


def test_a_system_that_is_not_positive_within_rounding_is_solved_all_the_same():
    values = np.array([[1.0, 2.0, 0.5], [2.0, 1.0, 0.1], [0.5, 0.1, 3.0]])
    found = DenseGram(values.copy()).solve(np.arange(3), np.ones(3), 0.25)
    np.testing.assert_allclose((values + 0.25 * np.eye(3)) @ found, np.ones(3), rtol=1e-12)


FORMS = {
    "wide": ((50, 200), "l2", 1.0, 1.0, DenseGram, np.float32),
    "few rows for each dimension": ((200, 50), "l2", 1.0, 1.0, DenseGram, np.float32),
    "many rows": ((201, 50), "l2", 1.0, 1.0, FactoredGram, np.float32),
    "large C": ((50, 200), "l2", 1e3, 1.0, DenseGram, np.float64),
    "large C, many rows": ((201, 50), "l2", 1e3, 1.0, FactoredGram, np.float64),
    "long rows": ((50, 200), "none", 1.0, 1e2, DenseGram, np.float64),
    "long rows, normalised": ((50, 200), "l2", 1.0, 1e2, DenseGram, np.float32),
    "tiny rows": ((50, 200), "l2", 1.0, 1e-20, DenseGram, np.float64),
    "tiny rows, many": ((201, 50), "l2", 1.0, 1e-20, FactoredGram, np.float64),
}


@pytest.mark.parametrize("case", FORMS)
def test_form_and_type_suit_the_rows(case):
    (n, dimension), normalisation, c, scale, form, dtype = FORMS[case]
    gram = make_gram(_rows(n, dimension, normalisation, scale), c)
    assert (type(gram), gram.dtype) == (form, dtype)


@pytest.mark.parametrize("form", [0, 1], ids=["dense", "factored"])
def test_largest_bounds_the_products(form):
    gram = _both(np.float64)[form]
    assert gram.largest == pytest.approx(2.0)
    assert np.abs(gram.times(np.eye(120))).max() <= gram.largest * (1 + 1e-12)


def _peak(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_system_is_gathered_without_a_wide_copy():
    n, m = 6000, 1000
    gram, rows = DenseGram(np.eye(n, dtype=np.float32)), np.arange(0, n, n // m)
    targets = np.arange(m, dtype=np.float32)
    np.testing.assert_allclose(gram.solve(rows, targets, ridge=1.0), targets / 2, rtol=1e-6)
    wide, system = n * m * 4, m * m * 4
    assert _peak(lambda: gram.solve(rows, targets, ridge=1.0)) < 2 * system < wide


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_a_fit_needs_less_than_another_copy_of_a_wide_matrix(normalisation):
    features = np.abs(np.random.default_rng(0).standard_normal((800, 25_088), dtype=np.float32))
    targets, before = np.arange(800) % 3, features.copy()
    if normalisation == "none":
        features /= np.float32(160)
    fit_head(Recipe(), features, targets, ["a", "b", "c"])  # imports are no part of it
    peak = _peak(lambda: fit_head(Recipe(normalisation=normalisation), features, targets, "abc"))
    # 80 MB of features; float64 would be 160 MB, the inner products are 3 MB.
    assert peak < 0.6 * features.nbytes
    options = {"c": "auto", "normalisation": normalisation}
    peak = _peak(lambda: fit_head(Recipe(**options), features, targets, "abc"))
    assert peak < 0.6 * features.nbytes
    if normalisation == "l2":
        assert np.array_equal(features, before)


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e5, 1e20])
def test_features_are_multiplied_as_they_are_only_where_that_is_safe(scale):
    draw = np.random.default_rng(1)
    features = (draw.normal(size=(20, 50)) * scale).astype(np.float32)
    rows = scale_rows(features, "l2")
    unit = (
        features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1)[:, None]
    )
    assert rows.whole_fits(np.float32) == (scale in {1e-3, 1.0, 1e5})
    for given in (features, np.asfortranarray(features), features[:, ::2]):
        part = scale_rows(given, "l2")
        whole = given.astype(np.float64)
        exact = whole / np.linalg.norm(whole, axis=1)[:, None]
        np.testing.assert_allclose(
            inner_products(part, 1.0, np.float32), exact @ exact.T + 1, atol=2e-6
        )
    np.testing.assert_allclose(unit @ unit.T + 1, inner_products(rows, 1.0), atol=1e-12)


def test_one_way_through_the_rows_gives_weights_and_scores():
    draw = np.random.default_rng(2)
    rows = scale_rows(draw.normal(size=(30, 2000)).astype(np.float32), "l2")
    coefficients = draw.normal(size=(4, 30)) * (draw.random((4, 30)) < 0.5)
    weight, scores = rows.combined(coefficients)
    np.testing.assert_allclose(weight, rows.combine(coefficients), atol=1e-12)
    np.testing.assert_allclose(scores, rows.scores(weight), atol=1e-12)
