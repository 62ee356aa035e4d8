"""The confusion matrix as a table, with short names for its columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offshelf.measurement.metrics import Evaluation
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import shown

MAX_CLASSES = 20
_SHORT, _LONG = 3, 5


def confusion_matrix(evaluation: Evaluation) -> Table | None:
    """Return how many images of each class were predicted as which.

    Classes without images that were never predicted have neither row nor column. None where
    there are more than 20 others.

    >>> from offshelf.measurement.metrics import evaluate
    >>> from offshelf.report.tables.table_formats import render
    >>> table = confusion_matrix(evaluate(np.array([0, 1, 1]), np.array([0, 1, 0]), ["cat", "dog"]))
    >>> print(render(table))
    Confusion: a row for each true class, a column for each predicted one
    true class  short name  cat  dog
    ----------  ----------  ---  ---
    cat         cat           1    -
    dog         dog           1    1
    """
    counts = evaluation.confusion
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    if len(seen) > MAX_CLASSES:
        return None
    names = [evaluation.classes[k] for k in seen]
    short = short_names_of(names)
    columns = (
        *map(Column, ("true class", "short name")),
        *(Column(name, "integer") for name in short),
    )
    rows = tuple(
        (name, brief, *(int(counts[true, k]) or None for k in seen))
        for name, brief, true in zip(names, short, seen, strict=True)
    )
    title = "Confusion: a row for each true class, a column for each predicted one"
    return Table(title, columns, rows)


def short_names_of(names: Sequence[str]) -> list[str]:
    """Return a short name for each, no two alike: the first letters, or the number in the list.

    >>> short_names_of(["coast", "forest", "street", "stream"])
    ['coa', 'for', 'stree', 'strea']
    >>> short_names_of(["class 01", "class 02"])
    ['#1', '#2']
    """
    printed = [shown(name) for name in names]
    found = [_prefix(name, printed) for name in printed]
    numbered = [name or f"#{place}" for place, name in enumerate(found, start=1)]
    if len(set(numbered)) == len(numbered):
        return numbered
    return [f"#{place}" for place in range(1, len(names) + 1)]


def _prefix(name: str, names: Sequence[str]) -> str:
    for length in range(_SHORT, _LONG + 1):
        if sum(other[:length] == name[:length] for other in names) == 1:
            return name[:length].strip()
    return ""
