"""Ctrl-C that is heard although a library swallows it.

Python raises KeyboardInterrupt wherever the main thread happens to be. Inside a library's C
code that only asks whether an object has an attribute, it is dropped without a word, and the
command would go on. So it is also remembered, and raised again at the next sign of progress.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_asked = threading.Event()


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Remember Ctrl-C while the block runs; another's handler and other threads are left alone."""
    own = signal.default_int_handler
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not own:
        yield
        return
    _asked.clear()
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, own)
        _asked.clear()


def check() -> None:
    """Raise KeyboardInterrupt if it was asked for."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _remember(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
