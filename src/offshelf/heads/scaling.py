"""Normalisation of feature rows, in blocks: never more than one copy of a big matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.exact import row_norms
from offshelf.heads.head import Normalisation

BLOCK_VALUES = 2**18


def blocks(n: int, dimension: int) -> Iterator[slice]:
    """Yield slices that cover n rows, each of about two megabytes as float64.

    >>> [(part.start, part.stop) for part in blocks(5, 2**17)]
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, BLOCK_VALUES // max(1, dimension))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def scaled_block(rows: NDArray[Any], normalisation: Normalisation) -> NDArray[np.float64]:
    """Return a float64 copy of *rows*, each divided by its Euclidean norm for ``l2``.

    For decisions: a row's values have the same bits whatever rows are beside it. A row of
    zeros stays zeros.

    >>> scaled_block(np.array([[3, 4], [0, 0]], dtype=np.float32), "l2")
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    scaled: NDArray[np.float64] = np.array(rows, dtype=np.float64, order="C")
    if normalisation == "l2":
        norms = row_norms(scaled)
        scaled /= np.where(norms == 0.0, 1.0, norms)[:, None]
    return scaled


def training_rows(features: NDArray[Any], normalisation: Normalisation) -> NDArray[np.float64]:
    """Return all rows of *features* N x D scaled, as the one float64 copy a solver needs.

    For training: the bits are those of scikit-learn's ``Normalizer`` on the same matrix,
    which divides in float32. A solver stops within its tolerance, so another last bit can
    end in weights that differ by as much; with equal bits they are equal.

    >>> training_rows(np.array([[0, 2], [0, 0]], dtype=np.float32), "l2")
    array([[0., 1.],
           [0., 0.]])
    """
    matrix = np.empty(features.shape, dtype=np.float64)
    narrow = features.dtype in (np.float32, np.float16)
    for part in blocks(*features.shape):
        block = np.array(features[part], dtype=np.float32 if narrow else np.float64, order="C")
        matrix[part] = _divided_by_norm(block) if normalisation == "l2" else block
    return matrix


def _divided_by_norm(block: NDArray[Any]) -> NDArray[Any]:
    # A power of two per row keeps squares in the range of float32 and changes no other bit.
    block = np.ldexp(block, -np.frexp(np.abs(block).max(axis=1))[1][:, None])
    norms = np.sqrt(np.einsum("ij,ij->i", block, block))
    block /= np.where(norms == 0, 1, norms).astype(block.dtype)[:, None]
    return block
