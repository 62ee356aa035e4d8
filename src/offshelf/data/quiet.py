"""Silence for Pillow's warnings, in the thread that decodes and nowhere else.

``warnings.catch_warnings`` swaps the filters of the whole process and, used by several
threads at once, can leave them swapped for good. This filter stays in the list, but it
matches only while its own thread is decoding. Nothing of Pillow's is changed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any, cast


class _Thread(threading.local):
    decoding = False


class _WhileDecoding:
    """Stands where a filter has the pattern of a module name."""

    def match(self, _module: str) -> bool:
        return _thread.decoding


_thread = _Thread()
_lock = threading.Lock()
_FILTER = ("ignore", None, Warning, _WhileDecoding(), 0)
# The one reader of ours that also logs an error which it then raises.
logging.getLogger("PIL.TiffImagePlugin").addFilter(lambda _record: not _thread.decoding)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of this thread to itself; not to be nested.

    >>> with quiet():
    ...     warnings.warn("too many entries", UserWarning)
    """
    _put_first()
    _thread.decoding = True
    try:
        yield
    finally:
        _thread.decoding = False


def _put_first() -> None:
    filters = cast("list[Any]", warnings.filters)
    if filters and filters[0] is _FILTER:
        return
    with _lock:
        if _FILTER in filters:
            filters.remove(_FILTER)
        filters.insert(0, _FILTER)
