"""The result of a comparison: rows, the best of them, tables, frames and files.

An axis is a column of the table only where its values differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from offshelf import files
from offshelf.errors import OffshelfError
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.measurement.transferability import Agreement
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Result, require_pandas
from offshelf.report.summary import failure_lines, seconds_line
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import render
from offshelf.text import json_text, spelled

if TYPE_CHECKING:
    import pandas

SUFFIXES = {".md": "markdown", ".csv": "csv", ".txt": "text", ".html": "html", ".tex": "latex"}
PARQUET, JSON = ".parquet", ".json"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Result):
    """What was compared, with what came out. Printing it prints the table.

    Attributes:
        rows: the best first; rows without a head last.
        protocol: how accuracy was measured, on one line.
        test: the paired test against the best: ``mcnemar`` or ``corrected_t``.
        agreement: rank correlation of each cheap score with the accuracy; {} without.
        failures: images that could not be used.
        findings: what the rows say, one line each.
        seconds: by stage.
    """

    rows: tuple[Row, ...]
    protocol: str
    test: str
    agreement: dict[str, Agreement]
    failures: tuple[dict[str, str], ...]
    findings: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def best(self) -> Row:
        """The row with the highest accuracy."""
        return self.rows[0]

    @property
    def not_distinguishable(self) -> tuple[Row, ...]:
        """The rows that the data cannot tell from the best, the best included."""
        return tuple(row for row in self.rows if row.verdict and row.verdict.same)

    def table(self, every: bool = False) -> Table:
        """Return the rows as a table; with *every* also columns that do not vary."""
        return comparison_table(self.rows, self.protocol, every)

    def render(self, form: str = "text", every: bool = False) -> str:
        """Return the table as text, markdown, csv, json, html or latex."""
        return render(self.table(every), form)

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON document."""
        return {
            "protocol": self.protocol,
            "test": self.test,
            "best": self.best.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "agreement": {name: found.to_json() for name, found in self.agreement.items()},
            "findings": list(self.findings),
            "n_failed": len(self.failures),
            "failures": list(self.failures),
            "seconds": self.seconds,
            "written": [],
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the best row, how many rows there are, and what they say."""
        yield "best", str(self.best)
        same = len(self.not_distinguishable)
        yield "rows", f"{len(self.rows):,}, of which {same:,} cannot be told from the best"
        yield "protocol", self.protocol
        for line in self.findings:
            yield "found", line
        yield "time", seconds_line(self.seconds)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows, what they say, and what was left out."""
        yield self.table()
        yield ""
        yield from self.findings
        yield from failure_lines(self.failures)
        yield f"time: {seconds_line(self.seconds)}"

    def to_frame(self) -> pandas.DataFrame:
        """Return the rows as a pandas frame, one column for each figure.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require_pandas()
        import pandas

        return pandas.DataFrame([_flat(row) for row in self.rows])

    def plot(self, kind: str | None = None) -> Picture:
        """Return a picture: ``depth``, ``cost``, ``dimension`` or ``reduction``.

        Without *kind*, the first of these that the rows can give.

        Raises:
            OffshelfError: unknown picture, or the rows do not hold what it shows.
        """
        from offshelf.jobs.compare.comparison_charts import picture

        title = f"Comparison, {self.protocol}"
        return Picture.drawn(title, lambda form: picture(self.rows, kind, form))

    def write(self, path: str | Path) -> Path:
        """Write the rows; the ending says how: .md .csv .txt .html .tex .json .parquet.

        Raises:
            OffshelfError: another ending.
        """
        target = check_out(path)
        if target.suffix.lower() == PARQUET:
            _write_parquet(self.rows, target)
        elif target.suffix.lower() == JSON:
            text = json_text(self.to_json(), indent=2)
            files.write_bytes(target, f"{text}\n".encode())
        else:
            text = self.render(SUFFIXES[target.suffix.lower()], every=True)
            files.write_bytes(target, f"{spelled(text)}\n".encode())
        return target

    def write_pictures(self, folder: str | Path) -> list[Path]:
        """Write every picture that the rows give as PNG into *folder*; return the files."""
        from offshelf.jobs.compare.comparison_charts import available

        kinds = available(self.rows)
        targets = [Path(folder) / f"{kind}.png" for kind in kinds]
        return [self.plot(kind).save(target) for kind, target in zip(kinds, targets, strict=True)]


def check_out(path: str | Path) -> Path:
    """Return *path* if rows can be written to a file of that name.

    Raises:
        OffshelfError: unknown ending, or its folder does not exist.

    >>> check_out("rows.doc")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: rows.doc: the ending says the form: use .md, ...
    """
    target = Path(path)
    known = [*SUFFIXES, JSON, PARQUET]
    if target.suffix.lower() not in known:
        raise OffshelfError(f"{path}: the ending says the form: use {', '.join(known)}")
    if not target.parent.is_dir():
        raise OffshelfError(f"{path}: the folder {target.parent} does not exist")
    return target


def check_pictures(folder: str | Path) -> Path:
    """Return *folder* if pictures can be written into it.

    Raises:
        OffshelfError: it is a file, or the folder above it does not exist.

    >>> check_pictures("no/such/place")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: no/such/place: the folder no/such does not exist
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise OffshelfError(f"{folder}: is a file; name a folder for the pictures")
    if not target.parent.is_dir():
        raise OffshelfError(f"{folder}: the folder {target.parent} does not exist")
    return target


def _flat(row: Row) -> dict[str, Any]:
    document = row.to_json()
    transfer = document.pop("transfer", None) or {}
    interval = document.pop("accuracy_interval", None) or (None, None)
    document["accuracy_low"], document["accuracy_high"] = interval
    return document | {f"transfer_{name}": value for name, value in transfer.items()}


def _write_parquet(rows: Sequence[Row], target: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    documents = [_flat(row) for row in rows]
    names = dict.fromkeys(name for document in documents for name in document)
    # A value of C may be a number or a word, and a column has one type.
    columns = {
        name: [
            str(document.get(name)) if name == "C" else document.get(name) for document in documents
        ]
        for name in names
    }
    with files.atomic_path(target) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)


def _c(row: Row) -> str:
    if row.recipe.c != "auto":
        return f"{row.recipe.c:g}"
    chosen = ", ".join(f"{c:g}" for c in sorted(set(row.c)))
    return f"auto: {chosen}" if chosen else "auto"


_AXES: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("backbone", lambda row: row.view.backbone),
    ("layer", lambda row: row.view.layer),
    ("pooling", lambda row: row.view.pooling),
    ("weights", lambda row: row.view.weights),
    ("resize", lambda row: row.view.resize),
    ("scaling", lambda row: row.view.scaling),
    ("precision", lambda row: row.view.precision),
    ("flips", lambda row: "yes" if row.view.flips else "no"),
    ("normalisation", lambda row: row.recipe.normalisation),
    ("reduction", lambda row: row.recipe.reduction),
    ("head", lambda row: row.recipe.head),
    ("C", _c),
    ("class weight", lambda row: row.recipe.class_weight or "none"),
)
_ALWAYS = ("backbone", "layer")


