"""The row of a comparison that becomes a model: the best, or one as good that costs less."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from offshelf.errors import OffshelfError, check_choice
from offshelf.jobs.compare.comparison_axes import name_of, naming
from offshelf.jobs.compare.comparison_rows import Cost, Row, Score
from offshelf.jobs.compare.feature_sets import View
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import p_text

Preference = Literal["accuracy", "speed", "size"]
PREFERENCES: tuple[str, ...] = get_args(Preference)
ACCURACY, SPEED, SIZE = PREFERENCES
_SUPERLATIVES = {SPEED: "fastest", SIZE: "smallest"}


@dataclass(frozen=True)
class ChosenRow:
    """A row, and why it was taken.

    Attributes:
        row: None where ``fit`` can make none of the rows.
        title: what it is, in a few words.
        notes: why it was taken and what it gives up, one line each.
    """

    row: Row | None
    title: str
    notes: tuple[str, ...] = ()


def check_preference(word: str) -> str:
    """Return *word* if rows can be chosen by it.

    Raises:
        OffshelfError: there is no such preference.

    >>> check_preference("fast")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: no preference 'fast': accuracy, speed, size.
    """
    check_choice("preference", word, PREFERENCES, OffshelfError)
    return word


def obstacle(view: View) -> str:
    """Return why ``fit`` cannot make features, "" where it can."""
    if view.scaling == "none":
        return "it always scales pixels as belongs to the weights"
    return ""


def chosen_row(rows: Sequence[Row], prefer: str = ACCURACY) -> ChosenRow:
    """Return the row that is made into a model.

    Of the rows that cannot be told from the best and that ``fit`` can make, it is the most
    accurate, the fastest (milliseconds for an image, all passes) or the smallest (bytes of weights
    and head). Among equally fast or small ones it is the most accurate, then the fastest, then the
    first of the table; among equally accurate ones the first, as no clock decides the best row.

    Args:
        rows: of a comparison, the best first.
        prefer: ``accuracy``, ``speed`` or ``size``.
    """
    good = [row for row in rows if row.score]
    best, possible = good[0], [row for row in good if not obstacle(row.view)]
    if not possible:
        reason = f"no row can be made by fit: {obstacle(best.view)}"
        return ChosenRow(None, "", (reason,))
    equal = [row for row in possible if row.verdict and row.verdict.same]
    row = min(equal or possible[:1], key=_order(prefer))
    if row is best:
        return ChosenRow(row, "the best row", _kept(row, equal, prefer))
    if prefer in _SUPERLATIVES and equal:
        title = f"the {_SUPERLATIVES[prefer]} row that cannot be told from the best"
        return ChosenRow(row, title, _given_up(row, best, len(equal), prefer))
    if obstacle(best.view):
        return ChosenRow(row, "the best row that fit can make", (_not_best(row, best),))
    return ChosenRow(row, "the best row")


def _order(prefer: str) -> Callable[[Row], tuple[float, ...]]:
    def order(row: Row) -> tuple[float, ...]:
        accuracy, ms = -round(_score(row).accuracy, 12), _ms(row)
        if prefer == ACCURACY:
            return (accuracy,)
        return (ms if prefer == SPEED else float(_cost(row).model_bytes), accuracy, ms)

    return order


def _kept(best: Row, equal: Sequence[Row], prefer: str) -> tuple[str, ...]:
    """Return why the best row itself was taken, where something else was preferred."""
    if prefer not in _SUPERLATIVES:
        return ()
    if prefer == SPEED and math.isinf(_ms(best)):
        return ("no row's speed is known, so the most accurate was taken",)
    if len(equal) == 1:
        return ("no other row that fit can make is as good as the best one",)
    return (
        f"the best row is also the {_SUPERLATIVES[prefer]} of the {len(equal):,} that cannot be "
        "told from it",
    )


def _given_up(row: Row, best: Row, count: int, prefer: str) -> tuple[str, ...]:
    """Return what a row that is preferred to the best is worth, and what it gives up."""
    less = 100 * (_score(best).accuracy - _score(row).accuracy)
    p = p_text(row.verdict.adjusted) if row.verdict else ""
    gives = f"{less:.2f} points" if less else "nothing"
    name = name_of(row, naming((row, best)))
    of = f"of {count:,} that" if count > 1 else "and"
    return (
        f"{name}: the {_SUPERLATIVES[prefer]} {of} cannot be told from the best row, "
        f"{_amount(row, prefer)} in place of {_amount(best, prefer)}; it gives up {gives}: "
        f"{100 * _score(row).accuracy:.2f} % in place of {100 * _score(best).accuracy:.2f} % "
        f"(p {p if p.startswith('<') else f'= {p}'})",
    )


def _amount(row: Row, prefer: str) -> str:
    if prefer == SIZE:
        return format_cell(_cost(row).model_bytes, "bytes")
    ms = _cost(row).ms_per_image
    return "an unknown time" if ms is None else f"{ms:.3g} ms for an image"


def _not_best(made: Row, best: Row) -> str:
    return (
        f"fit cannot make the best row: {obstacle(best.view)}; the command makes "
        f"{name_of(made)}: {100 * _score(made).accuracy:.2f} %"
    )


def _ms(row: Row) -> float:
    ms = _cost(row).ms_per_image
    return math.inf if ms is None else ms


def _score(row: Row) -> Score:
    if row.score is None:
        raise ValueError("a row without a head")
    return row.score


def _cost(row: Row) -> Cost:
    if row.cost is None:
        raise ValueError("a row without a head")
    return row.cost
