"""The product that gives each row the same bits alone and in any batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from offshelf.heads.numerics.reproducible import exact_product, row_norms, to_integers

DIMENSIONS = [1, 2, 3, 7, 8, 15, 16, 31, 64, 129, 512, 1280, 4097, 10_001, 25_088, 30_000]


def _matrix(n: int, dimension: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, dimension)) * np.exp(rng.uniform(-30, 30, (n, 1)))
    return values.astype(np.float32).astype(np.float64)


@given(
    dimension=st.one_of(st.sampled_from(DIMENSIONS), st.integers(1, 30_000)),
    n=st.integers(1, 40),
    k=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_row_has_the_same_bits_in_any_part_of_any_batch(dimension, n, k, seed, data):
    rows, weights = _matrix(n, dimension, seed), _matrix(k, dimension, seed + 1)
    whole = exact_product(rows, weights)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    part = exact_product(rows[start:stop].copy(), weights)
    assert part.tobytes() == whole[start:stop].tobytes()
    order = np.random.default_rng(seed).permutation(n)
    assert exact_product(rows[order], weights).tobytes() == whole[order].tobytes()


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_norms_have_the_same_bits_alone_and_in_a_batch(dimension):
    rows = _matrix(37, dimension, dimension)
    alone = np.concatenate([row_norms(rows[i : i + 1].copy()) for i in range(37)])
    assert alone.tobytes() == row_norms(rows).tobytes()
    np.testing.assert_allclose(alone, np.linalg.norm(rows, axis=1), rtol=1e-14)


@pytest.mark.parametrize("dimension", [3, 1280, 25_088])
def test_the_sum_is_exact_integer_arithmetic(dimension):
    # Equal rows are the worst case of Cauchy-Schwarz: the sum reaches the product of the norms.
    rows = np.concatenate([_matrix(5, dimension, 1), np.ones((1, dimension))])
    whole, exponents = to_integers(rows)
    integers = whole.astype(np.int64)
    products = [
        [sum(int(a) * int(b) for a, b in zip(x, z, strict=True)) for z in integers]
        for x in integers
    ]
    assert max(abs(value) for row in products for value in row) < 2**53
    expected = np.ldexp(np.array(products, dtype=float), exponents[:, None] + exponents)
    assert np.array_equal(exact_product(rows, rows), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_and_the_order_of_the_sum_change_nothing(threads):
    rows, weights = _matrix(64, 25_088, 3), _matrix(15, 25_088, 4)
    expected = exact_product(rows, weights)
    with threadpool_limits(threads):
        assert np.array_equal(exact_product(rows, weights), expected)
    order = np.random.default_rng(5).permutation(25_088)
    assert np.array_equal(exact_product(rows[:, order].copy(), weights[:, order].copy()), expected)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_it_is_as_near_to_the_plain_product_as_float32_features_are(dimension):
    rows, weights = _matrix(9, dimension, 7), _matrix(5, dimension, 8)
    scale = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(weights, axis=1))
    assert (np.abs(exact_product(rows, weights) - rows @ weights.T) / scale).max() < 6e-8


def test_zero_rows_give_zero_and_signs_mirror_exactly():
    weights = _matrix(1, 50, 2)
    both = exact_product(_matrix(20, 50, 1), np.concatenate([-weights, weights]))
    assert np.array_equal(both[:, 0], -both[:, 1])
    assert np.array_equal(exact_product(np.zeros((2, 50)), weights), np.zeros((2, 1)))
