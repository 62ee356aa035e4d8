"""The features of a part, read as they lie in its file, and checked once by a process."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.features.store.arrow_arrays import FEATURES_COLUMN
from offshelf.features.store.part_format import Part, judged, opened
from offshelf.file_stamps import Stamp, stamp_of


@dataclass
class _Checked:
    """What of one file is known to be sound in this process.

    Attributes:
        stamp: of the file then.
        groups: number of a row group -> whether its features are one page.
    """

    stamp: Stamp
    groups: dict[int, bool]


# By name, which a part has for itself. Whoever finds another stamp begins anew.
_CHECKED: dict[Path, _Checked] = {}


class Features:
    """The features of an open part.

    Args:
        part: the part.
        handle: its file.
        now: before it was opened, ns since the epoch.
    """

    def __init__(self, part: Part, handle: FileIO, now: int) -> None:
        self._part, self._handle = part, handle
        stamp = stamp_of(os.fstat(handle.fileno()))
        self._checked = _Checked(stamp, {})
        if not stamp.is_settled(now):
            return
        known = _CHECKED.get(part.path)
        if known is None or known.stamp != stamp:
            known = _CHECKED[part.path] = self._checked
        self._checked = known

    def read(self, group: int, start: int, end: int) -> NDArray[np.float32]:
        """Return rows *start* to *end* of a row group, checked."""
        if self._checked.groups.get(group):
            return self._as_it_lies(group, start, end)
        return self.check(group)[start:end]

    def make_sure(self, group: int) -> None:
        """Look through a row group, unless this process has done so."""
        if group not in self._checked.groups:
            self.check(group)

    def check(self, group: int) -> NDArray[np.float32]:
        """Return all rows of a row group, looked through.

        Raises:
            ValueError: they are not what was written.
        """
        matrix = self._as_it_lies(group, 0, self._part.groups[group])
        one_page = checksum(matrix) == self._part.checksums[group]
        if not one_page:
            matrix = _decoded(self._part, group)
        self._checked.groups[group] = one_page
        return matrix

    def _as_it_lies(self, group: int, start: int, end: int) -> NDArray[np.float32]:
        dimension = self._part.dimension
        matrix = np.empty((end - start, dimension), np.float32)
        self._handle.seek(self._part.places[group] + 4 * start * dimension)
        if self._handle.readinto(matrix.data) != matrix.nbytes:
            raise ValueError("the file is cut")
        return matrix


@contextmanager
def features_of(part: Part) -> Iterator[Features]:
    """Open the features of a part.

    Raises:
        DamagedPartError: what is read of them is not what was written.
        GonePartError: the part is no longer there.
        StoreError: the system cannot read the file.
    """
    now = time.time_ns()
    with judged(part.path), FileIO(part.path) as handle:
        yield Features(part, handle, now)


def checksum(matrix: NDArray[np.float32]) -> str:
    """Return 96 bits of the values of *matrix*: their CRC-32, and the sum of their bits.

    Against accidents, at several times the speed of a cryptographic hash: each change of a
    bit changes both, and what is left of others goes unseen once in 2**96.

    >>> checksum(np.zeros((1, 2), np.float32))
    '6522df690000000000000000'
    """
    content = np.ascontiguousarray(matrix, np.float32).reshape(-1)
    pairs = content[: len(content) // 2 * 2].view(np.uint64)
    return f"{zlib.crc32(content.data):08x}{int(pairs.sum(dtype=np.uint64)):016x}"


def _decoded(part: Part, group: int) -> NDArray[np.float32]:
    """Return the features of a row group as Parquet has them, in several pages."""
    with opened(part.path) as file:
        column = file.read_row_group(group, columns=[FEATURES_COLUMN])[FEATURES_COLUMN]
    # to_numpy would load pandas.
    values = np.from_dlpack(column.combine_chunks().flatten())
    if values.dtype != np.float32:
        raise ValueError("features are no float32")
    matrix: NDArray[np.float32] = np.asarray(values, np.float32)
    matrix = matrix.reshape(part.groups[group], part.dimension)
    if checksum(matrix) != part.checksums[group]:
        raise ValueError("features are not what was written")
    return matrix
