"""Types of arguments: whole numbers in bounds, sizes of memory, values of C."""

from __future__ import annotations

import argparse
from collections.abc import Callable

MAX_MEMORY = 10**15


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a converter for whole numbers from *low* to *high*.

    >>> whole_number(1, 8)("4")
    4
    """

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not from {low} to {high}")
        return value

    return convert


def memory_size(text: str) -> int:
    """Return a number of bytes.

    >>> memory_size("1.5G"), memory_size("1 GiB")
    (1500000000, 1073741824)
    """
    from offshelf.cache import size_in_bytes

    size = size_in_bytes(text)
    if size is None or not 1 <= size <= MAX_MEMORY:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 800M or 2G")
    return size


def strength(text: str) -> float | str:
    """Return a value of C, or ``auto``.

    >>> strength("0.1"), strength("auto")
    (0.1, 'auto')
    """
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number and not 'auto'") from None
