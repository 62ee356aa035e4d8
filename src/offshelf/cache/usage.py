"""Cache usage: one small file in a folder says who uses it, and when it was used last.

Its time is that of the last use, and every process that uses the folder shares a lock on it.
"""

from __future__ import annotations

import time
import weakref
from pathlib import Path

from offshelf import files
from offshelf.locks import Lock

NAME = "used"
# Removing a folder is one rename and takes no longer than this.
PATIENCE_SECONDS = 10.0


class Usage:
    """Marks *folder* as used by this process until it is closed or forgotten.

    Where nothing can be written or locked, nothing is marked, and nothing is taken away.

    Args:
        folder: the folder.
        make: whether it is made where it is missing.

    >>> import tempfile; folder = Path(tempfile.mkdtemp()) / "one"; folder.mkdir()
    >>> usage = Usage(folder); remove_unused(folder)
    False
    >>> usage.close(); remove_unused(folder)
    True
    """

    def __init__(self, folder: Path, make: bool = False) -> None:
        self._lock = Lock(folder / NAME)
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            while not self._lock.take(shared=True):
                if time.monotonic() - began > PATIENCE_SECONDS:
                    return
                time.sleep(0.01)
        except OSError:
            return
        self._lock.beat()
        weakref.finalize(self, self._lock.release, remove=False).atexit = False

    def close(self) -> None:
        """Take the mark back."""
        self._lock.release(remove=False)


def last_used(folder: Path) -> float:
    """Return when *folder* was used last, in seconds since the epoch; 0 if it has gone.

    A folder without a mark counts from its own time.
    """
    for path in (folder / NAME, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def remove_unused(folder: Path) -> bool:
    """Remove *folder* at once, unless a living process uses it or that cannot be told."""
    lock = Lock(folder / NAME)
    try:
        if not lock.take():
            return False
        try:
            # The name is free at once: the next process makes a new folder.
            with files.temporary_folder(folder.parent) as place:
                folder.rename(place / folder.name)
        finally:
            lock.release(remove=False)
    except OSError:
        return False
    return True
