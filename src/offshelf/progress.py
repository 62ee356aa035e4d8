"""Progress reporting: the interface that long-running work calls; the library is silent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """Receives the state of long work."""

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        """Work *what* begins; *total* is its number of items, None when unknown.

        *unit* is ``bytes`` where bytes are counted.
        """

    def advance(self, done: int = 1) -> None:
        """*done* more items are finished."""

    def finish(self) -> None:
        """The work that was started last has ended."""

    def note(self, message: str) -> None:
        """Say one line: a warning or a decision."""


class Silent:
    """A progress that prints nothing. ``notes`` keeps what was said.

    >>> progress = Silent()
    >>> progress.note("two folders are one class")
    >>> progress.notes
    ['two folders are one class']
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        """Do nothing."""

    def advance(self, done: int = 1) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Keep *message*."""
        self.notes.append(message)


Hearer = tuple[Progress, set[str]]
_HEARER: ContextVar[Hearer | None] = ContextVar("hearer", default=None)


@contextlib.contextmanager
def heard_by(progress: Progress) -> Iterator[None]:
    """Let *progress* hear what is told in the block, each line once.

    For what is found deep inside, where no progress is at hand: a damaged file of
    the cache.

    >>> progress = Silent()
    >>> with heard_by(progress):
    ...     tell("plan.json: damaged")
    ...     tell("plan.json: damaged")
    >>> progress.notes
    ['plan.json: damaged']
    """
    outer = _HEARER.get()
    token = _HEARER.set((progress, outer[1] if outer else set()))
    try:
        yield
    finally:
        _HEARER.reset(token)


def hearer() -> Hearer | None:
    """Return who hears what is told here, for :func:`hear` in another thread."""
    return _HEARER.get()


def hear(found: Hearer | None) -> None:
    """Let *found* hear what this thread tells from now on."""
    _HEARER.set(found)


def tell(message: str) -> None:
    """Pass one line to every listener, if it was not passed before."""
    found = _HEARER.get()
    if found is None or message in found[1]:
        return
    found[1].add(message)
    found[0].note(message)
