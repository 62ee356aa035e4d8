"""Both decisions of a classifier with a rule, as tables and lines."""

from __future__ import annotations

from collections.abc import Iterator

from offshelf.measurement.decisions import Decisions
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.text import counted, noun, shown

MOST = 10
MOST_PROBABLE = "most probable class"
_LEAST_COST, _BY = "least expected cost", {"costs": "costs", "thresholds": "thresholds"}


def decision_blocks(found: Decisions | None) -> Iterator[Table | str]:
    """Yield the figures of both decisions, and the classes for which they differ.

    Nothing where no rule decides.
    """
    if found is None:
        return
    yield _both(found)
    yield ""
    if found.classes:
        yield _classes(found)
        left = len(found.classes) - MOST
        if left > 0:
            yield f"... {counted(left, 'more class', 'more classes')}; --json has all"
        yield ""


def decision_facts(found: Decisions | None) -> Iterator[tuple[str, str]]:
    """Yield the rule, and what an image costs; nothing where no rule decides."""
    if found is None:
        return
    yield "decides", found.rule.sentence(found.decided.classes)
    changed, n = found.changed, found.decided.n
    of = f"{changed:,} of {n:,} {noun(n, 'image')}"
    yield "changed", f"{of} called another class than the most probable"
    if cost := found.cost:
        low, high = cost.interval
        yield (
            "mean cost",
            f"{cost.decided:.4g} of an image, {cost.most_probable:.4g} by the {MOST_PROBABLE}: "
            f"saves {cost.saved:.4g} (95 % interval {low:.4g} to {high:.4g}); every image called "
            f"'{shown(cost.always_class)}' costs {cost.always:.4g}",
        )


def _both(found: Decisions) -> Table:
    columns = [Column("decided by"), Column("accuracy", "percent"), Column("balanced", "percent")]
    rule = _LEAST_COST if found.cost else _BY[found.rule.kind]
    pairs = [(MOST_PROBABLE, found.most_probable), (rule, found.decided)]
    rows: list[tuple[Cell, ...]] = [
        (name, one.accuracy, one.balanced_accuracy) for name, one in pairs
    ]
    if found.cost:
        columns.append(Column("mean cost", "number"))
        costs = found.cost.most_probable, found.cost.decided
        rows = [(*row, cost) for row, cost in zip(rows, costs, strict=True)]
    return Table("Two decisions", tuple(columns), tuple(rows))


def _classes(found: Decisions) -> Table:
    by = _BY[found.rule.kind]
    columns = (
        Column("class"),
        Column("images", "integer"),
        Column("recall", "percent"),
        Column(f"recall by {by}", "percent"),
        Column("precision", "percent"),
        Column(f"precision by {by}", "percent"),
    )
    rows = tuple((row.name, row.n, *row.recall, *row.precision) for row in found.classes[:MOST])
    return Table(f"Classes that the {by} change", columns, rows)
