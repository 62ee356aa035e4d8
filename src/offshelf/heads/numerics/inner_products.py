"""All inner products of feature rows, without a copy of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from offshelf.heads.numerics.positive_systems import Matrix
from offshelf.heads.numerics.row_scaling import ScaledRows


def inner_products(
    rows: ScaledRows, constant: float, dtype: type[np.floating[Any]] = np.float64
) -> Matrix:
    """Return ``rows @ rows.T + constant``, n x n of *dtype*, in column parts of the rows.

    Beside the result there is never more than one part, so no copy of the whole matrix.

    >>> from offshelf.heads.numerics.row_scaling import scale_rows
    >>> inner_products(scale_rows(np.array([[3.0, 4.0]]), "none"), 1.0)
    array([[26.]])
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
