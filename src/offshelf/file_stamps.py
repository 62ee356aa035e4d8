"""File stamps: whether a file has changed since it was read, without reading it again."""

from __future__ import annotations

import os
from typing import NamedTuple

# Clocks of file systems count in steps: of two seconds at most (FAT), of ten milliseconds at
# most where they tell nanoseconds; both with room to spare.
COARSE_NS, FINE_NS = 3 * 10**9, 10**8
_TELLS_NANOSECONDS = 10**6
# Windows may have longer ones.
_INODE = (1 << 64) - 1


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
        >>> Stamp(9, 5 * 10**9, 5 * 10**9, 1).is_settled(9 * 10**9)
        True
        """
        step = FINE_NS if self.changed % _TELLS_NANOSECONDS else COARSE_NS
        return max(self.modified, self.changed) + step < at


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file from what ``os.stat`` says.

    >>> from pathlib import Path
    >>> stamp_of(Path(__file__).stat()) == stamp_of(os.stat(__file__))
    True
    """
    inode = status.st_ino & _INODE
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)
