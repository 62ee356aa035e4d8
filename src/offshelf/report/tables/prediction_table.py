"""Tables of predictions: their columns, and files of them as CSV, Parquet or JSON."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.errors import DataError, OffshelfError, did_you_mean
from offshelf.heads.probabilities.decision_rule import DecisionRule
from offshelf.heads.probabilities.probability_model import Certainty
from offshelf.prediction import Prediction
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import render
from offshelf.text import json_text, shown, spelled

CSV, PARQUET, JSON = (".csv",), (".parquet", ".pq"), (".json",)
DIGITS = 4
# Each of these is the columns of all classes.
SCORES, PROBABILITIES = "scores", "probabilities"
_OF_CLASS = {SCORES: "score", PROBABILITIES: "probability"}
_BEGINNINGS = {".json": b'{\n  "model":', ".parquet": b"PAR1", ".pq": b"PAR1"}

_Value = Callable[[Prediction], Cell]


def _runner_up(row: Prediction) -> str | None:
    return next((name for name in row.scores if name != row.label), None)


def unknown_cell(row: Prediction) -> str | None:
    """Return whether an image is of no known class, as yes or no."""
    # An image without a label is neither known nor unknown.
    return None if row.label is None else "yes" if row.unknown else "no"


def unlike_cell(row: Prediction) -> str | None:
    """Return whether an image is unlike the training images; None where that is not measured."""
    return None if row.label is None or row.unlike is None else "yes" if row.unlike else "no"


_SURE = ("probability", "runner_up_probability")
_FIELDS: Mapping[str, tuple[Column, _Value]] = {
    "path": (Column("path"), lambda row: row.path),
    "status": (Column("status"), lambda row: row.status),
    "reason": (Column("reason"), lambda row: row.reason),
    "label": (Column("label"), lambda row: row.label),
    "most_probable": (Column("most_probable"), lambda row: row.most_probable),
    "probability": (
        Column("probability", "percent"),
        lambda row: row.probabilities.get(row.label or ""),
    ),
    "runner_up": (Column("runner_up"), _runner_up),
    "runner_up_probability": (
        Column("runner_up_probability", "percent"),
        lambda row: row.probabilities.get(_runner_up(row) or ""),
    ),
    "unknown": (Column("unknown"), unknown_cell),
    "unlike": (Column("unlike"), unlike_cell),
}
NAMES = (*_FIELDS, *_OF_CLASS)


def column_names(text: str) -> tuple[str, ...]:
    """Return the names in a list that commas separate; one with a comma stands in quotes.

    >>> column_names('path, label,"score:a,b"')
    ('path', 'label', 'score:a,b')
    """
    try:
        names = next(csv.reader([text], skipinitialspace=True), []) or [""]
    except csv.Error:  # a line break
        names = text.split(",")
    return tuple(dict.fromkeys(name.strip() for name in names))


def chosen_columns(
    names: Sequence[str],
    classes: Sequence[str],
    certainty: Certainty,
    rule: DecisionRule | None = None,
) -> tuple[str, ...]:
    """Return the columns of *names*, or all that the predictions of a model have.

    ``scores`` and ``probabilities`` are those of all classes. Models that are not calibrated
    have no probabilities, those that reject nothing no ``unknown``, those that keep no measure of
    it no ``unlike``, and those without a rule no ``most_probable``.

    Raises:
        OffshelfError: the model has no column of such a name.

    >>> chosen_columns(["label", "scores"], ["cat", "dog"], Certainty())
    ('label', 'score:cat', 'score:dog')
    """
    fixed = [
        name
        for name in _FIELDS
        if (certainty.calibration or name not in _SURE)
        and (certainty.threshold or name != "unknown")
        and (certainty.unlike or name != "unlike")
        and (rule or name != "most_probable")
    ]
    groups = {SCORES: [f"score:{name}" for name in classes]}
    if certainty.calibration:
        groups[PROBABILITIES] = [f"probability:{name}" for name in classes]
    known = [*fixed, *(name for group in groups.values() for name in group)]
    names = column_names(names) if isinstance(names, str) else names
    found = [one for name in names or [*fixed, *groups] for one in groups.get(name, [name])]
    for name in found:
        if name not in known:
            hint = did_you_mean(name, known if ":" in name else [*fixed, *groups], limit=1)
            having = ", ".join([*fixed, *groups])
            raise OffshelfError(f"no column {name!r}; this model's are {having}.{hint}")
    return tuple(dict.fromkeys(found))


def prediction_table(predictions: Sequence[Prediction], columns: Sequence[str]) -> Table:
    """Return a row for each prediction, and raw values in *columns*."""
    fields = [_field(name) for name in columns]
    rows = tuple(tuple(value(row) for _, value in fields) for row in predictions)
    return Table("", tuple(column for column, _ in fields), rows)


def _field(name: str) -> tuple[Column, _Value]:
    if name in _FIELDS:
        return _FIELDS[name]
    what, _, of = name.partition(":")
    if what == "score":
        return Column(name, "number"), lambda row: row.scores.get(of)
    return Column(name, "percent"), lambda row: row.probabilities.get(of)


def csv_text(table: Table) -> str:
    r"""Return *table* as CSV with four digits behind the point, and no trailing line end.

    >>> csv_text(Table("", (Column("label"), Column("score", "number")), (("cat", 0.98765),)))
    'label,score\ncat,0.9877'
    """
    rows = tuple(
        tuple(round(cell, DIGITS) if isinstance(cell, float) else cell for cell in row)
        for row in table.rows
    )
    return render(dataclasses.replace(table, rows=rows), "csv")


def check_out(path: Path, columns: Sequence[str], sources: Sequence[str | Path]) -> None:
    """Refuse a place where predictions cannot or should not be written, before any work.

    Args:
        path: the file to be. Only a file of predictions is replaced: one of JSON or Parquet,
            or CSV with the same first columns or those of all columns.
        columns: those that are chosen; none are all.
        sources: where the images are named; none of these is replaced.

    Raises:
        DataError: another ending, a folder, a file of another kind, or one of *sources*.

    >>> check_out(Path("labels.doc"), (), ())
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: labels.doc: the ending says the form: use .csv, .parquet or .json
    """
    ending = path.suffix.lower()
    if ending not in (*CSV, *PARQUET, *JSON):
        raise DataError(f"{shown(path)}: the ending says the form: use .csv, .parquet or .json")
    if columns and ending in JSON:
        raise DataError(f"{shown(path)}: JSON holds all there is; columns are for CSV and Parquet")
    of_csv = [_csv_beginning(chosen) for chosen in (columns, ())]
    beginnings = [_BEGINNINGS[ending]] if ending in _BEGINNINGS else of_csv
    if refusal := files.target_refusal(path, "file of predictions", "labels.csv", beginnings):
        raise DataError(refusal)
    if path.exists() and any(_is_same(path, Path(source)) for source in sources):
        raise DataError(
            f"{shown(path)}: names the images, so it is not replaced; choose another name"
        )


def _csv_beginning(columns: Sequence[str]) -> bytes:
    names = column_names(columns) if isinstance(columns, str) else columns
    first = itertools.takewhile(lambda name: name not in _OF_CLASS, names or tuple(_FIELDS)[:4])
    return csv_text(prediction_table((), tuple(first))).encode()


def _is_same(path: Path, source: Path) -> bool:
    try:
        return path.samefile(source)
    except (OSError, ValueError):
        return False


def write_predictions(
    path: Path, table: Callable[[], Table], document: Callable[[], Mapping[str, Any]]
) -> Path:
    """Write predictions, whole or not at all; the ending of *path* says the form.

    Args:
        path: as :func:`check_out` takes it.
        table: makes what CSV and Parquet hold.
        document: makes what JSON holds.

    Raises:
        DataError: the file cannot be written.
    """
    ending = path.suffix.lower()
    try:
        if ending in PARQUET:
            _write_parquet(path, table())
        else:
            text = json_text(document(), indent=2) if ending in JSON else csv_text(table())
            files.write_bytes(path, f"{text}\n".encode())
    except OSError as error:
        raise DataError(files.unwritable(path, error)) from error
    return path


def _spelled(cell: Cell) -> Cell:
    return spelled(cell) if isinstance(cell, str) else cell


def _write_parquet(path: Path, table: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = [
        pyarrow.string() if column.kind == "text" else pyarrow.float64() for column in table.columns
    ]
    cells = [[_spelled(row[number]) for row in table.rows] for number in range(len(kinds))]
    arrays = [pyarrow.array(column, kind) for column, kind in zip(cells, kinds, strict=True)]
    with files.atomic_path(path) as temporary:
        names = [spelled(column.name) for column in table.columns]
        pyarrow.parquet.write_table(pyarrow.table(arrays, names), temporary)
