"""Positive definite systems: the numbers of elimination, in the type asked for."""

from __future__ import annotations

import numpy as np
import pytest

from offshelf.heads.svm.gram import solve_positive

TYPES = (np.float32, np.float64)


def system(size: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(size)
    rows = draw.normal(size=(size, 2 * size))
    return (rows @ rows.T).astype(dtype), draw.normal(size=size)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [1, 2, 40, 300])
def test_the_solution_is_that_of_elimination(size: int, dtype: type) -> None:
    values, targets = system(size, dtype)
    ridge = np.linspace(0.5, 1.0, size)
    expected = np.linalg.solve(values.astype(np.float64) + np.diag(ridge), targets)
    found = solve_positive(values.copy(), targets, ridge.astype(dtype))
    assert found.dtype == dtype
    tolerance = 1e-4 if dtype is np.float32 else 1e-10
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_what_is_not_positive_is_solved_all_the_same() -> None:
    values = np.array([[4.0, 6.0], [6.0, 1.0]], np.float32)
    found = solve_positive(values, np.array([10.0, 7.0]), 0.0)
    np.testing.assert_allclose(found, [1.0, 1.0], rtol=1e-6)
    assert found.dtype == np.float32


def test_targets_are_left_as_they_are() -> None:
    values, targets = system(5, np.float64)
    kept = targets.copy()
    solve_positive(values, targets, 0.5)
    assert np.array_equal(targets, kept)


@pytest.mark.parametrize("layout", ["apart", "columns"])
def test_a_system_that_lies_otherwise_is_solved_as_well(layout: str) -> None:
    values, targets = system(30, np.float64)
    expected = solve_positive(values.copy(), targets, 0.5)
    lying = np.repeat(values, 2, axis=1)[:, ::2] if layout == "apart" else np.asfortranarray(values)
    assert not lying.flags.c_contiguous
    np.testing.assert_allclose(solve_positive(lying, targets, 0.5), expected, rtol=1e-12)


def test_no_rows_are_no_system(capfd: pytest.CaptureFixture[str]) -> None:
    assert solve_positive(np.empty((0, 0)), np.empty(0), 1.0).shape == (0,)
    # LAPACK complains on its own.
    assert capfd.readouterr() == ("", "")
