"""Classes that are recognised far less often than the others, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from offshelf.measurement.metrics import ClassFigures, Evaluation, wilson
from offshelf.model_file.model import Model
from offshelf.report import summary
from offshelf.text import counted, shown

# Points of recall below the accuracy, beyond what chance explains; and the share of the mean
# number of training images below which a class is small.
FAR, SMALL = 0.2, 0.5
MOST = 3


def accuracy_facts(evaluation: Evaluation, model: Model) -> Iterator[tuple[str, str]]:
    """Yield the figures of all classes together, the one that can be believed first.

    Where some class is hardly recognised, the accuracy says little: the balanced one comes
    first then, the classes are named, and for small ones what helps.
    """
    facts, low = summary.accuracy_facts(evaluation), neglected(evaluation)
    yield from facts[::-1] if low else facts
    if not low:
        return
    counts = _training_counts(model.data)
    named = [_told(row, counts) for row in low[:MOST]]
    more = f" and {len(low) - MOST} more" if len(low) > MOST else ""
    small = any(_is_small(row.name, counts) for row in low)
    helped = small and "class_weight" not in model.head.parameters
    advice = "; 'fit --class-weight balanced' gives small classes more weight" if helped else ""
    yield "low recall", f"{', '.join(named)}{more}{advice}"


def neglected(evaluation: Evaluation) -> list[ClassFigures]:
    """Return the classes whose recall is far below the accuracy, the lowest first.

    >>> import numpy as np
    >>> from offshelf.measurement.metrics import evaluate
    >>> true = np.array([0] * 5 + [1] * 95)
    >>> [row.name for row in neglected(evaluate(true, np.ones_like(true), ["ant", "bee"]))]
    ['ant']
    """
    accuracy = evaluation.accuracy
    low = [
        row
        for row in evaluation.per_class
        if row.n
        and row.recall <= accuracy - FAR
        and wilson(round(row.recall * row.n), row.n)[1] < accuracy
    ]
    return sorted(low, key=lambda row: row.recall)


def _told(row: ClassFigures, counts: Mapping[str, int]) -> str:
    known = counts.get(row.name)
    trained = "" if known is None else f" (trained on {counted(known, 'image')})"
    return f"'{shown(row.name)}' {100 * row.recall:.2f} %{trained}"


def _is_small(name: str, counts: Mapping[str, int]) -> bool:
    mean = sum(counts.values()) / max(1, len(counts))
    return name in counts and counts[name] < SMALL * mean


def _training_counts(data: Mapping[str, Any]) -> dict[str, int]:
    """Return class -> training images, as far as a model file states it."""
    classes = data.get("classes")
    found = {}
    for name, of in (classes if isinstance(classes, dict) else {}).items():
        count = of.get("train") if isinstance(of, dict) else None
        if type(count) is int and 0 <= count < 2**53:
            found[str(name)] = count
    return found
