"""Ctrl-C while a library calls Python back, which would lose it or make it another error."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block.

    Only where it would raise KeyboardInterrupt here: in the main thread, by Python's own handler.

    >>> with interrupted_afterwards():
    ...     print("goes on")
    goes on
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if seen:
            raise KeyboardInterrupt
