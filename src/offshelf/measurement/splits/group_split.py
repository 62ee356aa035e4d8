"""A split into training and test images that keeps each group on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.measurement.splits.image_groups import Rows, counts_of_groups, hashed


def group_split(
    labels: Sequence[str], groups: NDArray[np.str_], *, test_size: float, seed: int
) -> NDArray[np.bool_]:
    """Return which of N images are tested, whole groups of them; each class keeps some to train.

    In an order that *seed* and the names decide, a group is taken while it brings its classes
    nearer to their share of test images. A class that then has none gets the smallest group that
    can be spared, where there is one.

    >>> names = np.array(["ann", "ann", "bob", "bob", "eve", "eve"])
    >>> int(group_split(["x", "y"] * 3, names, test_size=0.3, seed=0).sum())
    2
    """
    names, group_of, _, counts = counts_of_groups(labels, groups)
    sizes = counts.sum(axis=0)
    wanted = np.clip(np.floor(sizes * test_size + 0.5), 1, np.maximum(sizes - 1, 1))
    taken, held = np.zeros(len(names), bool), np.zeros(len(sizes), np.int64)
    for group in sorted(range(len(names)), key=lambda g: hashed(seed, names[g])):
        after = held + counts[group]
        gain = (np.abs(held - wanted) - np.abs(after - wanted)) / sizes
        if gain.sum() > 1e-12 and (after < sizes).all():
            taken[group], held = True, after
    for place in range(len(sizes)):
        if not held[place]:
            for smallest in _smallest(counts, held, place):
                taken[smallest], held = True, held + counts[smallest]
    return taken[group_of]


def _smallest(counts: Rows, held: Rows, place: int) -> list[int]:
    """Return the smallest group of a class that leaves images of every class to train, if any."""
    has = np.flatnonzero(counts[:, place])
    left = counts.sum(axis=0) - held
    spared = [group for group in has.tolist() if (counts[group] < left)[counts[group] > 0].all()]
    return sorted(spared, key=lambda group: int(counts[group].sum()))[:1]
