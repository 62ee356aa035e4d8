"""Suppression of Pillow's warnings, in the decoding thread only.

The lists of filters belong to the whole process. ``warnings.catch_warnings`` swaps them, and
can leave them swapped when several threads use it at once. Here one well-formed filter is
added for as long as an image is decoded and taken out again; it matches in the decoding
thread only. Nothing of Pillow's is changed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, MutableSequence
from typing import Any, TypeVar, cast

_T = TypeVar("_T")
# Another thread that swaps the filters takes ours away; under "error" Pillow then raises.
_TRIES = 8


class _Thread(threading.local):
    decoding = False


_thread = _Thread()


class _OfThisThread(type):
    def __subclasscheck__(cls, _category: type) -> bool:
        return _thread.decoding


class WarningWhileDecoding(Warning, metaclass=_OfThisThread):
    """The category of every warning in a thread that decodes, and of none elsewhere.

    A class with a name in a module, so that whoever copies the filters meanwhile (joblib
    hands them to its workers) copies something that works.
    """


_FILTER = ("ignore", None, WarningWhileDecoding, None, 0)
# The one reader of ours that also logs an error which it then raises.
_LOGGER = logging.getLogger("PIL.TiffImagePlugin")


def silently(work: Callable[[], _T]) -> _T:
    """Return what *work* returns; its warnings in this thread are dropped. Not to be nested.

    >>> silently(lambda: warnings.warn("too many entries", UserWarning))
    """
    for _ in range(_TRIES):
        try:
            with _silence():
                return work()
        except Warning:
            continue
    with _silence():
        return work()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    filters = _filters()
    logs = _Logs()
    filters.insert(0, _FILTER)
    _LOGGER.addFilter(logs)
    _thread.decoding = True
    try:
        yield
    finally:
        _thread.decoding = False
        _LOGGER.removeFilter(logs)
        _take_out(filters)


class _Logs(logging.Filter):
    def filter(self, _record: logging.LogRecord) -> bool:
        return not _thread.decoding


def _take_out(filters: MutableSequence[Any]) -> None:
    with contextlib.suppress(ValueError):  # somebody emptied the list
        filters.remove(_FILTER)
    if _filters() is not filters:  # swapped meanwhile, maybe for a copy that has ours
        with contextlib.suppress(ValueError):
            _filters().remove(_FILTER)


def _filters() -> MutableSequence[Any]:
    return cast("MutableSequence[Any]", warnings.filters)
