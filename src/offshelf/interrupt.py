"""Being stopped from outside: SIGTERM ends work as Ctrl-C does, and both can be held back.

A library that calls Python back would lose what a signal raises, or make it another error.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class TerminatedError(KeyboardInterrupt):
    """Somebody asked this process to end; whoever keeps work at Ctrl-C keeps it now, too."""


def terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """Raise :class:`TerminatedError`: a handler for SIGTERM."""
    raise TerminatedError


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise :class:`TerminatedError` in the block, where nobody handles it.

    >>> with ended_by_sigterm():
    ...     signal.getsignal(signal.SIGTERM) is terminated
    True
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end of the block.

    Only where they would raise here: in the main thread, by Python's own handler or ours.

    >>> with interrupted_afterwards():
    ...     print("goes on")
    goes on
    """
    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: terminated}
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
            held[signal.Signals(seen[0])](seen[0], None)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
