"""Groups of images, from a pattern or a column, and splits that keep each group on one side."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import same_length
from offshelf.data.folders.image_files import PARQUET_SUFFIXES
from offshelf.data.tables.delimited import read_csv
from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.path_lists import located
from offshelf.errors import DataError, did_you_mean
from offshelf.text import counted, listed, shown, spelled

Rows = NDArray[np.int64]
Orders = Callable[[], Iterator[list[int]]]
# How many orders of the groups are tried before a repeat is called impossible.
_ORDERS = 100


def check_groups(groups: Sequence[str], n: int) -> NDArray[np.str_]:
    """Return one group name for each of n images; raise DataError where one has none."""
    same_length("groups", len(groups), "images", n)
    empty = [row for row, name in enumerate(groups) if not name]
    if empty:
        raise DataError(f"{counted(len(empty), 'image')} without a group, first in row {empty[0]}")
    return np.array(groups, np.str_)


def crossing_groups(groups: NDArray[np.str_], train: Rows, test: Rows) -> tuple[str, ...]:
    """Return the groups that have images on both sides, sorted."""
    return tuple(np.intersect1d(groups[train], groups[test]).tolist())


def group_k_fold(labels: Sequence[str], groups: NDArray[np.str_], k: int, seed: int) -> Rows:
    """Return the number of the test set, 0 to k - 1, of each image.

    Greedy, as scikit-learn's StratifiedGroupKFold: the largest group first, each to the
    fold where its classes are rarest. DataError where the groups do not allow k folds.
    """
    names, group_of, classes, counts = counts_of_groups(labels, groups)
    found = (counts > 0).sum(axis=0)
    if found.min() < k:
        few = int(found.argmin())
        raise DataError(
            f"too few groups: {k} folds need {k} groups in each class, but "
            f"'{shown(classes[few])}' has {found[few]}: {_fewer(int(found[few]), 'folds', 2)}"
        )
    shares = counts / counts.sum(axis=0)
    ranks = [hashed(seed, name) for name in names]
    held, fold_of = np.zeros((k, len(classes))), np.empty(len(names), np.int64)
    for group in sorted(range(len(names)), key=lambda g: (-shares[g].sum(), ranks[g])):
        # Equal folds are tried in an order of the group's own, which no other class moves.
        order = (np.arange(k) + ranks[group][0]) % k
        cost = np.round(held[order] @ shares[group], 12)
        fold_of[group] = order[int(cost.argmin())]
        held[fold_of[group]] += shares[group]
    _check_deal(held, classes, k)
    return fold_of[group_of]


def group_repeat(
    labels: Sequence[str],
    groups: NDArray[np.str_],
    ranked: Mapping[str, Rows],
    n: int,
    salt: str,
) -> tuple[Rows, Rows]:
    """Return positions to train with, n per class, and positions to test, of other groups.

    The random order of the groups comes from the text *salt*, *ranked* has that of the
    images of each class. DataError where a class leaves no group to test.
    """
    names, group_of, classes, counts = counts_of_groups(labels, groups)

    def orders() -> Iterator[list[int]]:
        for number in range(_ORDERS):
            yield sorted(range(len(names)), key=lambda g: hashed(salt, number, names[g]))

    taken, lacking = _first_that_tests(counts, orders, n)
    if lacking is None:
        inside = taken[group_of]
        train = [order[inside[order]][:n] for order in ranked.values()]
        return np.sort(np.concatenate(train)), np.flatnonzero(~inside)
    found = counted(int((counts[:, lacking] > 0).sum()), "group")
    raise DataError(
        f"too few groups: {counted(n, 'training image')} per class leave none of the {found} of "
        f"'{shown(classes[lacking])}' to test: {_fewer(_most(counts, orders, n), 'images', 1)}"
    )


def _fewer(possible: int, what: str, least: int) -> str:
    if possible >= least:
        return f"choose at most {possible}"
    return f"no smaller number of {what} helps; leave the class out, or name smaller groups"


def _most(counts: Rows, orders: Orders, n: int) -> int:
    """Return a number of training images below *n* that the groups allow, the largest found."""
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        possible = _first_that_tests(counts, orders, middle)[1] is None
        low, high = (middle, high) if possible else (low, middle)
    return low


def _first_that_tests(counts: Rows, orders: Orders, n: int) -> tuple[NDArray[np.bool_], int | None]:
    """Return groups to train with, and the class that no other group can test; None if all can."""
    for order in orders():
        taken = _take(counts, order, n)
        untested = np.flatnonzero(counts[~taken].sum(axis=0) == 0)
        if not len(untested):
            return taken, None
    return taken, int(untested[0])


def counts_of_groups(
    labels: Sequence[str], groups: NDArray[np.str_]
) -> tuple[list[str], Rows, list[str], Rows]:
    """Return group names, group of each image, class names, and images per group and class."""
    classes, class_of = np.unique(np.array(labels, np.str_), return_inverse=True)
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (group_of, class_of), 1)
    return names.tolist(), group_of, classes.tolist(), counts


def _take(counts: Rows, order: Sequence[int], n: int) -> NDArray[np.bool_]:
    """Take groups in *order* as long as one of their classes has fewer than n images."""
    taken, held = np.zeros(len(counts), bool), np.zeros(counts.shape[1], np.int64)
    for group in order:
        if (held[counts[group] > 0] < n).any():
            taken[group] = True
            held += counts[group]
    return taken


def _check_deal(held: NDArray[np.float64], classes: Sequence[str], k: int) -> None:
    missing = np.flatnonzero((held > 0).sum(axis=0) < 2)
    if len(missing) or not held.any(axis=1).all():
        names = listed(classes[place] for place in missing.tolist()) or "a test set"
        raise DataError(
            f"the groups do not allow {k} folds: {names} would be left empty on one side; "
            "choose fewer folds"
        )


def groups_by_pattern(table: ImageTable, pattern: str) -> tuple[str, ...]:
    r"""Return the group of each image: what *pattern* finds in its name.

    The name is the path below the folder that all images share, with ``/`` between its
    parts. The first match counts; where the pattern has parentheses, the group is what
    they hold (joined by ``/``), else all that matched.

    DataError where the regular expression is not valid or finds nothing in a name.

    >>> paths = ("d/cat/ann-1.png", "d/dog/ann-2.png", "d/dog/bob-1.png")
    >>> table = ImageTable(paths, ("cat", "dog", "dog"), ("train",) * 3, ("cat", "dog"), ())
    >>> groups_by_pattern(table, r"([a-z]+)-\d")
    ('ann', 'ann', 'bob')
    """
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise DataError(
            f"'{shown(pattern)}' is not a regular expression for groups: {error}"
        ) from None
    names = image_names(table.paths)
    groups = tuple(_found(expression, name) for name in names)
    missed = [name for name, group in zip(names, groups, strict=True) if not group]
    if missed:
        raise DataError(
            f"the pattern for groups '{shown(pattern)}' finds nothing in "
            f"{counted(len(missed), 'name')} of {len(names)}, first in '{shown(missed[0])}': "
            "it has to find a group in every name"
        )
    return groups


def groups_by_column(table: ImageTable, file: str | Path, column: str) -> tuple[str, ...]:
    """Return the group of each image: its cell in a column of a CSV or Parquet file.

    The file has the columns ``path``, relative to its own folder, and *column*; it may
    be the one that the table was read from, and may hold other images too. DataError where it
    cannot be read or lacks a column, or an image has no group or two.
    """
    file = Path(file)
    found: dict[str, str] = {}
    for path, group in _column(file, column):
        place = os.path.abspath(located(file.parent, path)[0])  # noqa: PTH100 - links stay as they are
        if found.setdefault(place, group) != group:
            raise DataError(f"{shown(file)}: '{shown(path)}' is in two groups of '{shown(column)}'")
    groups = [found.get(os.path.abspath(path), "") for path in table.paths]  # noqa: PTH100
    missed = [path for path, group in zip(table.paths, groups, strict=True) if not group]
    if missed:
        raise DataError(
            f"{shown(file)}: no '{shown(column)}' for {counted(len(missed), 'image')} "
            f"of {len(groups)}: {listed(missed)}"
        )
    return tuple(groups)


def _found(expression: re.Pattern[str], name: str) -> str:
    match = expression.search(name)
    if match is None:
        return ""
    return "/".join(part or "" for part in match.groups()) if match.groups() else match.group()


def _column(file: Path, column: str) -> Iterator[tuple[str, str]]:
    parquet = file.suffix.lower() in PARQUET_SUFFIXES
    header, rows = _read_parquet(file) if parquet else read_csv(file)
    places = [_place(file, header, name) for name in ("path", column)]
    for row in rows:
        path, group = ("" if _is_missing(row[at]) else str(row[at]).strip() for at in places)
        yield path, group


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def column_names(file: str | Path) -> tuple[str, ...]:
    """Return the names of the columns of a CSV or Parquet file; DataError where it has none."""
    file = Path(file)
    parquet = file.suffix.lower() in PARQUET_SUFFIXES
    header, _ = _read_parquet(file) if parquet else read_csv(file)
    return tuple(name.strip() for name in header)


def column_cells(file: str | Path, column: str) -> list[str]:
    """Return the cells of a column that :func:`column_names` names, "" for missing ones."""
    return [cell for _, cell in _column(Path(file), column)]


def _read_parquet(file: Path) -> tuple[list[str], list[Sequence[object]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            table = parquet.read()
    except FileNotFoundError:
        raise DataError(f"{shown(file)}: does not exist") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{shown(file)}: is not a Parquet file, or it is damaged") from error
    columns = [column.to_pylist() for column in table.columns]
    return table.column_names, list(zip(*columns, strict=True))


def _place(file: Path, header: Sequence[str], column: str) -> int:
    names = [name.strip().lower() for name in header]
    if names.count(column.strip().lower()) != 1:
        how = "more than one" if column.strip().lower() in names else "no"
        raise DataError(
            f"{shown(file)}: has {how} column '{shown(column)}'; its columns are "
            f"{listed(header)}.{did_you_mean(column, header)}"
        )
    return names.index(column.strip().lower())


def image_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Return each path below the folder that all of *paths* share, with ``/`` in between.

    >>> image_names(["/data/train/a/1.png", "/data/test/a/1.png"])
    ('train/a/1.png', 'test/a/1.png')
    >>> image_names(["1.png"])
    ('1.png',)
    """
    plain = [path.replace(os.sep, "/") for path in paths]
    # What is cut at the last "/" ends with a whole folder, so characters are enough.
    start = os.path.commonprefix(plain).rpartition("/")[0]  # noqa: RUF071
    cut = len(start) + 1 if start or all(path.startswith("/") for path in plain) else 0
    return tuple(spelled(path[cut:]) for path in plain)


def hashed(*parts: object) -> bytes:
    """Return 32 bytes that are the same for the same parts on every machine: a random rank."""
    text = "\0".join(map(str, parts))
    return hashlib.sha256(spelled(text).encode()).digest()
