"""Tables of several labels for each image: figures of each label, and what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from offshelf.data.tables.label_sets import label_text
from offshelf.errors import OffshelfError, did_you_mean
from offshelf.measurement.label_metrics import LabelFigures, LabelsEvaluation
from offshelf.prediction import Prediction
from offshelf.report.tables.prediction_table import PROBABILITIES, SCORES, column_names
from offshelf.report.tables.result_rows import Cell, Column, Table

NONE = "(none)"
_Value = Callable[[Prediction], Cell]


def labels_cell(row: Prediction) -> str | None:
    """Return the labels of an image as one text, None where it could not be used."""
    return None if row.labels is None else label_text(row.labels)


def none_cell(row: Prediction) -> str | None:
    """Return whether an image has none of the labels, as yes or no."""
    return None if row.labels is None else "no" if row.labels else "yes"


_FIELDS: Mapping[str, tuple[Column, _Value]] = {
    "path": (Column("path"), lambda row: row.path),
    "status": (Column("status"), lambda row: row.status),
    "reason": (Column("reason"), lambda row: row.reason),
    "labels": (Column("labels"), labels_cell),
    "none": (Column("none"), none_cell),
}


def chosen_label_columns(names: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of *names*, or all that predictions of several labels have.

    Raises:
        OffshelfError: there is no column of such a name.

    >>> chosen_label_columns(["labels", "scores"], ["sea", "wood"])
    ('labels', 'score:sea', 'score:wood')
    """
    groups = {
        PROBABILITIES: [f"probability:{name}" for name in labels],
        SCORES: [f"score:{name}" for name in labels],
    }
    known = [*_FIELDS, *(name for group in groups.values() for name in group)]
    names = column_names(names) if isinstance(names, str) else names
    found = [one for name in names or [*_FIELDS, *groups] for one in groups.get(name, [name])]
    for name in found:
        if name not in known:
            having = [*_FIELDS, *groups]
            hint = did_you_mean(name, known if ":" in name else having, limit=1)
            raise OffshelfError(
                f"no column {name!r}; of a model of several labels they are {', '.join(having)}."
                f"{hint}"
            )
    return tuple(dict.fromkeys(found))


def label_prediction_table(predictions: Sequence[Prediction], columns: Sequence[str]) -> Table:
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


def image_labels_table(predictions: Sequence[Prediction], top: int) -> Table:
    """Return a row for each image: its labels, and the *top* others that come nearest."""
    rows = []
    for row in predictions:
        labels = row.labels or ()
        others = [name for name in row.probabilities if name not in labels][:top]
        rows.append((row.path, _shares(row, labels) or NONE, _shares(row, others)))
    return Table("", (Column("image"), Column("labels"), Column("not")), tuple(rows))


def _shares(row: Prediction, labels: Sequence[str]) -> str:
    return ", ".join(f"{name} {100 * row.probabilities[name]:.2f} %" for name in labels)


def per_label_table(evaluation: LabelsEvaluation) -> Table:
    """Return the figures of each label, in the order of the labels, as a person reads them."""
    columns = (
        Column("label"),
        Column("images", "integer"),
        Column("predicted", "integer"),
        Column("from", "percent"),
        Column("precision", "percent"),
        Column("recall", "percent"),
        Column("F1", "percent"),
        Column("F1, 95 %"),
        Column("AP", "percent"),
        Column("AP, 95 %"),
    )
    rows = tuple(_line(row) for row in evaluation.per_label)
    return Table("Per label", columns, rows)


def _line(row: LabelFigures) -> tuple[Cell, ...]:
    return (
        row.name,
        row.n,
        row.predicted,
        row.threshold,
        row.precision,
        row.recall,
        row.f1,
        _ends(row.f1_interval),
        row.average_precision,
        _ends(row.average_precision_interval),
    )


def _ends(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def label_figures_table(evaluation: LabelsEvaluation) -> Table:
    """Return the same with numbers for the ends of all intervals, for a frame."""
    names = ("precision", "recall", "f1", "average_precision")
    columns = [
        Column("label"),
        Column("images", "integer"),
        Column("predicted", "integer"),
        Column("threshold", "percent"),
    ]
    for name in names:
        columns += [Column(end, "percent") for end in (name, f"{name}_low", f"{name}_high")]
    rows = []
    for row in evaluation.per_label:
        cells: list[Cell] = [row.name, row.n, row.predicted, row.threshold]
        for name in names:
            ends = getattr(row, f"{name}_interval") or (None, None)
            cells += [getattr(row, name), *ends]
        rows.append(tuple(cells))
    return Table("Per label", tuple(columns), tuple(rows))
