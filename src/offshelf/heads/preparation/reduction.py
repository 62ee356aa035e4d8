"""Fewer dimensions before the head: principal components, and random projections.

Principal components are whitened or not, and learned from training rows only. The outer
product of several layers is sketched: it has as many values as their dimensions multiplied,
and its inner products, ``(x.x') (y.y')``, are kept by random projections that are multiplied
value by value: Kar and Karnick, "Random feature maps for dot product kernels", AISTATS 2012;
for layers of networks Gao, Beijbom, Zhang and Darrell, "Compact bilinear pooling", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError, did_you_mean
from offshelf.heads.head import frozen
from offshelf.heads.numerics.eigen import decompose
from offshelf.heads.numerics.reproducible import exact_product
from offshelf.heads.numerics.row_scaling import ScaledRows, blocks

REDUCTIONS = ("pca", "whiten", "random")
# Few directions of large rows come from random products, where that costs less.
_RANDOMISED_SIZE, _RANDOMISED_SHARE = 2048, 8
_OVERSAMPLES, _POWERS = 16, 6
# Of a product of layers, and how many columns of a layer are projected at a time.
PRODUCT_DIMENSION, _COLUMNS = 2048, 4096

Array = NDArray[np.float64]
Single = NDArray[np.float32]


class Reduction(NamedTuple):
    """How rows are reduced, and to how many dimensions; ``none`` and 0 for not at all."""

    name: str
    size: int


class Reduced(NamedTuple):
    """What was learned: the arrays, and the share of the rows' variance that is kept."""

    arrays: Mapping[str, NDArray[np.float32]]
    variance: float | None


def parse_reduction(text: str) -> Reduction:
    """Return what *text* asks for.

    Raises:
        HeadError: it is not ``none``, ``pca:N``, ``whiten:N`` or ``random:N`` with N >= 1.

    >>> parse_reduction("pca:64")
    Reduction(name='pca', size=64)
    >>> parse_reduction("none")
    Reduction(name='none', size=0)
    """
    if text == "none":
        return Reduction("none", 0)
    name, _, size = text.partition(":") if isinstance(text, str) else (text, "", "")
    if name not in REDUCTIONS:
        hint = did_you_mean(name, REDUCTIONS) if isinstance(name, str) else ""
        raise HeadError(
            f"unknown reduction {text!r}: use 'none', 'pca:N', 'whiten:N' or 'random:N'.{hint}"
        )
    if not (size.isascii() and size.isdigit() and len(size) < 10 and int(size) > 0):
        raise HeadError(
            f"reduction {text!r} needs a whole number of dimensions from 1, as in '{name}:64'"
        )
    return Reduction(name, int(size))


def fit_reduction(rows: ScaledRows, text: str, seed: int) -> Reduced:
    """Learn the reduction *text* from *rows*, N x D.

    Returns:
        Arrays ``projection`` d x D and, for principal components, ``centre`` D; none for
        ``none``.

    Raises:
        HeadError: the rows do not have so many dimensions or directions.

    >>> from offshelf.heads.numerics.row_scaling import scale_rows
    >>> rows = scale_rows(np.array([[0.0, 0.0], [2.0, 0.0]]), "none")
    >>> fit_reduction(rows, "pca:1", seed=0).arrays["projection"]
    array([[1., 0.]], dtype=float32)
    """
    name, size = parse_reduction(text)
    if name == "none":
        return Reduced({}, None)
    n, dimension = rows.shape
    most = dimension if name == "random" else min(n - 1, dimension)
    if size > most:
        _refuse(text, rows, most)
    if name == "random":
        draw = np.random.default_rng(seed).standard_normal((size, dimension))
        return Reduced({"projection": frozen(draw / np.sqrt(size))}, None)
    centre, directions, spread, total = _components(rows, size, seed)
    if len(spread) < size:
        _refuse(text, rows, len(spread))
    if name == "whiten":
        # Rows then have variance 1 along each direction.
        directions /= np.sqrt(spread / (n - 1))[:, None]
    arrays = {"centre": frozen(centre), "projection": frozen(directions)}
    return Reduced(arrays, float(spread.sum() / total))


