"""Images as a caller gives them: one list of single images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import DataError


def items_of(images: Any) -> Sequence[Any]:
    """Return *images* as a sequence of single images.

    Raises:
        DataError: it is one image, or nothing that holds images.
    """
    if isinstance(images, str | Path):
        raise DataError(f"{images}: one path; pass a list of images")
    if hasattr(images, "to_numpy"):
        images = images.to_numpy()
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] in (3, 4):
        raise DataError(f"one image, {_shape(images)}; pass a list of images or N x H x W x 3")
    try:
        items = list(images)
    except TypeError as error:
        name = type(images).__name__
        raise DataError(f"one {name}; pass a list of paths, PIL images or uint8 arrays") from error
    if items and isinstance(items[0], np.ndarray) and items[0].dtype.kind in "OU":
        if items[0].size != 1:
            raise DataError(f"a table of {_shape(np.asarray(images))}; pass its column of paths")
        # scikit-learn hands a column of paths over as N x 1.
        items = [row.item() for row in items]
    return items


def _shape(array: NDArray[Any]) -> str:
    return " x ".join(str(length) for length in array.shape)
