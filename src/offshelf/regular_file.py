"""Files where a pipe or device may lie: none is waited for, read without end, or replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

# A pipe or device must not hang the open; Windows must not translate line ends.
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_regular(path: Path, at_most: int) -> bytes:
    """Return the content of the file at *path*, of at most so many bytes.

    Raises:
        OSError: it cannot be read, is larger, or is no file.

    >>> read_regular(Path("/dev/zero"), 10**6)
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] no regular file: '/dev/zero'
    """
    descriptor = os.open(path, READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        if status.st_size > at_most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        with open(descriptor, "rb", closefd=False) as handle:
            return handle.read(at_most)
    finally:
        os.close(descriptor)


def refuse_special(target: Path) -> None:
    """Refuse to replace a pipe, socket or device, such as ``/dev/null``.

    Raises:
        OSError: there is one at *target*, or a link to one.
        ValueError: no file can have this name.

    >>> refuse_special(Path("/dev/zero"))
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] is a pipe, socket or device: '/dev/zero'
    """
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "is a pipe, socket or device", str(target))
