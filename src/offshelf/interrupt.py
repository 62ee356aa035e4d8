"""Signals: SIGTERM and SIGHUP behave like Ctrl-C, and all three can be deferred.

A library that calls Python back would lose what a signal raises, or make it another error.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

# SIGHUP says that the terminal has gone; Windows has none.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class TerminatedError(KeyboardInterrupt):
    """The process was asked to end by a signal; what is kept at Ctrl-C is kept now, too."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number


def terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise :class:`TerminatedError`: a handler for SIGTERM and SIGHUP."""
    raise TerminatedError(number)


@contextlib.contextmanager
def raising_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise :class:`TerminatedError` in the block.

    Only where they have no handler: what is ignored stays so, as ``nohup`` asks for.

    >>> with raising_on_signals():
    ...     signal.getsignal(signal.SIGTERM) is terminated
    True
    """
    if not _in_main_thread():
        yield
        return
    usual = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in usual:
        signal.signal(number, terminated)
    try:
        yield
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def deferring_signals() -> Iterator[None]:
    """Defer Ctrl-C, SIGTERM and SIGHUP to the end of the block.

    Only where they would raise here: in the main thread, by Python's own handler or ours.

    >>> with deferring_signals():
    ...     print("goes on")
    goes on
    """
    ours: dict[int, Callable[[int, FrameType | None], Any]] = dict.fromkeys(ENDING, terminated)
    ours[signal.SIGINT] = signal.default_int_handler
    held = {number: own for number, own in ours.items() if signal.getsignal(number) is own}
    if not held or not _in_main_thread():
        yield
        return
    seen: list[int] = []
    for number in held:
        signal.signal(number, lambda found, _: seen.append(found))
    try:
        yield
    finally:
        for number, own in held.items():
            signal.signal(number, own)
        if seen:
            held[seen[0]](seen[0], None)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
