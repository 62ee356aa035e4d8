"""Normalised feature rows and their inner products, in blocks: the matrix is never copied."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.numerics.blas_threads import run_in_threads
from offshelf.heads.numerics.reproducible import row_norms
from offshelf.heads.options import Normalisation

Made = TypeVar("Made")
Matrix = NDArray[np.floating[Any]]

BLOCK_VALUES = 2**18
# Some columns of all rows at once: wide where n x n is updated with each, else small.
WIDE_VALUES, WIDE_COLUMNS = 2**21, 256
PART_VALUES, PART_COLUMNS = 2**19, 64
# Factors and norms between this and its inverse leave float32 room for squares and sums.
_TINY = 1e-12


def blocks(n: int, dimension: int, values: int | None = None) -> Iterator[slice]:
    """Yield slices that cover n rows, each of about two megabytes as float64, or *values*.

    >>> [(part.start, part.stop) for part in blocks(5, 2**17)]
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, (values or BLOCK_VALUES) // max(1, dimension))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def scaled_block(rows: NDArray[Any], normalisation: Normalisation) -> NDArray[np.float64]:
    """Return a float64 copy of *rows*, each divided by its Euclidean norm for ``l2``.

    For decisions: a row's values have the same bits whatever rows are beside it. A row of
    zeros stays zeros. ``sqrt`` takes the root of every value first and keeps its sign;
    what ``standard`` does needs arrays, see :mod:`offshelf.heads.preparation.prepare`.

    >>> scaled_block(np.array([[3, 4], [0, 0]], dtype=np.float32), "l2")
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    scaled: NDArray[np.float64] = np.array(rows, dtype=np.float64, order="C")
    if normalisation == "sqrt":
        scaled = np.copysign(np.sqrt(np.abs(scaled)), scaled)
    if normalisation in ("l2", "sqrt"):
        norms = row_norms(scaled)
        scaled /= np.where(norms == 0.0, 1.0, norms)[:, None]
    return scaled


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Feature rows that are scaled where they are used; the matrix itself is never copied.

    Attributes:
        features: N x D as the caller gave them.
        factors: N float64; row i stands for ``factors[i] * features[i]``.
        radius: the largest Euclidean norm of a scaled row.

    >>> rows = scale_rows(np.array([[3, 4], [0, 0]], dtype=np.float32), "l2")
    >>> rows.take(slice(0, 1))
    array([[0.6, 0.8]])
    """

    features: NDArray[Any]
    factors: NDArray[np.float64]
    radius: float

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        n, dimension = self.features.shape
        return n, dimension

    @cached_property
    def moderate(self) -> bool:
        """Whether scaling and products of the rows stay in the range of float32."""
        inside = np.all((self.factors > _TINY) & (self.factors < 1 / _TINY))
        return bool(inside) and self.radius < 1 / _TINY

    def whole_fits(self, dtype: type[np.floating[Any]]) -> bool:
        """Return whether products of the features as they are stay in the range of *dtype*."""
        given = self.features
        largest = self.radius / max(float(self.factors.min(initial=1.0)), _TINY)
        readable = given.dtype == dtype and bool(given.flags.c_contiguous)
        return readable and self.moderate and largest < 1 / _TINY

    def take(self, rows: Any, dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
        """Return a scaled copy of some rows."""
        return self._scaled(self.features[rows], self.factors[rows], dtype)

    def of(self, chosen: NDArray[np.intp]) -> ScaledRows:
        """Return some of the rows, in a copy."""
        return ScaledRows(self.features[chosen], self.factors[chosen], self.radius)

    def columns(self, dtype: type[np.floating[Any]] = np.float64) -> Iterator[NDArray[Any]]:
        """Yield scaled copies of some columns of all rows, from left to right."""
        for part in self._parts(max(WIDE_COLUMNS, WIDE_VALUES // self.shape[0])):
            yield self._scaled(self.features[:, part], self.factors, dtype)

    def combine(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``coefficients @ rows``, K x D float64, for coefficients K x N."""
        used = np.flatnonzero(coefficients.any(axis=0))
        kept = coefficients[:, used] * self.factors[used]
        total = np.empty((len(coefficients), self.shape[1]))
        parts = list(self._parts(max(PART_COLUMNS, PART_VALUES // max(1, len(used)))))

        def work(chosen: NDArray[np.intp]) -> None:
            for part in (parts[i] for i in chosen):
                np.matmul(kept, self.features[used, part].astype(np.float64), out=total[:, part])

        run_in_threads(work, len(parts), PART_VALUES)
        return total

    def combined(
        self, coefficients: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``coefficients @ rows`` and its product with the rows, in one pass.

        The same as :meth:`combine` and then :meth:`scores`: K x D and K x N.
        """
        kept = coefficients * self.factors
        total = np.empty((len(coefficients), self.shape[1]))
        step = max(PART_COLUMNS, PART_VALUES // max(1, self.shape[0]))
        parts = list(self._parts(step))

        def work(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
            scores = np.zeros(coefficients.shape)
            buffer = np.empty((self.shape[0], min(step, self.shape[1])))
            for part in (parts[i] for i in chosen):
                values = buffer[:, : part.stop - part.start]
                values[:] = self.features[:, part]
                total[:, part] = kept @ values
                scores += total[:, part] @ values.T
            return scores

        return total, self.factors * sum(run_in_threads(work, len(parts), PART_VALUES))

    def scores(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``weight @ rows.T``, K x N float64, for weights K x D."""
        parts = list(self._parts(max(PART_COLUMNS, PART_VALUES // max(1, self.shape[0]))))

        def work(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
            total = np.zeros((len(weight), self.shape[0]))
            for part in (parts[i] for i in chosen):
                total += weight[:, part] @ self.features[:, part].astype(np.float64).T
            return total

        return self.factors * sum(run_in_threads(work, len(parts), PART_VALUES))

    def _parts(self, step: int) -> Iterator[slice]:
        for start in range(0, self.shape[1], step):
            yield slice(start, min(start + step, self.shape[1]))

    def _scaled(
        self, values: NDArray[Any], factors: NDArray[np.float64], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        if self.moderate:
            scaled = values.astype(dtype)
            scaled *= factors[:, None].astype(dtype)
            return scaled
        return (values.astype(np.float64) * factors[:, None]).astype(dtype)


@dataclass(frozen=True, eq=False)
class SharedRows(ScaledRows):
    """Rows that several heads learn from: what one computes of them is there for the next.

    Attributes:
        largest_c: inner products are shared by all C up to this.
    """

    largest_c: float = 0.0
    _made: dict[Hashable, Any] = field(default_factory=dict)
    _lock: Any = field(default_factory=RLock)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what *make* returned when it was first asked for under *key*."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
        return made

    def keep(self, *keys: Hashable) -> None:
        """Forget what was made under any other key than *keys*."""
        with self._lock:
            for key in self._made.keys() - set(keys):
                del self._made[key]


def scale_rows(features: NDArray[Any], normalisation: Normalisation) -> ScaledRows:
    """Return *features* N x D as rows of Euclidean norm 1 for ``l2``, else as they are.

    Rows of zeros stay zeros. Other normalisations change single values and so need a copy.
    """
    norms, parts = np.empty(len(features)), list(blocks(*features.shape))

    def work(chosen: NDArray[np.intp]) -> None:
        for part in (parts[i] for i in chosen):
            norms[part] = row_norms(np.array(features[part], dtype=np.float64, order="C"))

    run_in_threads(work, len(parts), BLOCK_VALUES)
    if normalisation == "none":
        return ScaledRows(features, np.ones(len(features)), float(norms.max(initial=0.0)))
    return ScaledRows(features, 1 / np.where(norms == 0.0, 1.0, norms), 1.0)


def inner_products(
    rows: ScaledRows, constant: float, dtype: type[np.floating[Any]] = np.float64
) -> Matrix:
    """Return ``rows @ rows.T + constant``, n x n of *dtype*, in column parts of the rows.

    Beside the result there is never more than one part, so no copy of the whole matrix.
    """
    from scipy.linalg import blas

    update = blas.ssyrk if dtype is np.float32 else blas.dsyrk
    if rows.whole_fits(dtype):
        # In place, where BLAS can read the features as they are; the small result is scaled.
        products: Matrix = update(1.0, rows.features.T, trans=1, lower=1)
        factors = rows.factors.astype(dtype)
        products *= factors[:, None]
        products *= factors
        products += constant
        _mirror(products)
        return products.T
    total = np.full((rows.shape[0],) * 2, constant, dtype=dtype, order="F")
    for block in rows.columns(dtype):
        # In Fortran's order the lower triangle; n x n is updated in place.
        update(1.0, block.T, beta=1.0, c=total, trans=1, lower=1, overwrite_c=1)
        del block  # before the next is made
    _mirror(total)
    return total.T


def _mirror(lower: Matrix, step: int = 256) -> None:
    n = len(lower)
    for start in range(0, n, step):
        stop = min(start + step, n)
        corner = np.tril(lower[start:stop, start:stop])
        lower[start:stop, start:stop] = corner + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T
