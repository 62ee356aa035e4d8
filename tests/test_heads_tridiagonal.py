"""Shifted inverses from one decomposition: those of numpy, at any size and any shift."""

from __future__ import annotations

import numpy as np
import pytest

from offshelf.heads.numerics.tridiagonal import Tridiagonal


def _positive(n: int, rank: int, scale: float = 1.0) -> np.ndarray:
    rows = np.random.default_rng(n).standard_normal((n, rank))
    return scale * rows @ rows.T


@pytest.mark.parametrize("n", [1, 2, 3, 7, 90])
@pytest.mark.parametrize("t", [1e-3, 1.0, 1e6])
def test_inverses_are_those_of_numpy(n, t):
    matrix = _positive(n, n + 2)
    inverse = np.linalg.inv(matrix + t * np.eye(n))
    tridiagonal = Tridiagonal(matrix.copy())
    factor = tridiagonal.shifted(t)
    vectors = np.random.default_rng(0).standard_normal((n, 4))
    assert factor.shift == t
    assert tridiagonal.trace == pytest.approx(matrix.trace(), rel=1e-14)
    np.testing.assert_allclose(tridiagonal.solve(factor, vectors), inverse @ vectors, rtol=1e-7)
    forms = np.einsum("im,ij,jm->m", vectors, inverse, vectors)
    np.testing.assert_allclose(tridiagonal.forms([factor], vectors.T), [forms], rtol=1e-9)
    diagonals = tridiagonal.diagonals([factor, tridiagonal.shifted(2 * t)])
    expected = np.linalg.inv(matrix + 2 * t * np.eye(n))
    np.testing.assert_allclose(diagonals, [inverse.diagonal(), expected.diagonal()], rtol=1e-9)


def test_parts_of_the_rows_have_the_diagonal_of_all(monkeypatch):
    matrix = _positive(50, 60)
    whole = Tridiagonal(matrix.copy())
    expected = whole.diagonals([whole.shifted(1.0)])
    monkeypatch.setattr("offshelf.heads.numerics.row_scaling.BLOCK_VALUES", 300)
    assert np.array_equal(whole.diagonals([whole.shifted(1.0)]), expected)


@pytest.mark.parametrize("scale", [1.0, 1e9, 0.0])
def test_a_shift_below_rounding_is_raised_to_what_rounding_can_tell_from_nothing(scale):
    matrix = _positive(40, 5, scale)
    tridiagonal = Tridiagonal(matrix.copy())
    factor = tridiagonal.shifted(1e-300)
    assert 0 < factor.shift <= 1e-11 * max(scale * 100, 1e-280)
    assert factor.shift >= np.finfo(np.float64).eps * np.linalg.norm(matrix, 2)
    assert (factor.diagonal > 0).all()
    vectors = matrix @ np.ones((40, 1))
    solved = tridiagonal.solve(factor, vectors)
    assert np.isfinite(solved).all()
    np.testing.assert_allclose(matrix @ solved, vectors, atol=1e-6 * np.abs(vectors).max())


def test_an_eigenvalue_that_rounding_made_negative_raises_the_shift():
    matrix = np.diag([1.0, -1e-3, 2.0])
    tridiagonal = Tridiagonal(matrix)
    factor = tridiagonal.shifted(1e-6)
    assert factor.shift == pytest.approx(4e-3)
    assert (factor.diagonal > 0).all()


def test_a_matrix_that_has_to_be_copied_is_decomposed_too():
    matrix = _positive(30, 30)
    expected = np.linalg.inv(matrix + np.eye(30)).diagonal()
    for given in (np.asfortranarray(matrix), np.tile(matrix, (2, 2))[:30, :30]):
        tridiagonal = Tridiagonal(given)
        found = tridiagonal.diagonals([tridiagonal.shifted(1.0)])[0]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_matrix_itself_is_written_over():
    matrix = _positive(30, 30)
    tridiagonal = Tridiagonal(matrix)
    assert np.shares_memory(matrix, tridiagonal._directions)
