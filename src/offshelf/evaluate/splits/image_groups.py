"""Which images belong together: from a pattern on their names, or from a column of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from offshelf.data.tables.delimited import read_csv
from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.path_lists import located
from offshelf.errors import DataError, did_you_mean
from offshelf.evaluate.splits.image_names import image_names
from offshelf.text import (
    counted,
    listed,
    shown,
)

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})


def groups_by_pattern(table: ImageTable, pattern: str) -> tuple[str, ...]:
    r"""Return the group of each image: what *pattern* finds in its name.

    The name is the path below the folder that all images share, with ``/`` between its
    parts. The first match counts; where the pattern has parentheses, the group is what
    they hold (joined by ``/``), else all that matched.

    Args:
        table: the images.
        pattern: a regular expression of Python's ``re``.

    Raises:
        DataError: the expression is not valid, does not match an image's name, or
            matches nothing of it.

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
            f"{counted(len(missed), 'name')} of {len(names)}, first in '{shown(missed[0])}'"
        )
    return groups


def groups_by_column(table: ImageTable, file: str | Path, column: str) -> tuple[str, ...]:
    """Return the group of each image: its cell in a column of a CSV or Parquet file.

    The file has the columns ``path``, relative to its own folder, and *column*; it may
    be the one that the table was read from, and may hold other images too.

    Args:
        table: the images.
        file: CSV (UTF-8; commas, semicolons or tabs) or Parquet.
        column: name of the column, in any case.

    Raises:
        DataError: the file cannot be read or lacks a column, an image has no row or an
            empty cell in it, or two rows of an image name two groups.
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
        path, group = (str(row[place] if row[place] is not None else "") for place in places)
        yield path.strip(), group.strip()


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
