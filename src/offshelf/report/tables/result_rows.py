"""Tables of raw values: columns with a kind and a unit, rows without formatting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from offshelf.measurement.metrics import Evaluation

Kind = Literal[
    "text", "integer", "number", "percent", "bytes", "seconds", "milliseconds", "p value"
]
Cell = str | int | float | None
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: heading, unique in its table.
        kind: what the cells are: ``text``, ``integer``, ``number``, ``percent`` (a share
            from 0 to 1), ``bytes``, ``seconds``, ``milliseconds`` (a duration that was
            measured, to two or three digits) or ``p value``.
        unit: of the numbers, for the heading, for example ``images/s``; "" for none.

    >>> Column("speed", "number", "images/s")
    Column(name='speed', kind='number', unit='images/s')
    """

    name: str
    kind: Kind = "text"
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"column {self.name!r}: unknown kind {self.kind!r}")

    def check(self, cell: Cell) -> None:
        """Raise ValueError unless *cell* is None or a plain, finite value of this kind."""
        types: dict[str, tuple[type, ...]] = {"text": (str,), "integer": (int,), "bytes": (int,)}
        fits = isinstance(cell, types.get(self.kind, (int, float))) and not isinstance(cell, bool)
        if cell is not None and (not fits or (isinstance(cell, float) and not math.isfinite(cell))):
            raise ValueError(f"column {self.name!r}: {cell!r} is no {self.kind}")


@dataclass(frozen=True)
class Table:
    """A titled table. Cells are raw; None is a value that does not exist.

    Attributes:
        title: above it; "" for none.
        columns: from left to right.
        rows: a cell for each column.
        width: characters of a line as text, at which long texts are broken; 0 for any.

    Raises:
        ValueError: two columns of one name, a row of another length, or a cell that is
            not of its column's kind.

    >>> Table("Speed", (Column("engine"), Column("rate", "number")), (("torch", 41.5),)).rows
    (('torch', 41.5),)
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    width: int = 0

    def __post_init__(self) -> None:
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ValueError(f"table {self.title!r}: two columns of one name")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row of {len(row)} cells: {row!r}")
            for column, cell in zip(self.columns, row, strict=True):
                column.check(cell)


def per_class_table(evaluation: Evaluation) -> Table:
    """Return precision, recall and F1 of every class, in the order of the classes.

    >>> from offshelf.measurement.metrics import evaluate
    >>> evaluation = evaluate(np.array([0, 1]), np.array([0, 1]), ["cat", "dog"])
    >>> per_class_table(evaluation).rows[0]
    ('cat', 1, 1.0, 1.0, 1.0)
    """
    columns = (
        Column("class"),
        Column("images", "integer"),
        Column("precision", "percent"),
        Column("recall", "percent"),
        Column("F1", "percent"),
    )
    rows = tuple((r.name, r.n, r.precision, r.recall, r.f1) for r in evaluation.per_class)
    return Table("Per class", columns, rows)


def confusion_table(evaluation: Evaluation, limit: int | None = 10) -> Table:
    """Return the most confused pairs of classes, the most images first.

    Args:
        evaluation: what :func:`offshelf.measurement.metrics.evaluate` returned.
        limit: at most so many pairs; None for all. Ties keep the order of the classes.

    >>> from offshelf.measurement.metrics import evaluate
    >>> evaluation = evaluate(np.array([0, 1, 1]), np.array([0, 1, 0]), ["cat", "dog"])
    >>> confusion_table(evaluation).rows
    (('dog', 'cat', 1, 0.5),)
    """
    columns = (
        Column("true"),
        Column("predicted"),
        Column("images", "integer"),
        Column("of true class", "percent"),
    )
    wrong = np.array(evaluation.confusion)
    np.fill_diagonal(wrong, 0)
    pairs = sorted(np.argwhere(wrong).tolist(), key=lambda pair: -wrong[tuple(pair)])
    per_class = evaluation.per_class
    rows = tuple(
        (per_class[t].name, per_class[p].name, int(wrong[t, p]), int(wrong[t, p]) / per_class[t].n)
        for t, p in pairs[:limit]
    )
    return Table("Most confused", columns, rows)
