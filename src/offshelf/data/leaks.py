"""Test images whose bytes also stand in the training split: they measure memory, not skill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.data.names import TEST, TRAIN
from offshelf.data.table import ImageTable


def leaked_test_rows(table: ImageTable, digests: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the test rows whose bytes are those of some training row, whatever its label.

    Args:
        table: the images.
        digests: sha256 of each row's bytes, 32 bytes; empty for a row that is not used,
            which then neither leaks nor is leaked.

    Returns:
        Row numbers, int64, ascending.

    Raises:
        ValueError: not one digest per row.

    >>> table = ImageTable(("a", "b", "c"), ("x", "x", "y"), ("train", "test", "test"), ("x",), ())
    >>> leaked_test_rows(table, [b"1", b"1", b"2"])
    array([1])
    """
    train = {d for d, split in zip(digests, table.splits, strict=True) if split == TRAIN and d}
    both = zip(digests, table.splits, strict=True)
    rows = [row for row, (d, split) in enumerate(both) if split == TEST and d in train]
    return np.array(rows, np.int64)
