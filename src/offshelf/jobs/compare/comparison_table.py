"""The rows of a comparison as one table: axes that vary, then figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from offshelf.jobs.compare.comparison_rows import Row
from offshelf.report.tables.result_rows import Cell, Column, Table

SAME = "= best"


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


def comparison_table(rows: Sequence[Row], protocol: str, every: bool = False) -> Table:
    """Return the table.

    Args:
        rows: in the order of the table.
        protocol: on one line, for the title.
        every: also columns in which all rows are equal.
    """
    axes = [
        (name, value)
        for name, value in _AXES
        if every or name in _ALWAYS or len({value(row) for row in rows}) > 1
    ]
    figures = _figures(rows, every)
    columns = (*(Column(name) for name, _ in axes), *(column for column, _ in figures))
    cells = tuple(
        (*(value(row) for _, value in axes), *(value(row) for _, value in figures)) for row in rows
    )
    return Table(f"Comparison, {protocol}", columns, cells)


Figure = tuple[Column, Callable[[Row], Cell]]


def _figures(rows: Sequence[Row], every: bool) -> list[Figure]:
    folds = max((len(row.score.accuracies) for row in rows if row.score), default=1)
    figures: list[Figure] = [
        (Column("dim", "integer"), lambda row: row.cost.dimension if row.cost else None),
        (Column("accuracy", "percent"), lambda row: row.score.accuracy if row.score else None),
        (Column("low", "percent"), lambda row: row.score.interval[0] if row.score else None),
        (Column("high", "percent"), lambda row: row.score.interval[1] if row.score else None),
    ]
    if folds > 1:
        figures.append((Column("sd", "percent"), lambda row: row.score.sd if row.score else None))
    figures.append(
        (
            Column("balanced", "percent"),
            lambda row: row.score.balanced_accuracy if row.score else None,
        )
    )
    if folds > 1:
        figures.append(
            (
                Column("balanced sd", "percent"),
                lambda row: row.score.balanced_sd if row.score else None,
            )
        )
    figures += [
        (Column("p (Holm)", "number"), lambda row: row.verdict.adjusted if row.verdict else None),
        (Column("verdict"), _verdict),
        (Column("image", "number", "ms"), lambda row: row.cost.ms_per_image if row.cost else None),
        (Column("fit", "seconds"), lambda row: row.cost.fit_seconds if row.cost else None),
        (Column("predict", "number", "ms"), lambda row: row.cost.predict_ms if row.cost else None),
        (Column("stored", "bytes"), lambda row: row.cost.stored_bytes if row.cost else None),
    ]
    if every and any(row.score and row.score.without_leaks is not None for row in rows):
        figures.append(
            (
                Column("without leaks", "percent"),
                lambda row: row.score.without_leaks if row.score else None,
            )
        )
    if any(row.transfer for row in rows):
        figures += _transfer_figures()
    return figures


def _transfer_figures() -> list[Figure]:
    return [
        (Column("LogME", "number"), lambda row: row.transfer.logme if row.transfer else None),
        (
            Column("H-score", "number"),
            lambda row: row.transfer.h_score_shrunk if row.transfer else None,
        ),
        (
            Column("ridge error", "percent"),
            lambda row: row.transfer.ridge_error if row.transfer else None,
        ),
    ]


def _verdict(row: Row) -> str:
    if row.problem:
        return row.problem
    if row.verdict is None or not row.verdict.same:
        return "worse"
    return SAME
