"""Rows as they are read: every reader of DATA returns a :class:`Reading`, nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One image of a job.

    Attributes:
        path: as the operating system opens it.
        name: the path inside DATA with ``/`` between its parts; rows are ordered by it.
        label: class name, "" when there is none.
        split: ``train``, ``test``, or "" when DATA does not say.
    """

    path: str
    name: str
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class Reading:
    """The rows of one DATA and what a person should know about them."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
