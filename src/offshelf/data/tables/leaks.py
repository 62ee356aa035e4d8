"""Identical files in the data: in both splits, or under two labels.

The first measure memory, not skill; the second can be learned as neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_names import TEST, TRAIN
from offshelf.data.tables.image_table import ImageTable
from offshelf.text import listed, shown


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


def contradiction(table: ImageTable, digests: Sequence[bytes]) -> str:
    """Return a line about pictures that stand under more than one label, "" where none does.

    Args:
        table: the images.
        digests: as for :func:`leaked_test_rows`.

    Raises:
        ValueError: not one digest per row.

    >>> table = ImageTable(("a", "b", "c"), ("x", "y", "y"), ("train",) * 3, ("x", "y"), ())
    >>> contradiction(table, [b"1", b"1", b"2"])
    "1 picture stands under more than one label, for example a ('x', 'y'); see 'offshelf audit'"
    """
    labels: dict[bytes, list[str]] = {}
    for label, digest in zip(table.labels, digests, strict=True):
        known = labels.setdefault(digest, [])
        if digest and label not in known:
            known.append(label)
    torn = {digest for digest, names in labels.items() if len(names) > 1}
    if not torn:
        return ""
    first = next(row for row, digest in enumerate(digests) if digest in torn)
    stand = "picture stands" if len(torn) == 1 else "pictures stand"
    example = f"{shown(table.paths[first])} ({listed(labels[digests[first]])})"
    several = f"{len(torn)} {stand} under more than one label"
    return f"{several}, for example {example}; see 'offshelf audit'"
