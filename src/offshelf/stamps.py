"""What tells that a file has not been changed since it was read, without reading it again."""

from __future__ import annotations

import os
from typing import NamedTuple

# The coarsest clock of a file system in use (FAT) counts in steps of two seconds.
SETTLED_NS = 2 * 10**9


class Stamp(NamedTuple):
    """A file as the system describes it; every change of its content changes one of these.

    Attributes:
        size: bytes.
        modified: when its content was changed last, ns since the epoch.
        changed: when anything of it was, ns; a program can set the other time, not this
            one. On Windows, when the file was made.
        inode: number of the file in its file system.
    """

    size: int
    modified: int
    changed: int
    inode: int

    def is_settled(self, at: int) -> bool:
        """Return whether a change after *at*, ns since the epoch, must give another stamp.

        A file that was changed just before may be changed again within the same step of the
        clock. One from the future says that two clocks differ: it is not relied on.

        >>> Stamp(9, 5 * 10**9, 5 * 10**9, 1).is_settled(6 * 10**9)
        False
        >>> Stamp(9, 5 * 10**9, 5 * 10**9, 1).is_settled(8 * 10**9)
        True
        """
        return max(self.modified, self.changed) + SETTLED_NS < at


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file from what ``os.stat`` says.

    >>> from pathlib import Path
    >>> stamp_of(Path(__file__).stat()) == stamp_of(os.stat(__file__))
    True
    """
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
