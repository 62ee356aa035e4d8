"""Preparation of feature rows for a head: normalisation, then a reduction of dimensions.

Learned from training rows, kept as named arrays, and done to each row by itself: a row
comes out with the same bits alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.arguments import check_normalisation, checked_c, checked_features, checked_seed
from offshelf.heads.head import frozen
from offshelf.heads.numerics.reproducible import exact_product
from offshelf.heads.numerics.row_scaling import SharedRows, blocks, scale_rows, scaled_block
from offshelf.heads.options import GRID, Normalisation
from offshelf.heads.preparation.reduction import fit_reduction, parse_reduction

# A deviation below this share of the mean is rounding of a constant.
_CONSTANT = 1e-7
# Arrays are taken apart for each block of rows, so blocks are about as large as they are.
_MAX_BLOCK_VALUES = 2**23

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Preparation:
    """How feature rows are prepared.

    Attributes:
        normalisation: ``l2``, ``none``, ``standard`` or ``sqrt``.
        reduction: ``none``, ``pca:N``, ``whiten:N`` or ``random:N``.
        arrays: float32: ``shift`` and ``scale``, D each, for ``standard``; ``projection``
            N x D for a reduction, and ``centre`` D where it is around the mean.
        variance: share of the training rows' variance that principal components keep, or
            None.
    """

    normalisation: Normalisation
    reduction: str
    arrays: Arrays
    variance: float | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """Training rows as heads learn from them, shared by several heads and values of C.

    Attributes:
        preparation: how they were prepared.
        rows: N x d; inner products and decompositions are computed once and kept.
    """

    preparation: Preparation
    rows: SharedRows


def prepare(
    features: Any,
    *,
    normalisation: Normalisation = "l2",
    reduction: str = "none",
    seed: int = 0,
    cs: Sequence[float | Literal["auto"]] = (),
) -> Prepared:
    """Learn how to prepare training rows, and prepare them.

    Args:
        features: N x D, finite, float32 (other real types are taken too); not copied for
            ``l2`` and ``none`` without a reduction.
        normalisation: ``l2`` divides each row by its Euclidean norm, ``none`` takes it as
            it is, ``standard`` takes from each dimension the mean of the training rows and
            divides by their deviation (constant dimensions become 0), ``sqrt`` takes the
            root of every value, keeps its sign, and divides by the norm.
        reduction: what follows: ``none``, ``pca:N`` principal components, ``whiten:N`` the
            same with variance 1, ``random:N`` a random Gaussian projection.
        seed: of random projections and of products that find few components of many rows.
        cs: values of C that ``svm`` will be trained with. Inner products are then computed
            once for all of them, in the type that the largest needs.

    Raises:
        HeadError: an argument is out of range, values are not finite, or the rows do not
            have as many directions as the reduction asks for.

    >>> prepare(np.array([[3.0, 4.0], [0.0, 2.0]])).rows.take(slice(0, 1))
    array([[0.6, 0.8]])
    """
    check_normalisation(normalisation)
    matrix = checked_features(features)
    largest_c = max((max(GRID) if c == "auto" else checked_c(c) for c in cs), default=0.0)
    preparation = _learned(matrix, normalisation, reduction, checked_seed(seed))
    if preparation.arrays or normalisation == "sqrt":
        rows = scale_rows(_applied(preparation, matrix), "none")
    else:
        rows = scale_rows(matrix, normalisation)
    return Prepared(preparation, SharedRows(rows.features, rows.factors, rows.radius, largest_c))


def _learned(
    matrix: NDArray[Any], normalisation: Normalisation, reduction: str, seed: int
) -> Preparation:
    parse_reduction(reduction)
    standard = _standard(matrix) if normalisation == "standard" and len(matrix) else {}
    if reduction == "none" or not len(matrix):
        return Preparation(normalisation, reduction, standard)
    if normalisation in ("standard", "sqrt"):
        normalised = _applied(Preparation(normalisation, "none", standard), matrix)
        rows = scale_rows(normalised, "none")
    else:
        rows = scale_rows(matrix, normalisation)
    arrays, variance = fit_reduction(rows, reduction, seed)
    return Preparation(normalisation, reduction, {**standard, **arrays}, variance)


def apply(preparation: Preparation, features: Any) -> NDArray[np.float32]:
    """Return *features* N x D as they come out of *preparation*, N x d.

    Raises:
        HeadError: *features* are no finite matrix.
    """
    return _applied(preparation, checked_features(features))


def _applied(preparation: Preparation, matrix: NDArray[Any]) -> NDArray[np.float32]:
    arrays = preparation.arrays
    width = len(arrays["projection"]) if "projection" in arrays else matrix.shape[1]
    prepared = np.empty((len(matrix), width), dtype=np.float32)
    for part in block_parts(matrix.shape, arrays):
        prepared[part] = prepared_block(matrix[part], preparation.normalisation, arrays)
    return prepared


def prepared_block(
    rows: NDArray[Any], normalisation: Normalisation, arrays: Arrays
) -> NDArray[np.float64]:
    """Return some rows n x D as a head takes them, n x d; no row depends on another."""
    block = scaled_block(rows, normalisation)
    if "shift" in arrays:
        block -= arrays["shift"]
        block *= arrays["scale"]
    if "centre" in arrays:
        block -= arrays["centre"]
    if "projection" in arrays:
        block = exact_product(block, arrays["projection"].astype(np.float64))
    return block


def block_parts(shape: tuple[int, ...], *groups: Arrays) -> list[slice]:
    """Return slices that cover N x D rows, in blocks about as large as the largest array."""
    largest = max((array.size for arrays in groups for array in arrays.values()), default=0)
    values = max(2**18, min(largest, _MAX_BLOCK_VALUES))
    return list(blocks(shape[0], shape[1], values))


def preparation_problem(preparation: Preparation, dimension: int) -> str:
    """Say what is wrong with arrays of an untrusted file, or "" when nothing is.

    Args:
        preparation: of a known normalisation and a well-formed reduction.
        dimension: d, that of the rows that the head takes.
    """
    arrays, (name, size) = preparation.arrays, parse_reduction(preparation.reduction)
    wanted = {"shift", "scale"} if preparation.normalisation == "standard" else set()
    wanted |= {"projection"} if size else set()
    wanted |= {"centre"} if name in ("pca", "whiten") else set()
    if set(arrays) != wanted:
        return f"holds the preparation {sorted(arrays)} instead of {sorted(wanted)}"
    projection = arrays["projection"].shape if size else (dimension, dimension)
    if len(projection) != 2 or projection[0] != dimension or (size and projection[0] != size):
        return f"has a projection of shape {projection} for weights of {dimension} dimensions"
    for key in sorted(wanted - {"projection"}):
        if arrays[key].shape != (projection[1],) or projection[1] < 1:
            return f"has {key!r} of shape {arrays[key].shape} for {projection[1]} dimensions"
    return "" if projection[1] >= 1 else "has a projection of no dimensions"


def _standard(matrix: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    n, dimension = matrix.shape
    parts = list(blocks(n, dimension))
    mean = sum((matrix[part].astype(np.float64).sum(axis=0) for part in parts), np.zeros(dimension))
    mean /= n
    squares = (np.square(matrix[part].astype(np.float64) - mean).sum(axis=0) for part in parts)
    deviation = np.sqrt(sum(squares, np.zeros(dimension)) / n)
    varies = deviation > np.maximum(_CONSTANT * np.abs(mean), np.finfo(np.float32).tiny)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
    return {"shift": frozen(mean), "scale": frozen(scale)}
