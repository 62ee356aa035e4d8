"""What a model file states, as far as it is of the right kind; nothing else is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offshelf.text import shown

LARGEST = 1e15
_LONGEST = 200


def as_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def by_name(rows: Any) -> dict[str, Mapping[str, Any]]:
    """Return the objects of a list by their name."""
    found = [as_object(row) for row in rows] if isinstance(rows, list) else []
    return {row["name"]: row for row in found if isinstance(row.get("name"), str)}


def number(document: Mapping[str, Any], key: str) -> float | None:
    """Return a number that is not too large to be shown.

    >>> number({"accuracy": 0.5, "n": "many"}, "accuracy"), number({"n": "many"}, "n")
    (0.5, None)
    """
    value = document.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < LARGEST else None


def whole(document: Mapping[str, Any], key: str) -> int | None:
    """Return a number without its fraction."""
    value = number(document, key)
    return None if value is None else int(value)


def interval_text(ends: Any) -> str:
    """Return the ends of an interval of shares in brackets, "" for anything else.

    >>> interval_text([0.1, 0.2])
    ' (95 % interval 10.00 to 20.00 %)'
    """
    if not isinstance(ends, list) or len(ends) != 2:
        return ""
    low, high = (number({"end": end}, "end") for end in ends)
    if low is None or high is None:
        return ""
    return f" (95 % interval {100 * low:.2f} to {100 * high:.2f} %)"


def text(document: Mapping[str, Any], key: str) -> str:
    """Return a short text as it can be printed."""
    value = document.get(key)
    return shown(value[:_LONGEST]) if isinstance(value, str) else ""
