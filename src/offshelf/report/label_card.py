"""What the card of a model of several labels says of them, from a file that is not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from offshelf.heads.head import FittedHead
from offshelf.heads.label_decisions import LabelDecisions
from offshelf.report.stated import as_object, by_name, interval_text, number, whole
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.text import counted

SEVERAL = "several labels of each image, or none"


def label_card_facts(
    decisions: LabelDecisions, metrics: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield how good a model of several labels is, and what its answers rest on."""
    intervals, n = as_object(metrics.get("intervals")), number(metrics, "n")
    on = "" if n is None else f" on {counted(int(n), 'test image')}"
    for name, key in (
        ("mAP", "mean_average_precision"),
        ("micro F1", "micro_f1"),
        ("macro F1", "macro_f1"),
    ):
        value = number(metrics, key)
        ends = interval_text(intervals.get(key))
        yield name, "not stated" if value is None else f"{100 * value:.2f} %{ends}{on}"
    yield "gives", SEVERAL
    yield "probability", "a sigmoid for each label, fitted on training images held out"
    alone = sum(one is None for one in decisions.held_out_f1)
    rest = f"; {counted(alone, 'label')} of the head's own" if alone else ""
    yield "thresholds", f"those of the best F1 on training images held out{rest}"


def label_card_table(
    head: FittedHead,
    decisions: LabelDecisions,
    counts: Any,
    metrics: Mapping[str, Any],
    most: int,
) -> Table:
    """Return a row for each label: images, threshold, figures on the test images.

    Args:
        head: with the labels.
        decisions: with their thresholds.
        counts: what the file states of the images of each label.
        metrics: what it states of the figures.
        most: so many labels at most.
    """
    columns = (
        Column("label"),
        Column("to train", "integer"),
        Column("to test", "integer"),
        Column("from", "percent"),
        Column("precision", "percent"),
        Column("recall", "percent"),
        Column("F1", "percent"),
        Column("AP", "percent"),
    )
    figures, rows = by_name(metrics.get("per_label")), []
    limits = decisions.threshold_probabilities()
    for name, limit in list(zip(head.classes, limits, strict=True))[:most]:
        of, row = as_object(as_object(counts).get(name)), figures.get(name, {})
        keys = ("precision", "recall", "f1", "average_precision")
        cells: tuple[Cell, ...] = (
            whole(of, "train"),
            whole(of, "test"),
            limit,
            *(number(row, key) for key in keys),
        )
        rows.append((name, *cells))
    return Table("", columns, tuple(rows))
