"""The solver: it ends at the one minimum, from anywhere, by either way to solve its systems."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from offshelf.heads.numerics.row_scaling import scale_rows, scaled_block
from offshelf.heads.svm import newton
from offshelf.heads.svm import solve as svm
from offshelf.heads.svm.active_systems import solve_systems
from offshelf.heads.svm.gram import DenseGram, Gram
from offshelf.heads.svm.newton import Point, Problems, minimise, start


def _problem(n: int = 60, dimension: int = 25, problems: int = 4, seed: int = 0):
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((n, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    targets = draw.choice([-1.0, 1.0], (problems, n))
    return rows, DenseGram(rows @ rows.T + 1), targets


def _lacking(problems: Problems, point: Point) -> np.ndarray:
    """How far each coefficient is from what the minimum asks for."""
    pull = 2 * problems.c * problems.targets * problems.slack(point.scores)
    return np.abs(point.coefficients - pull)


@pytest.mark.parametrize("c", [1e-3, 0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("direct_size", [0, 10, 1000], ids=["steps", "mixed", "direct"])
def test_the_end_is_the_minimum_whatever_solves_the_systems(c, direct_size):
    _, gram, targets = _problem()
    gram.direct_size = direct_size
    problems = Problems(gram, targets, c)
    point, found = minimise(problems, start(targets), 1e-9)
    assert found
    np.testing.assert_allclose(point.scores, point.coefficients @ gram.values, atol=1e-9)
    assert _lacking(problems, point).max() < 1e-6 * max(1, c)


@pytest.mark.parametrize("seed", range(5))
def test_every_start_ends_at_the_same_place(seed):
    _, gram, targets = _problem()
    problems = Problems(gram, targets, 50.0)
    expected = minimise(problems, start(targets), 1e-9)[0]
    coefficients = 30 * np.random.default_rng(seed).standard_normal(targets.shape)
    anywhere = Point(coefficients, coefficients @ gram.values)
    point, found = minimise(problems, anywhere, 1e-9)
    assert found
    np.testing.assert_allclose(point.scores, expected.scores, atol=1e-7)


def test_rows_left_out_are_as_if_they_were_not_there():
    rows, gram, targets = _problem()
    kept = np.arange(60) % 3 > 0
    part, _ = minimise(Problems(gram, targets * kept, 5.0), start(targets), 1e-9)
    inner = rows[kept] @ rows[kept].T + 1
    alone, _ = minimise(
        Problems(DenseGram(inner), targets[:, kept], 5.0), start(targets[:, kept]), 1e-9
    )
    np.testing.assert_allclose(part.scores[:, kept], alone.scores, atol=1e-8)
    assert not part.coefficients[:, ~kept].any()


def test_an_offset_of_the_scores_is_part_of_the_problem():
    _, gram, targets = _problem()
    shifted = DenseGram(gram.values * 0.999)
    exact, _ = minimise(Problems(gram, targets, 2.0), start(targets), 1e-10)
    offset = exact.coefficients @ (gram.values - shifted.values)
    near = minimise(Problems(shifted, targets, 2.0, offset), exact.copy(), 1e-10)[0]
    own = near.coefficients @ shifted.values
    assert np.abs(own - exact.scores).max() > 1e-4
    np.testing.assert_allclose(near.scores, exact.scores, atol=1e-8)


def test_steps_that_go_uphill_are_cut_where_they_are_lowest():
    _, gram, targets = _problem()
    problems = Problems(gram, targets, 10.0)
    best, _ = minimise(problems, start(targets), 1e-9)
    old = start(targets)
    # Past the minimum by four times the way: uphill in the end.
    new = Point(5 * best.coefficients, 5 * best.scores)
    settled = np.array([False, False, False, True])
    cut, moves = newton._downhill(problems, old, Point(*map(np.copy, vars(new).values())), settled)
    assert moves.all()
    low = problems.objective(cut)
    assert (low[:3] < problems.objective(old)[:3]).all()
    assert (low[:3] < problems.objective(new)[:3]).all()
    assert np.array_equal(cut.scores[3], new.scores[3])
    away = Point(-best.coefficients, -best.scores)
    kept, moves = newton._downhill(problems, old, away, ~settled & settled)
    assert not moves.any()
    np.testing.assert_allclose(kept.scores, 0, atol=1e-4)


def test_too_few_rounds_are_told(monkeypatch):
    _, gram, targets = _problem()
    monkeypatch.setattr(newton, "MAX_ROUNDS", 1)
    assert not minimise(Problems(gram, targets, 5.0), start(targets), 1e-9)[1]


def test_no_active_row_is_no_system():
    _, gram, targets = _problem()
    active = np.zeros(targets.shape, dtype=bool)
    assert not solve_systems(gram, active, targets, 0.5, targets, 1e-6).any()


class _Counted:
    """A gram that counts its products."""

    def __init__(self, gram: Gram) -> None:
        self.gram, self.products = gram, 0
        self.dtype, self.largest, self.direct_size = gram.dtype, gram.largest, 0

    def times(self, coefficients):
        self.products += 1
        return self.gram.times(coefficients)

    def solve(self, rows, targets, ridge):
        return self.gram.solve(rows, targets, ridge)


def test_the_nearer_a_solution_is_to_be_the_larger_a_system_is_solved_at_once():
    _, gram, targets = _problem()
    active = np.ones(targets.shape, dtype=bool)
    products = []
    for tolerance in (1e-2, 1e-12):
        counted = _Counted(gram)
        counted.direct_size = int(0.6 * targets.shape[1])
        solve_systems(counted, active, targets, 0.5, 0 * targets, tolerance)
        products.append(counted.products)
    assert products[0] > 0
    assert products[1] == 0


def test_all_problems_share_each_product():
    _, gram, targets = _problem(problems=9)
    counts = []
    for chosen in (slice(0, 1), slice(0, 9)):
        counted = _Counted(gram)
        active = targets[chosen] > 0
        solve_systems(counted, active, targets[chosen], 0.5, 0 * targets[chosen], 1e-6)
        counts.append(counted.products)
    assert counts[1] <= counts[0] + 5


def test_systems_that_steps_do_not_solve_are_solved_directly(monkeypatch):
    _, gram, targets = _problem()
    gram.direct_size = 0
    monkeypatch.setattr("offshelf.heads.svm.active_systems.MAX_PRODUCTS", 2)
    active = np.ones(targets.shape, dtype=bool)
    found = solve_systems(gram, active, targets, 1e-3, 0 * targets, 1e-9)
    np.testing.assert_allclose(found @ gram.values + 1e-3 * found, targets, atol=1e-9)


@given(
    n=st.integers(4, 60),
    dimension=st.integers(1, 80),
    k=st.integers(2, 4),
    exponent=st.floats(-3, 2),
    copies=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_any_small_problem_has_the_scores_of_linear_svc(n, dimension, k, exponent, copies, seed):
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((n, dimension)).astype(np.float32)
    if copies:
        # The same row in several classes: never separable.
        features[n // 2 :] = features[: n - n // 2]
    targets, c = np.arange(n) % k, 10.0**exponent
    rows = scale_rows(features, "l2")
    weight, bias, found = svm.solve(svm.make_training(rows, targets, k, c), c)
    assert found
    scaled = scaled_block(features, "l2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            model = LinearSVC(C=c, dual=False, tol=1e-11, max_iter=5000).fit(scaled, targets)
        except Warning:
            return
    expected = model.decision_function(scaled).reshape(n, -1)
    np.testing.assert_allclose(scaled @ weight.T + bias, expected, atol=1e-4)
