"""Thread locks that a forked process does not inherit."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

_LEFT_ALONE: weakref.WeakKeyDictionary[Any, tuple[object, ...]] = weakref.WeakKeyDictionary()


def process_lock() -> threading.Lock:
    """Return a lock that is free again in every process that is forked from this one.

    Forked while another thread holds it, a process would wait for a thread that it has not.
    To be called once for each lock, when a module is loaded.

    >>> with process_lock():
    ...     print("alone")
    alone
    """
    made = threading.Lock()
    if hasattr(os, "register_at_fork"):
        # Python's own logging and random numbers do the same.
        os.register_at_fork(after_in_child=made._at_fork_reinit)  # type: ignore[attr-defined]
    return made


def leave_in_forked(owner: object, *parts: object) -> None:
    """Keep *parts* from being taken apart in a process that is forked while *owner* lives.

    To end, some wait for threads that are not there: such a process would never end.

    >>> class Owner: pass
    >>> owner = Owner()
    >>> leave_in_forked(owner, [])
    """
    _LEFT_ALONE[owner] = parts


def _keep_for_ever() -> None:
    for parts in list(_LEFT_ALONE.values()):
        for part in parts:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_for_ever)
