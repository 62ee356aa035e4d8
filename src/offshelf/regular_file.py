"""Reading a small file, whatever lies at its place: no pipe is waited for, no endless file read."""

from __future__ import annotations

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
