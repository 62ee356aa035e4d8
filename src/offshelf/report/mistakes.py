"""Mistakes: the images whose predicted class is another than their own, as a table and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.errors import OffshelfError
from offshelf.prediction import Prediction
from offshelf.report.tables.result_rows import Column, Table
from offshelf.report.tables.table_formats import render
from offshelf.text import counted, shown, spelled

LISTED = 10


@dataclass(frozen=True, eq=False)
class Mistake:
    """An image that was predicted as another class than its own.

    Attributes:
        prediction: what the model says.
        true: its own class.
    """

    prediction: Prediction
    true: str

    @property
    def path(self) -> str:
        """The file."""
        return self.prediction.path

    @property
    def predicted(self) -> str:
        """What the model calls it, as the nearest class where it calls it unknown."""
        return self.prediction.label or next(iter(self.prediction.scores))

    @property
    def probability(self) -> float | None:
        """Of the predicted class, 0 to 1; None where the model has no probabilities."""
        return self.prediction.probabilities.get(self.predicted)

    @property
    def probability_of_true(self) -> float | None:
        """Of its own class, 0 to 1; None where the model has no probabilities."""
        return self.prediction.probabilities.get(self.true)

    @property
    def margin(self) -> float:
        """By how much the predicted class outscores its own; below zero where a rule decided."""
        return self.prediction.scores[self.predicted] - self.prediction.scores[self.true]

    def to_json(self) -> dict[str, Any]:
        """Return what the CSV file has, by the names of its columns."""
        return {
            "path": spelled(self.path),
            "true": self.true,
            "predicted": self.predicted,
            "probability": self.probability,
            "probability_of_true": self.probability_of_true,
            "margin": self.margin,
        }


def mistakes_among(predictions: Iterable[Prediction], truth: Iterable[str]) -> tuple[Mistake, ...]:
    """Return the predictions that differ from the truth, the surest first.

    Args:
        predictions: N predictions; those without a label are no mistakes.
        truth: the N true classes.

    >>> ledger = {"path": "a.png", "status": "ok", "reason": ""}
    >>> one = Prediction(**ledger, label="cat", scores={"cat": 1.0, "dog": -1.0})
    >>> [(m.predicted, m.true, m.margin) for m in mistakes_among([one, one], ["dog", "cat"])]
    [('cat', 'dog', 2.0)]
    """
    pairs = zip(predictions, truth, strict=True)
    found = [Mistake(row, true) for row, true in pairs if row.label not in (None, true)]
    return tuple(sorted(found, key=lambda one: (-(one.probability or 0.0), -one.margin)))


def mistake_blocks(mistakes: Sequence[Mistake], n: int) -> Iterator[Table | str]:
    """Yield the first mistakes among *n* images as a table, and how many more there are."""
    if not mistakes:
        return
    sure = mistakes[0].probability is not None
    columns = (
        *map(Column, ("image", "true", "predicted")),
        *((Column("probability", "percent"),) if sure else ()),
    )
    rows = tuple(
        (spelled(one.path), one.true, _said(one), *((one.probability,) if sure else ()))
        for one in mistakes[:LISTED]
    )
    order = ", the surest first" if len(mistakes) > 1 else ""
    share = f"{len(mistakes):,} of {n:,} {'image' if n == 1 else 'images'}"
    yield Table(f"Wrong: {share}{order}", columns, rows)
    more = len(mistakes) - len(rows)
    if more:
        yield f"{more:,} more; --errors FILE.csv lists them all"
    yield ""


def _said(one: Mistake) -> str:
    return f"unknown (nearest: {one.predicted})" if one.prediction.unknown else one.predicted


def check_mistakes_file(path: str | Path) -> Path:
    """Refuse a place where no list of mistakes can or should be written.

    Raises:
        OffshelfError: the name does not end in .csv, or it is a folder, or another file.

    >>> check_mistakes_file("wrong.txt")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: wrong.txt: a list of wrong images ends in .csv
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise OffshelfError(f"{shown(path)}: a list of wrong images ends in .csv")
    beginning = ",".join(column.name for column in _CSV).encode()
    if refusal := files.target_refusal(path, "list of wrong images", "wrong.csv", [beginning]):
        raise OffshelfError(refusal)
    return path


def write_mistakes(mistakes: Sequence[Mistake], path: str | Path) -> Path:
    """Write all mistakes as a CSV file, probabilities from 0 to 1, and return its path.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    path = check_mistakes_file(path)
    rows = tuple(tuple(one.to_json().values()) for one in mistakes)
    content = render(Table("", _CSV, rows), "csv") + "\n"
    try:
        files.write_bytes(path, content.encode())
    except OSError as error:
        raise OffshelfError(files.unwritable(path, error)) from error
    return path


def written_line(mistakes: Sequence[Mistake], path: Path) -> str:
    """Return where the mistakes are.

    >>> written_line((), Path("wrong.csv"))
    '0 wrong images listed in wrong.csv'
    """
    return f"{counted(len(mistakes), 'wrong image')} listed in {shown(path)}"


_CSV = (
    *map(Column, ("path", "true", "predicted")),
    *(Column(name, "number") for name in ("probability", "probability_of_true", "margin")),
)
