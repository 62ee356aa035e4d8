"""Which channels of a layer are shown, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from offshelf.errors import LayerError, OffshelfError, did_you_mean

SORTS = ("index", "strength")
DEFAULT_LIMIT = 64
MOST = 1024
_RANGE = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?")


def parse_channels(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as ``0,3,10-20``, each once, in its order.

    Raises:
        LayerError: the text is no such list, or names more than 1024 channels.

    >>> parse_channels("0, 3, 10-12, 3")
    (0, 3, 10, 11, 12)
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise LayerError(f"channels {text!r}: {part.strip()!r} is no number or range as 10-20")
        numbers.update(dict.fromkeys(range(first, min(last, first + MOST) + 1)))
        _check_count(len(numbers))
    return tuple(numbers)


def check_sort(sort: str) -> str:
    """Return *sort* if it is ``index`` or ``strength``.

    Raises:
        OffshelfError: it is neither.
    """
    if sort not in SORTS:
        raise OffshelfError(f"no order {sort!r}: {' or '.join(SORTS)}.{did_you_mean(sort, SORTS)}")
    return sort


def check_channels(wanted: Sequence[int], count: int, layer: str) -> None:
    """Check that a layer has the channels.

    Raises:
        LayerError: one of them is out of range, or there are more than 1024.
    """
    _check_count(len(wanted))
    for channel in wanted:
        if not 0 <= channel < count:
            raise LayerError(f"{layer} has the channels 0 to {count - 1}: no channel {channel}")


def chosen(
    strengths: Sequence[float] | NDArray[Any], wanted: Sequence[int] | None, sort: str, limit: int
) -> tuple[int, ...]:
    """Return the channels to show.

    Args:
        strengths: of every channel of the layer.
        wanted: these channels only; None for all, of which at most *limit* are taken.
        sort: ``index``: by number, or as they stand in *wanted*; ``strength``: the
            strongest first.
        limit: at least 1.

    >>> chosen([1.0, 5.0, 2.0], None, "strength", 2)
    (1, 2)
    """
    given = list(wanted) if wanted is not None else list(range(len(strengths)))
    if sort == "strength":
        given.sort(key=lambda channel: -float(strengths[channel]))
    return tuple(given if wanted is not None else given[: min(limit, MOST)])


def _check_count(count: int) -> None:
    if count > MOST:
        raise LayerError(f"{count} channels or more: one picture shows at most {MOST}")
    if count == 0:
        raise LayerError("no channel was asked for")
