"""A table of what mistakes cost, as a CSV file: class by class, or a row for each pair.

Of a square, the first row names the decided classes and the first column the true ones. A list has
the columns ``true``, ``decided`` and ``cost``, and the pairs that it does not name cost 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from offshelf.data.folders.class_names import class_number
from offshelf.data.tables.delimited import numbered_csv
from offshelf.errors import DataError, did_you_mean
from offshelf.text import listed, shown

COLUMNS = ("true", "decided", "cost")
# What others call the decided class.
_SAME = {"predicted": "decided"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?[\d.]*,\d+", re.ASCII)
MOST_COST = 1e9
_FORMS = (
    "its first row and first column name the classes, or its columns are true, decided and cost"
)


class Cell(NamedTuple):
    """One cost of the file.

    Attributes:
        row: as an editor counts; the header is row 1.
        true: the class of the image, as the file has it.
        decided: the class that it is called.
        cost: None for an empty cell.
    """

    row: int
    true: str
    decided: str
    cost: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class CostTable:
    """What mistakes cost, by names of classes.

    Attributes:
        file: where it stands.
        cells: all costs.
        square: whether it is class by class, so that no cell may be missing.
    """

    file: Path
    cells: tuple[Cell, ...]
    square: bool

    def matrix(self, classes: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Return the costs as K rows of K numbers, in the order of *classes*.

        Raises:
            DataError: a class of the file is none of *classes*, one of them is missing or there
                twice, a cost is missing, the right decision costs something, or a wrong one
                nothing, whatever the image.
        """
        costs = self._costs(classes)
        for number, name in enumerate(classes):
            if not any(row[number] for row in costs):
                raise DataError(
                    f"{shown(self.file)}: deciding '{shown(name)}' costs nothing for any image, so "
                    "all would be called that; give its mistakes a cost above 0"
                )
        return costs

    def _costs(self, classes: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        found: dict[tuple[int, int], Cell] = {}
        names = dict.fromkeys(name for cell in self.cells for name in (cell.true, cell.decided))
        numbers = {name: self._number(name, classes) for name in names}
        for cell in self.cells:
            pair = numbers[cell.true], numbers[cell.decided]
            other = found.setdefault(pair, cell)
            if other is not cell:
                raise DataError(
                    f"{shown(self.file)}: {_places(other, cell)} the cost of deciding "
                    f"'{shown(cell.decided)}' for '{shown(cell.true)}'; keep one of them"
                )
            if pair[0] == pair[1] and cell.cost:
                raise DataError(
                    f"{shown(self.file)}: row {cell.row}: deciding '{shown(cell.decided)}' for "
                    f"'{shown(cell.true)}' is right and costs 0, not {cell.cost:g}"
                )
        every = range(len(classes))
        if self.square:
            self._check_square(found, classes)
        return tuple(
            tuple(_cost(found.get((true, decided)), true == decided) for decided in every)
            for true in every
        )

    def _number(self, name: str, classes: Sequence[str]) -> int:
        number = class_number(name, classes)
        if number is None:
            hint = did_you_mean(name, classes)
            form = "" if any(self._known(classes)) else f"; {_FORMS}"
            raise DataError(
                f"{shown(self.file)}: '{shown(name)}' is none of the classes {listed(classes)}"
                f"{form}.{hint}"
            )
        return number

    def _known(self, classes: Sequence[str]) -> Iterator[bool]:
        for cell in self.cells:
            yield class_number(cell.true, classes) is not None
            yield class_number(cell.decided, classes) is not None

    def _check_square(self, found: dict[tuple[int, int], Cell], classes: Sequence[str]) -> None:
        for what, place in (("row", 0), ("column", 1)):
            there = {pair[place] for pair in found}
            missing = [name for number, name in enumerate(classes) if number not in there]
            if missing:
                raise DataError(
                    f"{shown(self.file)}: has no {what} for {listed(missing)}; each class needs a "
                    "row and a column"
                )
        for (true, decided), cell in found.items():
            if cell.cost is None and true != decided:
                raise DataError(
                    f"{shown(self.file)}: row {cell.row}: no cost of deciding "
                    f"'{shown(cell.decided)}' for '{shown(cell.true)}'; 1 is that of a usual "
                    "mistake"
                )


def _cost(cell: Cell | None, right: bool) -> float:
    if cell is None or cell.cost is None:
        return 0.0 if right else 1.0
    return cell.cost


def _places(first: Cell, second: Cell) -> str:
    if first.row == second.row:
        return f"row {first.row} has twice"
    return f"rows {first.row} and {second.row} both have"


def read_costs(file: str | Path) -> CostTable:
    """Read what mistakes cost; the names of classes are checked by :meth:`CostTable.matrix`.

    Raises:
        DataError: the file cannot be read, has no costs, or one that is no number of 0 or more.

    >>> read_costs("none.csv")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: none.csv: no such file; what mistakes cost is a CSV file: ...
    """
    place = Path(file)
    if not place.is_file():
        what = "is no file" if place.exists() else "no such file"
        raise DataError(f"{shown(file)}: {what}; what mistakes cost is a CSV file: {_FORMS}")
    header, rows = numbered_csv(place)
    names = [name.strip() for name in header]
    plain = [_SAME.get(name.lower(), name.lower()) for name in names]
    square = not _lists_pairs(place, plain)
    lines = [(number, list(map(str.strip, row))) for number, row in rows]
    found = _square(place, names, lines) if square else _list(place, plain, lines)
    table = CostTable(file=place, cells=tuple(found), square=square)
    if not table.cells:
        raise DataError(f"{shown(place)}: has no costs; {_FORMS}")
    return table


def _lists_pairs(file: Path, columns: Sequence[str]) -> bool:
    """Return whether the file has the columns of a list; others are of no account."""
    there = [name for name in COLUMNS if name in columns]
    if len(there) == len(COLUMNS) - 1:
        (missing,) = set(COLUMNS) - set(there)
        raise DataError(
            f"{shown(file)}: has no column '{missing}'; a list of costs has the columns true, "
            "decided and cost"
        )
    for name in there if len(there) == len(COLUMNS) else ():
        if columns.count(name) > 1:
            raise DataError(f"{shown(file)}: has two columns '{name}'; keep one of them")
    return len(there) == len(COLUMNS)


def _square(
    file: Path, names: Sequence[str], lines: Sequence[tuple[int, list[str]]]
) -> Iterator[Cell]:
    # Spreadsheets write empty columns behind the last.
    used = [at for at in range(1, len(names)) if names[at] or any(row[at] for _, row in lines)]
    for at in used:
        if not names[at]:
            raise DataError(
                f"{shown(file)}: column {at + 1} has costs and no class in the first row"
            )
    for number, row in lines:
        if not row[0]:
            raise DataError(f"{shown(file)}: row {number} has costs and no class in its first cell")
        for at in used:
            yield Cell(number, row[0], names[at], _number(file, number, row[at]))


def _list(
    file: Path, columns: Sequence[str], lines: Sequence[tuple[int, list[str]]]
) -> Iterator[Cell]:
    for number, row in lines:
        cell = dict(zip(columns, row, strict=True))
        for column in COLUMNS:
            if not cell[column]:
                raise DataError(f"{shown(file)}: row {number} has nothing in the column '{column}'")
        yield Cell(number, cell["true"], cell["decided"], _number(file, number, cell["cost"]))


def _number(file: Path, row: int, text: str) -> float | None:
    """Return the cost in a cell, None where it is empty."""
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        written = ", written with a point" if _COMMA.fullmatch(text) else ""
        raise DataError(f"{shown(file)}: row {row}: '{shown(text)}' is no number{written}")
    value = float(text)
    if not 0 <= value <= MOST_COST:
        raise DataError(
            f"{shown(file)}: row {row}: a cost is a number from 0 to {MOST_COST:,.0f}, not "
            f"{shown(text)}"
        )
    return abs(value)
