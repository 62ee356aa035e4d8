"""What is said of several labels for each image: figures of all, and of each label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from offshelf.measurement.label_metrics import LabelsEvaluation
from offshelf.prediction import Prediction
from offshelf.report.summary import MAX_CLASSES, WORST
from offshelf.report.tables.label_rows import per_label_table
from offshelf.report.tables.result_rows import Table
from offshelf.text import counted


def label_figure_facts(found: LabelsEvaluation) -> Iterator[tuple[str, str]]:
    """Yield the figures of all labels together."""
    measured = sum(row.n > 0 for row in found.per_label)
    share, ends = found.mean_average_precision, found.intervals["mean_average_precision"]
    absent = len(found.per_label) - measured
    missing = f" ({absent} have no images here)" if absent else ""
    yield (
        "mAP",
        f"{_percent(share)} ({_interval(ends)}), the mean average precision of "
        f"{counted(measured, 'label')}{missing}",
    )
    micro = f"micro {_percent(found.micro_f1)} ({_interval(found.intervals['micro_f1'])})"
    macro = f"macro {_percent(found.macro_f1)} ({_interval(found.intervals['macro_f1'])})"
    yield "F1", f"{micro}, {macro}"
    yield (
        "exact",
        f"{_percent(found.exact)} of the images have all their labels and no other predicted",
    )
    if found.unlabelled or found.predicted_none:
        yield (
            "no label",
            f"{counted(found.unlabelled, 'image')}; predicted for {found.predicted_none}",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _interval(ends: tuple[float, float]) -> str:
    return f"95 % interval {100 * ends[0]:.2f} to {100 * ends[1]:.2f} %"


def label_blocks(found: LabelsEvaluation) -> Iterator[Table | str]:
    """Yield the table of the labels; of more than 20 only the 10 with the lowest F1."""
    rows = found.per_label
    if len(rows) <= MAX_CLASSES:
        yield per_label_table(found)
        return
    present = [row for row in rows if row.n]
    worst = sorted(present, key=lambda row: row.f1 or 0.0)[:WORST]
    table = per_label_table(dataclasses.replace(found, per_label=tuple(worst)))
    title = f"The {WORST} of {len(present)} labels with the lowest F1 (--json has all)"
    yield dataclasses.replace(table, title=title)


def label_legend() -> Iterator[str]:
    """Yield what the columns of labels mean."""
    yield "from: probability at the threshold, the one of the best F1 on training images held out"
    yield "AP: average precision, the mean precision at each image that has the label"


def prediction_legend(predictions: Sequence[Prediction]) -> Iterator[str]:
    """Yield what the columns of predictions mean."""
    yield "labels: those whose probability reaches their threshold, which 'offshelf show' lists"
    yield "probability: of each label on its own (a sigmoid, fitted on training images held out)"
    if any(row.labels == () for row in predictions):
        yield "(none): no label reaches its threshold"


def label_counts(predictions: Sequence[Prediction], labels: Sequence[str]) -> list[tuple[str, int]]:
    """Return how many images have each label, the most frequent first."""
    found = dict.fromkeys(labels, 0)
    for row in predictions:
        for name in row.labels or ():
            found[name] += 1
    return sorted(found.items(), key=lambda pair: -pair[1])
