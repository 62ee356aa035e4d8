"""Splits and folds of images with several labels: each label keeps its share on every side.

Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011,
145-158: the rarest label first, each image to the side that lacks most of it. Images of a group
are one unit, which goes to one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from offshelf.text import spelled

Counts = NDArray[np.int64]
Array = NDArray[np.float64]


def stratified_sides(
    membership: NDArray[np.bool_], units: Counts, shares: Sequence[float]
) -> NDArray[np.int64]:
    """Return the side of each of N images, 0 to K - 1.

    Args:
        membership: N x L, which image has which label.
        units: N, numbers of units, 0 to G - 1; images of a unit go to one side. Of units that
            are equally good, the one of the lower number is dealt first.
        shares: K, of each side; they sum to 1.

    >>> labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    >>> stratified_sides(labels, np.arange(4), [0.5, 0.5])
    array([0, 1, 0, 1])
    """
    counts, sizes = units_of(membership, units)
    wanted = np.outer(shares, counts.sum(axis=0))
    room = np.array(shares, float) * sizes.sum()
    side = np.full(len(counts), -1, np.int64)
    remaining = counts.sum(axis=0)
    while (side < 0).any():
        label = _rarest(remaining)
        waiting = side < 0 if label is None else (side < 0) & (counts[:, label] > 0)
        first = sizes if label is None else counts[:, label]
        places = np.flatnonzero(waiting)
        for unit in places[np.argsort(-first[places], kind="stable")]:
            side[unit] = _lacking(wanted, room, label)
            wanted[side[unit]] -= counts[unit]
            room[side[unit]] -= sizes[unit]
            remaining -= counts[unit]
    return side[units]


def units_of(membership: NDArray[np.bool_], units: Counts) -> tuple[Counts, Counts]:
    """Return how many images of each label each unit has, G x L, and how many images, G."""
    counts = np.zeros((int(units.max(initial=-1)) + 1, membership.shape[1]), np.int64)
    np.add.at(counts, units, membership)
    return counts, np.bincount(units, minlength=len(counts)).astype(np.int64)


def _rarest(remaining: Counts) -> int | None:
    found = np.flatnonzero(remaining > 0)
    return int(found[remaining[found].argmin()]) if len(found) else None


def _lacking(wanted: Array, room: Array, label: int | None) -> int:
    """Return the side that lacks most of *label*, of equals the one with most room."""
    lack = room if label is None else wanted[:, label]
    best = np.flatnonzero(lack.round(9) == lack.max().round(9))
    return int(best[room[best].round(9).argmax()])


def label_split(
    membership: NDArray[np.bool_],
    names: Sequence[str],
    *,
    test_size: float,
    seed: int,
    groups: Sequence[str] = (),
) -> NDArray[np.bool_]:
    """Return which of N images are tested; each label keeps images to train with.

    A label of two units or more has images on both sides wherever that is possible. The order
    of the rows is of no account.

    Args:
        membership: N x L, which image has which label.
        names: of the images, all different.
        test_size: share of the images to test with, in (0, 1).
        seed: of the order in which equal units are dealt.
        groups: of the images, which stay on one side; () where they are independent.

    >>> labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    >>> int(label_split(labels, ["a", "b", "c", "d"], test_size=0.5, seed=0).sum())
    2
    """
    own = list(groups) or list(names)
    ranks = {name: _rank(seed, name) for name in set(own)}
    numbers = {name: place for place, name in enumerate(sorted(ranks, key=ranks.__getitem__))}
    units = np.array([numbers[name] for name in own], np.int64)
    if len(numbers) < 2:
        return np.zeros(len(own), bool)
    tested = stratified_sides(membership, units, [1 - test_size, test_size]) == 1
    counts, sizes = units_of(membership, units)
    chosen = np.zeros(len(counts), bool)
    chosen[units[tested]] = True
    return _both_sides(counts, sizes, chosen)[units]


def _both_sides(counts: Counts, sizes: Counts, tested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Move a unit for each label that is on one side only; training comes first."""
    tested = tested.copy()
    for label in np.argsort(counts.sum(axis=0), kind="stable"):
        has = counts[:, label] > 0
        if has.any() and tested[has].all():
            tested[_smallest(sizes, np.flatnonzero(has))] = False
    for label in np.argsort(counts.sum(axis=0), kind="stable"):
        has = counts[:, label] > 0
        if has.any() and not tested[has].any():
            trained = counts[~tested].sum(axis=0)
            spare = has & ((counts == 0) | (counts < trained)).all(axis=1)
            if spare.any():
                tested[_smallest(sizes, np.flatnonzero(spare))] = True
    if not tested.any():
        trained = counts.sum(axis=0)
        spare = ((counts == 0) | (counts < trained)).all(axis=1)
        if spare.any():
            tested[_smallest(sizes, np.flatnonzero(spare))] = True
    return tested


def _smallest(sizes: Counts, places: NDArray[np.intp]) -> int:
    return int(places[sizes[places].argmin()])


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(spelled(f"{seed}\0{name}").encode()).digest()
