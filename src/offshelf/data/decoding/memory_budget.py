"""Bytes that all threads of the process together may take to decode images.

A small file may claim many pixels, and several threads decode at once. Each decoding
first acquires what it will take at its peak, and waits while the others hold too much.
Whoever came first is served first, so that a large image is not passed over for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

SHARE = 4
# Of the budget: what takes more is given back to the system at once, and what one thread keeps.
SCARCE = 16
# What the C library keeps for each thread all the same, at most: the end of its own heap.
KEPT = 12 * 2**20
# Where a control group of Linux, version 2 or 1, says how much memory it may use.
_GROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNKNOWN = 4 * 2**30
_GB, _MB, _KB = 10**9, 10**6, 10**3


class MemoryBudget:
    """How many bytes are held, and who waits for some.

    >>> budget = MemoryBudget()
    >>> with budget.held(30, of=100):
    ...     budget.in_use
    30
    >>> budget.in_use
    0
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._holders = 0
        self.in_use = 0

    @contextlib.contextmanager
    def held(self, size: int, of: int) -> Iterator[None]:
        """Hold *size* bytes for the time of the block, once no more than *of* are in use.

        Of these, every other thread that holds or waits keeps some for itself. What does not
        fit beside that waits until nothing else is held.
        """
        self._acquire(min(size, of), of)
        try:
            yield
        finally:
            if size > of // SCARCE:
                _trim()
            with self._changed:
                self.in_use -= min(size, of)
                self._holders -= 1
                self._changed.notify_all()

    def _acquire(self, size: int, of: int) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(size, of))
                self.in_use += size
                self._holders += 1
            finally:  # an interrupt of the wait must not leave a ticket that nobody calls
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _fits(self, size: int, of: int) -> bool:
        kept = min(KEPT, of // SCARCE) * (self._holders + len(self._queue) - 1)
        return self.in_use == 0 or self.in_use + size + kept <= of


BUDGET = MemoryBudget()
if hasattr(os, "register_at_fork"):  # what other threads held is not held in the child
    os.register_at_fork(after_in_child=BUDGET.__init__)  # type: ignore[misc]


def _trim() -> None:
    """Give the system what the C library keeps of what was freed.

    It keeps some 80 MB for each thread, which no budget counts.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def default_memory() -> int:
    """Return a quarter of the memory that this process may use, bytes."""
    return memory_here() // SHARE


def memory_here(root: Path = Path("/")) -> int:
    """Return the memory of this machine, or of the control group that it grants, bytes.

    Args:
        root: the folder where the system shows its limits.

    >>> memory_here() > 0
    True
    """
    found = [_group_limit(root / name) for name in _GROUP_LIMITS]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((size for size in found if size > 0), default=_UNKNOWN)


def _group_limit(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return 0


def in_words(size: int) -> str:
    """Return a number of bytes for a person.

    >>> in_words(5_240_000_000), in_words(750_000), in_words(12)
    ('5.2 GB', '750 KB', '12 bytes')
    """
    if size >= _GB:
        return f"{size / _GB:.1f} GB"
    if size >= _MB:
        return f"{size / _MB:.0f} MB"
    return f"{size / _KB:.0f} KB" if size >= _KB else f"{size} bytes"