_FIGURES = (
    (Column("dim", "integer"), "cost.dimension"),
    (Column("accuracy", "percent"), "score.accuracy"),
    (Column("low", "percent"), "score.low"),
    (Column("high", "percent"), "score.high"),
    (Column("sd", "percent"), "score.sd"),
    (Column("balanced", "percent"), "score.balanced_accuracy"),
    (Column("balanced sd", "percent"), "score.balanced_sd"),
    (Column("p (Holm)", "number"), "verdict.adjusted"),
    (Column("verdict"), "conclusion"),
    (Column("image", "number", "ms"), "cost.ms_per_image"),
    (Column("fit", "seconds"), "cost.fit_seconds"),
    (Column("predict", "number", "ms"), "cost.predict_ms"),
    (Column("stored", "bytes"), "cost.stored_bytes"),
    (Column("without leaks", "percent"), "score.without_leaks"),
    (Column("LogME", "number"), "transfer.logme"),
    (Column("H-score", "number"), "transfer.h_score_shrunk"),
    (Column("ridge error", "percent"), "transfer.ridge_error"),
)
# Columns of several folds, and of what was asked for: shown where a row has a value.
_SOMETIMES = ("sd", "balanced sd", "without leaks", "LogME", "H-score", "ridge error")


def comparison_table(rows: Sequence[Row], protocol: str, every: bool = False) -> Table:
    """Return the table.

    Args:
        rows: in the order of the table.
        protocol: on one line, for the title.
        every: also columns in which all rows are equal, and the accuracy without leaks.
    """
    axes = [
        (name, value)
        for name, value in _AXES
        if every or name in _ALWAYS or len({value(row) for row in rows}) > 1
    ]
    figures = [
        (column, place)
        for column, place in _FIGURES
        if (every or column.name != "without leaks")
        and (column.name not in _SOMETIMES or any(_figure(row, place) is not None for row in rows))
    ]
    columns = (*(Column(name) for name, _ in axes), *(column for column, _ in figures))
    cells = tuple(
        (*(value(row) for _, value in axes), *(_figure(row, place) for _, place in figures))
        for row in rows
    )
    return Table(f"Comparison, {protocol}", columns, cells)


def _figure(row: Row, place: str) -> Cell:
    """Return the figure at *place*, for example ``cost.dimension``; None without that part."""
    value: Any = row
    for name in place.split("."):
        value = None if value is None else getattr(value, name)
    return cast(Cell, value)
