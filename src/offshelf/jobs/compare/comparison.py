"""The result of a comparison: rows, the best of them, tables, frames and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offshelf import files
from offshelf.errors import OffshelfError
from offshelf.jobs.compare.axis_effects import Effect
from offshelf.jobs.compare.chosen_row import obstacle
from offshelf.jobs.compare.comparison_axes import name_of, naming
from offshelf.jobs.compare.comparison_rows import Row
from offshelf.jobs.compare.comparison_table import common_line, full_table, narrow_table
from offshelf.jobs.compare.fit_command import FitCommand
from offshelf.jobs.setup.page_files import check_page
from offshelf.measurement.transferability import Agreement
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Charted, require_pandas
from offshelf.report.summary import failure_lines, seconds_line
from offshelf.report.tables.result_rows import Table
from offshelf.report.tables.table_formats import render
from offshelf.text import json_text, shown, spelled

if TYPE_CHECKING:
    import pandas

    from offshelf.jobs.fit.fit_result import FitResult

SUFFIXES = {".md": "markdown", ".csv": "csv", ".txt": "text", ".tex": "latex"}
# Forms that are read by programs; in the others a column of commands would be too wide.
COMMAND_FORMS = ("csv", "json")
PARQUET, JSON, PAGE = ".parquet", ".json", ".html"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Charted):
    """What was compared, with what came out. Printing it prints the table.

    Attributes:
        rows: the best first; rows without a head last.
        protocol: how accuracy was measured, on one line.
        test: the paired test against the best: ``mcnemar`` or ``corrected_t``.
        effects: what each axis that varies is worth.
        agreement: rank correlation of each cheap score with the accuracy; {} without.
        failures: images that could not be used.
        findings: what the rows say, one line each.
        seconds: by stage.
        data: the images, as they were named.
        fit: the command line of ``fit`` that makes the best row, or the preferred one.
        model: what ``fit`` says of the model of that row; None where none was asked for.
    """

    rows: tuple[Row, ...]
    protocol: str
    test: str
    effects: tuple[Effect, ...]
    agreement: dict[str, Agreement]
    failures: tuple[dict[str, str], ...]
    findings: tuple[str, ...]
    seconds: dict[str, float]
    data: str
    fit: FitCommand
    model: FitResult | None = None

    @property
    def fit_command(self) -> str:
        """The line for a shell that makes the best row, or the best that ``fit`` can make."""
        return self.fit.text

    @property
    def best(self) -> Row:
        """The row with the highest accuracy."""
        return self.rows[0]

    @property
    def not_distinguishable(self) -> tuple[Row, ...]:
        """The rows that the data cannot tell from the best, the best included."""
        return tuple(row for row in self.rows if row.verdict and row.verdict.same)

    def table(self, every: bool = False) -> Table:
        """Return the rows as a table: what varies, in 110 characters; with *every* all columns."""
        return full_table(self.rows, self.protocol) if every else narrow_table(self.rows)

    def render(self, form: str = "text", every: bool = False) -> str:
        """Return the table as text, markdown, csv, json, html or latex."""
        table = self.table(every)
        if every and form in COMMAND_FORMS:
            table = full_table(self.rows, self.protocol, commands=True)
        return render(table, form)

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON document."""
        return {
            "protocol": self.protocol,
            "test": self.test,
            "best": self.best.to_json(),
            "fit_command": self.fit_command or None,
            "fit_notes": [*self.fit.notes, *self._model_lines()],
            "chosen": self.fit.row.to_json() if self.fit.row else None,
            "model": self.model.to_json() if self.model else None,
            "rows": [row.to_json() for row in self.rows],
            "effects": [effect.to_json() for effect in self.effects],
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
        yield "make it", self.fit_command or self.fit.notes[0]
        for line in self.findings:
            yield "found", line
        yield "time", seconds_line(self.seconds)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows, what they say, and what was left out."""
        yield f"Comparison, {self.protocol}"
        yield from common_line(self.rows)
        yield ""
        yield self.table()
        yield ""
        yield from self.findings
        yield from failure_lines(self.failures)
        yield f"time: {seconds_line(self.seconds)}"
        yield ""
        if self.fit_command:
            yield f"a model of {self.fit.title}:"
            yield f"  {self.fit_command}"
        yield from self.fit.notes
        yield from self._model_lines()

    def _model_lines(self) -> Iterator[str]:
        """Yield what the model is that was made, and whether it measures what its row says."""
        if self.model is None or self.model.path is None or self.fit.row is None:
            return
        found, score = self.model.evaluation, self.fit.row.score
        accuracy = f"{100 * found.accuracy:.2f} % of {found.n:,} test images"
        if self.fit.other_split:
            yield f"{shown(str(self.model.path))}: {accuracy}, on the one split of the data"
        elif score is not None and found.accuracy == score.accuracy:
            yield f"{shown(str(self.model.path))}: {accuracy}, as its row"
        elif score is not None:
            row = f"its row has {100 * score.accuracy:.2f} %"
            yield f"{shown(str(self.model.path))}: {accuracy}; {row}, by other last digits"

    def command_lines(self) -> Iterator[str]:
        """Yield each row with the ``fit`` command that makes it."""
        axes = naming(self.rows)
        yield "the fit command of each row:"
        for row in self.rows:
            yield name_of(row, axes)
            yield f"  {row.command or _without(row)}"

    def to_frame(self) -> pandas.DataFrame:
        """Return the rows as a pandas frame, one column for each figure.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require_pandas()
        import pandas

        return pandas.DataFrame([_flat(row) for row in self.rows])

    def plot(self, kind: str | None = None) -> Picture:
        """Return a picture: ``depth``, ``C``, ``weights``, any other axis, ``cost``, ``rows``, ...

        See :func:`.comparison_charts.picture`. Without *kind*, the first that the rows can give.

        Raises:
            OffshelfError: unknown picture, or the rows do not hold what it shows.
        """
        from offshelf.jobs.compare.comparison_charts import picture

        title = f"Comparison, {self.protocol}"
        return Picture.drawn(title, lambda form: picture(self.rows, kind, form))

    def write(self, path: str | Path) -> Path:
        """Write the rows; the ending says how: .md .csv .txt .tex .json .parquet, .html a page.

        Raises:
            OffshelfError: another ending.
        """
        target = check_out(path)
        if target.suffix.lower() == PARQUET:
            _write_parquet(self.rows, target)
        elif target.suffix.lower() == PAGE:
            from offshelf.jobs.compare.comparison_page import Page, write_page

            shared = {field.name: getattr(self, field.name) for field in fields(Page)}
            return write_page(Page(**shared), target)
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


def _without(row: Row) -> str:
    """Return why a row has no command."""
    return row.problem or f"cannot be made by fit: {obstacle(row.view)}"


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
    known = [*SUFFIXES, PAGE, JSON, PARQUET]
    if target.suffix.lower() not in known:
        raise OffshelfError(f"{path}: the ending says the form: use {', '.join(known)}")
    if not target.parent.is_dir():
        raise OffshelfError(f"{path}: the folder {target.parent} does not exist")
    return check_page(target) if target.suffix.lower() == PAGE else target


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
