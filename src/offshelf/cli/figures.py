"""Accuracy, per-class figures and confusions as text, the same for every command."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.evaluate.metrics import Evaluation
    from offshelf.evaluate.probabilities.probability_metrics import Trust

MAX_CLASSES = 20
WORST = 10
CONFUSIONS = 5
UNTRAINED = "UNTRAINED network (random weights): this says nothing about your images"


def show_classes(evaluation: Evaluation) -> None:
    """Print a table of the classes that have images, and one of the worst confusions.

    Of many classes only those with the lowest F1 are shown.
    """
    from offshelf.report.tables.result_rows import confusion_table, per_class_table
    from offshelf.report.tables.table_formats import render

    present = tuple(row for row in evaluation.per_class if row.n)
    worst = tuple(sorted(present, key=lambda row: row.f1)[:WORST])
    rows = worst if len(present) > MAX_CLASSES else present
    table = per_class_table(dataclasses.replace(evaluation, per_class=rows))
    if rows is worst:
        title = f"The {WORST} of {len(present)} classes with the lowest F1 (--json has all)"
        table = dataclasses.replace(table, title=title)
    console.say(render(table))
    confused = confusion_table(evaluation, limit=CONFUSIONS)
    if confused.rows:
        console.say("\n" + render(confused))
    console.say()


def accuracy(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Return the figures of all classes together, for :func:`console.facts`."""
    share, (low, high) = 100 * evaluation.accuracy, evaluation.accuracy_interval
    absent = sum(not row.n for row in evaluation.per_class)
    missing = f" ({absent} of the classes have no images here)" if absent else ""
    recall = 100 * evaluation.balanced_accuracy
    return (
        ("accuracy", f"{share:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %)"),
        ("balanced", f"{recall:.2f} %, the mean recall of the classes{missing}"),
    )


def trust(found: Trust) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of probabilities and rejections, for :func:`console.facts`."""
    if found.reliability:
        measured = found.reliability
        off = measured.confidence - measured.accuracy
        sure = "too sure" if off > 0 else "too unsure"
        yield (
            "log loss",
            f"{measured.log_loss:.3f}; expected calibration error {100 * measured.ece:.2f} % "
            f"(on average {100 * abs(off):.2f} points {sure})",
        )
    if found.rejection:
        rejection = found.rejection
        rest = rejection.accuracy
        yield (
            "unknown",
            f"{100 * rejection.share:.2f} % of these images of known classes rejected; "
            + (f"accuracy on the others {100 * rest:.2f} %" if rest is not None else "no others"),
        )