def _refuse(text: str, rows: ScaledRows, most: int) -> None:
    n, dimension = rows.shape
    largest = f"the largest is '{parse_reduction(text).name}:{most}'" if most else "use 'none'"
    raise HeadError(
        f"reduction {text!r} is too large for {n} training rows of {dimension} dimensions: "
        f"{largest}"
    )


def _components(rows: ScaledRows, size: int, seed: int) -> tuple[Array, Array, Array, float]:
    """Return mean D, directions d x D, spread d along them, and the spread along all.

    d is less than *size* where the rows have no more directions.
    """
    least = min(rows.shape)
    if least > _RANDOMISED_SIZE and size * _RANDOMISED_SHARE <= least:
        centre, directions, spread, total = _randomised(rows, size, seed)
    else:
        spectrum = decompose(rows)
        order = np.argsort(-spectrum.spread, kind="stable")[:size]
        directions = spectrum.combine(np.eye(len(spectrum.spread))[order])
        centre, spread = spectrum.mean, spectrum.spread[order]
        total = float(spectrum.spread.sum())
    # What rounding leaves of rows that lie in fewer directions is none.
    kept = spread > np.finfo(np.float64).eps * rows.shape[0] * rows.radius**2
    directions, spread = directions[kept], spread[kept]
    # Directions have two signs; the largest value is positive, as in scikit-learn.
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    return centre, directions, spread, total


def _randomised(rows: ScaledRows, size: int, seed: int) -> tuple[Array, Array, Array, float]:
    """Return what :func:`_components` does, from products with a few random combinations.

    Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53 (2011),
    217-288, algorithms 4.4 and 5.1.
    """
    n = rows.shape[0]
    centre = rows.combine(np.full((1, n), 1 / n))[0]

    def across(vectors: Array) -> Array:
        products: Array = rows.scores(vectors) - (vectors @ centre)[:, None]
        return products

    def along(mixtures: Array) -> Array:
        sums: Array = rows.combine(mixtures) - mixtures.sum(axis=1)[:, None] * centre
        return sums

    mixtures = np.random.default_rng(seed).standard_normal((size + _OVERSAMPLES, n))
    for _ in range(_POWERS):
        vectors = _orthogonal(along(mixtures))
        mixtures = _orthogonal(across(vectors))
    vectors = _orthogonal(along(mixtures))
    left, sizes, _ = np.linalg.svd(across(vectors), full_matrices=False)
    parts = blocks(*rows.shape)
    total = sum(float(np.square(rows.take(part) - centre).sum()) for part in parts)
    return centre, (left.T @ vectors)[:size], sizes[:size] ** 2, total


def _orthogonal(vectors: Array) -> Array:
    orthogonal: Array = np.ascontiguousarray(np.linalg.qr(vectors.T)[0].T)
    return orthogonal


def product_of(parts: Sequence[Single], seed: int) -> Single:
    """Return the sketched product of several matrices with the same rows.

    N x 2048 of *parts* N x D_i; the inner product of two rows is, on average over seeds, the
    product of the parts' own.

    >>> rows = np.eye(3, dtype=np.float32)
    >>> product_of([rows, rows], seed=0).shape
    (3, 2048)
    """
    result = np.full((len(parts[0]), PRODUCT_DIMENSION), 1 / np.sqrt(PRODUCT_DIMENSION))
    for number, part in enumerate(parts):
        result *= _projected(part, np.random.default_rng([seed, number]))
    return result.astype(np.float32)


def _projected(part: Single, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return the part times a random matrix of signs, some columns of the part at a time.

    A row has the same bits alone and in any batch.
    """
    total = np.zeros((len(part), PRODUCT_DIMENSION))
    for start in range(0, part.shape[1], _COLUMNS):
        columns = part[:, start : start + _COLUMNS]
        signs = draw.integers(0, 2, (columns.shape[1], PRODUCT_DIMENSION), dtype=np.int8)
        weights = np.ascontiguousarray((2 * signs - 1).T, np.float64)
        total += exact_product(np.ascontiguousarray(columns, np.float64), weights)
    return total
