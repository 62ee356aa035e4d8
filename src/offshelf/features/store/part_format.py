"""A part of a feature store: its rows, its row groups, and how a damaged one is recognised."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.decoding.limits import Facts
from offshelf.errors import StoreError
from offshelf.files import Stamp, stamp_of

HASH_COLUMN = "image_sha256"
FEATURES_COLUMN = "features"


class DamagedPartError(StoreError):
    """A part whose content is not what was written."""


class ForeignPartError(DamagedPartError):
    """A part of another store."""


class GonePartError(StoreError):
    """A part that another process has set aside or removed."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to write: N hashes of 32 bytes, the facts of the images, and the matrix, float32, N x D.

    The facts are one for each image, or by name of the fact the values of all.
    """

    digests: Sequence[bytes]
    facts: Sequence[Facts] | Mapping[str, NDArray[Any]]
    matrix: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part whose footer, hashes and facts are sound.

    *dimension* is the number of values of a row. There are hashes (``S32``) and facts, by name,
    of each row; and of each row group its number of rows, the checksum of its features, and the
    byte of the file at which they begin.
    """

    path: Path
    dimension: int
    hashes: NDArray[np.bytes_]
    facts: dict[str, NDArray[Any]]
    groups: tuple[int, ...]
    checksums: tuple[str, ...]
    places: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its features."""
        return 4 * len(self.hashes) * self.dimension

    def digests(self) -> list[bytes]:
        """Return the hashes as bytes; an item of an ``S32`` array lacks the zeros at its end."""
        content = self.hashes.tobytes()
        return [content[at : at + 32] for at in range(0, len(content), 32)]

    def facts_of(self, row: int) -> Facts:
        """Return the facts of the image of *row*."""
        return Facts(**{name: values.item(row) for name, values in self.facts.items()})


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the Parquet file of the part at *path*."""
    import pyarrow.parquet as pq

    with store_errors(path), pq.ParquetFile(path) as part:
        yield part


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with the part at *path* into an error of the store."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise GonePartError(_unreadable(path, error)) from error
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        # Arrow's own errors have no number; those of the system do (no handles, no right).
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(_unreadable(path, error)) from error
        raise DamagedPartError(
            f"{path}: damaged part of the feature store, set aside; "
            "run again to extract its images anew"
        ) from error


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path}: cannot be read ({os.strerror(error.errno or 0)}); run again"


# Of each file by its name, which a part has for itself: its stamp, and of the row groups that were
# found sound in this process, whether their features are one page.
_CHECKED: dict[Path, tuple[Stamp, dict[int, bool]]] = {}


class Features:
    """The features of a part whose file was opened after *now*, ns since the epoch."""

    def __init__(self, part: Part, handle: FileIO, now: int) -> None:
        self._part, self._handle = part, handle
        stamp = stamp_of(os.fstat(handle.fileno()))
        self._checked: dict[int, bool] = {}
        if not stamp.is_settled(now):
            return
        known = _CHECKED.get(part.path)
        if known is None or known[0] != stamp:
            known = _CHECKED[part.path] = stamp, self._checked
        self._checked = known[1]

    def read(self, group: int, start: int, end: int) -> NDArray[np.float32]:
        """Return rows *start* to *end* of a row group, checked."""
        if self._checked.get(group):
            return self._as_it_lies(group, start, end)
        return self.check(group)[start:end]

    def ensure_checked(self, group: int) -> None:
        """Check a row group, unless this process has done so."""
        if group not in self._checked:
            self.check(group)

    def check(self, group: int) -> NDArray[np.float32]:
        """Return all rows of a row group after checking them.

        Raises:
            ValueError: they are not what was written.
        """
        matrix = self._as_it_lies(group, 0, self._part.groups[group])
        one_page = checksum(matrix) == self._part.checksums[group]
        if not one_page:
            matrix = _decoded(self._part, group)
        self._checked[group] = one_page
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
    with store_errors(part.path), FileIO(part.path) as handle:
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
