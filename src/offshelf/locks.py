"""File locks, which the system releases however their owner ends, and thread locks across forks.

File locks are advisory and belong to an open file, so they also hold between threads. Where a
file system has none, or nothing can be written, taking one raises ``OSError``; work then goes on
as if it were alone, which costs time and never a result.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# An owner without a sign of life for so long counts as stopped and is not waited for.
PATIENCE_SECONDS = 60.0
BEAT_SECONDS = 1.0
MIN_PAUSE, MAX_PAUSE = 0.0005, 0.05
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_LEFT_ALONE: weakref.WeakKeyDictionary[Any, tuple[object, ...]] = weakref.WeakKeyDictionary()


class Lock:
    """One lock, on a file that is made where it is missing.

    Args:
        path: the file; its folder must exist.

    >>> import tempfile; place = Path(tempfile.mkdtemp()) / "one.lock"
    >>> mine, other = Lock(place), Lock(place)
    >>> mine.take(), other.take()
    (True, False)
    >>> mine.release()
    >>> place.exists()
    False
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._owner = 0

    def take(self, shared: bool = False) -> bool:
        """Return whether the lock could be had, alone or *shared*; nothing is waited for.

        Raises:
            OSError: the file cannot be made, or there are no locks here.
        """
        while True:
            # A link in its place may lead anywhere.
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
            try:
                taken = try_lock(handle, shared)
                # Whoever had it may have removed the file that was opened here.
                current = taken and _is_at(handle, self.path)
            except BaseException:
                os.close(handle)
                raise
            if current:
                self._handle, self._owner = handle, os.getpid()
                return True
            os.close(handle)
            if not taken:
                return False

    def write(self, content: bytes) -> None:
        """Append *content* to the file of a lock that is held."""
        if self._handle is not None:
            os.lseek(self._handle, 0, os.SEEK_END)
            os.write(self._handle, content)

    def beat(self) -> None:
        """Show by the file's time that the owner of the lock is at work."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def release(self, remove: bool = True) -> None:
        """Let go of the lock, and remove its file."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        # A forked process has the file open, too: it ends no lock of its parent, whose own end
        # of the lock does not depend on it.
        if self._owner == os.getpid():
            if remove:
                with contextlib.suppress(OSError):
                    self.path.unlink()
            with contextlib.suppress(OSError):
                _unlock(handle)
        os.close(handle)


def is_held(path: Path) -> bool:
    """Return whether a living process holds a lock on the file at *path*.

    True also where that cannot be known: nothing is taken from an owner that may be alive.

    >>> is_held(Path("no such file"))
    False
    """
    try:
        handle = _open(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not try_lock(handle, shared=False)
    except OSError:
        return True
    finally:
        os.close(handle)


def remove_if_free(path: Path) -> bool:
    """Remove the file at *path* unless a living process holds a lock on it."""
    try:
        handle = _open(path)
    except OSError:
        return False
    try:
        # Under the lock: a process that opens it now sees that it has gone, and makes a new one.
        if not try_lock(handle, shared=False) or not _is_at(handle, path):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


@contextlib.contextmanager
def alone(
    target: Path,
    patience: float = PATIENCE_SECONDS,
    waiting: Callable[[], None] | None = None,
) -> Iterator[bool]:
    """Let one process at a time do the work that makes *target*, once.

    Whoever comes second waits until the first has finished or has ended, and should look
    whether *target* is there before it does the work, too.

    Args:
        target: what is made; the lock lies beside it and goes with the block.
        patience: seconds without a sign of life after which an owner is not waited for.
        waiting: is called when another process must be waited for.

    Yields:
        False where another process still has the lock, and gave no sign for *patience*.

    >>> import tempfile; target = Path(tempfile.mkdtemp()) / "graph"
    >>> with alone(target):
    ...     [path.name for path in target.parent.iterdir()]
    ['.graph.lock']
    """
    lock = Lock(target.with_name(f".{target.name}.lock"))
    taken = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        taken = lock.take()
        if not taken and waiting is not None:
            waiting()
        taken = taken or wait_for(lock, patience)
    except OSError:
        yield True
        return
    if not taken:
        yield False
        return
    try:
        with _beating(lock):
            yield True
    finally:
        lock.release()


def wait_for(lock: Lock, patience: float, progress: Callable[[], object] | None = None) -> bool:
    """Return whether *lock* was taken before its owner gave no sign for *patience* seconds.

    The sign is a change of what *progress* returns, or of the time of the lock's file.

    Raises:
        OSError: there are no locks here, or nothing can be written.
    """
    look = progress or (lambda: _stamp(lock.path))
    seen, since, pause = look(), time.monotonic(), MIN_PAUSE
    while not lock.take():
        if (found := look()) != seen:
            seen, since = found, time.monotonic()
        if time.monotonic() - since >= patience:
            return False
        time.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE)
    return True


@contextlib.contextmanager
def _beating(lock: Lock) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            lock.beat()

    thread = threading.Thread(target=beat, daemon=True, name="offshelf-lock")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:
        # Another user's file can be locked as well as read.
        return os.open(path, os.O_RDONLY)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    # Locks of Windows keep others from reading: these are on bytes that no file has.
    _START, _SPAN = 1 << 30, 1 << 20

    def try_lock(handle: int, shared: bool) -> bool:
        """Return whether the open file could be locked; who shares takes one of many bytes."""
        os.lseek(handle, _START + (secrets.randbelow(_SPAN) if shared else 0), os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1 if shared else _SPAN)
        except PermissionError:
            return False
        return True

    def _unlock(handle: int) -> None:
        """Closing the file unlocks it."""
else:

    def try_lock(handle: int, shared: bool) -> bool:
        """Return whether the open file could be locked.

        Raises:
            OSError: there are no locks here.
        """
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


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
