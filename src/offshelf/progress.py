"""What long work tells whoever waits. The command line draws it; the library is silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of long work."""

    def start(self, what: str, total: int | None) -> None:
        """Work *what* begins; *total* is its number of items, None when unknown."""

    def advance(self, done: int = 1) -> None:
        """*done* more items are finished."""

    def finish(self) -> None:
        """The work that was started last has ended."""

    def note(self, message: str) -> None:
        """Say one line: a warning or a decision."""


class Silent:
    """A progress that tells nobody. ``notes`` keeps what was said.

    >>> progress = Silent()
    >>> progress.note("two folders are one class")
    >>> progress.notes
    ['two folders are one class']
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, done: int = 1) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Keep *message*."""
        self.notes.append(message)
