"""Progress reporting: the interface that long-running work calls; the library is silent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
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


Listener = tuple[Progress, set[str]]
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def notifying(progress: Progress) -> Iterator[None]:
    """Pass what :func:`notify` is given in the block to *progress*, each line once.

    For what is found deep inside, where no progress is at hand: a damaged file of
    the cache.

    >>> progress = Silent()
    >>> with notifying(progress):
    ...     notify("plan.json: damaged")
    ...     notify("plan.json: damaged")
    >>> progress.notes
    ['plan.json: damaged']
    """
    outer = _LISTENER.get()
    token = _LISTENER.set((progress, outer[1] if outer else set()))
    try:
        yield
    finally:
        _LISTENER.reset(token)


def listener() -> Listener | None:
    """Return who receives notes here, for :func:`listen` in another thread."""
    return _LISTENER.get()


def listen(found: Listener | None) -> None:
    """Pass the notes of this thread to *found* from now on."""
    _LISTENER.set(found)


def notify(message: str) -> None:
    """Pass one line to the listener, if it was not passed before."""
    found = _LISTENER.get()
    if found is None or message in found[1]:
        return
    found[1].add(message)
    found[0].note(message)


def note_all(progress: Progress, lines: Iterable[str]) -> None:
    """Pass every line to *progress*."""
    for line in lines:
        progress.note(line)
