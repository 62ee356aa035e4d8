"""The cache of file hashes: the sha256 of files that have not changed, without reading them again.

Each place that images come from has a file of stamps and hashes. A file whose stamp (size,
times, inode) is the one kept there has the same bytes as then. As in git's index, nothing is
kept of a file that was changed so shortly before it was read that another change could give
the same stamp.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files, sealed_json
from offshelf.cache import Usage, digests_folder
from offshelf.files import Stamp, stamp_of
from offshelf.locks import alone
from offshelf.regular_file import read_regular

# Raised with every change of how they are written.
SCHEMA = 1
NAME = "digests.bin"
# Reading fewer files costs less than keeping what they are.
MIN_FILES = 8
# 72 bytes each; those that were read last stay.
MAX_RECORDS = 2**20
PATIENCE_SECONDS = 10.0
_MAGIC = b"offshelf digests"
_SEAL = 32
_RECORD = np.dtype(
    [
        ("key", "<u8"),
        ("size", "<u8"),
        ("modified", "<i8"),
        ("changed", "<i8"),
        ("inode", "<u8"),
        ("digest", "V32"),
    ]
)
_PACKED = struct.Struct("<QQqqQ32s")
_MAX_BYTES = len(_MAGIC) + MAX_RECORDS * _RECORD.itemsize + _SEAL
Records = NDArray[np.void]


class Digests:
    """The known hashes of the files of one job.

    Args:
        cache: the root of the cache.
        paths: of all files of the job; the folder that they have in common decides where
            their hashes are kept.
        rehash: take nothing for known; what is read is kept all the same.
    """

    def __init__(self, cache: Path, paths: Sequence[str], rehash: bool = False) -> None:
        self._rehash = rehash
        self._new = bytearray()
        self._rows: dict[str, int] = {}
        self._content = b""
        self._file: Path | None = None
        self._usage: Usage | None = None
        self.changed: list[str] = []
        if len(paths) < MIN_FILES:
            return
        self._here = os.path.join(_working_folder(), "")  # noqa: PTH118 (hot loop)
        named = [self._absolute(path) for path in paths]
        self._file = folder_of(cache, _common_folder(named)) / NAME
        self._usage = Usage(self._file.parent)
        kept = read_records(self._file)
        if kept is None:
            return
        order = np.argsort(kept["key"], kind="stable")
        keys = np.array([_key(name) for name in named], np.uint64)
        at = np.minimum(np.searchsorted(kept["key"], keys, sorter=order), len(kept) - 1)
        rows = order[at]
        self._content = kept.tobytes()
        for place in np.flatnonzero(kept["key"][rows] == keys).tolist():
            self._rows[paths[place]] = int(rows[place])

    def find(self, path: str) -> tuple[bytes, int] | None:
        """Return sha256 and size of a file, if it has not changed since it was read."""
        row = None if self._rehash else self._rows.get(path)
        if row is None:
            return None
        _, size, *rest, digest = _PACKED.unpack_from(self._content, row * _RECORD.itemsize)
        try:
            stamp = stamp_of(os.stat(path))  # noqa: PTH116 (hot loop)
        except (OSError, ValueError):
            return None
        return (digest, size) if stamp == (size, *rest) else None

    def note(self, path: str, stamp: Stamp, digest: bytes) -> None:
        """Keep that the file at *path* holds these bytes; from any thread.

        *stamp* is one that did not change while the file was read; see :meth:`Stamp.is_settled`.
        """
        if self._file is None:
            return
        # A time beyond the year 2262 is read again.
        with contextlib.suppress(struct.error):
            self._new.extend(_PACKED.pack(_key(self._absolute(path)), *stamp, digest))
        row = self._rows.get(path) if self._rehash else None
        if row is not None:
            _, *known, kept = _PACKED.unpack_from(self._content, row * _RECORD.itemsize)
            if stamp == tuple(known) and digest != kept:
                self.changed.append(path)

    def keep(self) -> None:
        """Write what is new, beside what other processes may have written meanwhile.

        Where it cannot be written, the files are read again.
        """
        if self._file is None or not self._new:
            return
        with contextlib.suppress(OSError):
            self._usage = Usage(self._file.parent, make=True)
            new = np.frombuffer(bytes(self._new), _RECORD)
            with alone(self._file, PATIENCE_SECONDS):
                kept = read_records(self._file)
                if kept is not None:
                    new = np.concatenate([kept[~np.isin(kept["key"], new["key"])], new])
                write_records(self._file, new[-MAX_RECORDS:])
        self._new.clear()

    def _absolute(self, path: str) -> str:
        return path if os.path.isabs(path) else self._here + path  # noqa: PTH117 (hot loop)


def folder_of(cache: Path, common: str) -> Path:
    """Return where the hashes of files below the folder *common* are kept."""
    name = hashlib.sha256(common.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return digests_folder(cache) / f"{SCHEMA}-{name}"


def read_records(file: Path) -> Records | None:
    """Return what :func:`write_records` wrote; None where there is nothing or it is damaged.

    What is damaged is set aside.
    """
    try:
        content = read_regular(file, _MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        content = b""
    body = content[len(_MAGIC) : -_SEAL]
    whole = content[: len(_MAGIC)] == _MAGIC and content[-_SEAL:] == _seal(file, body)
    if not whole or not body or len(body) % _RECORD.itemsize:
        sealed_json.set_aside(file, "its images are read again")
        return None
    return np.frombuffer(body, _RECORD)


def write_records(file: Path, found: Records) -> None:
    """Write records with a seal, whole or not at all; of none nothing is written.

    Raises:
        OSError: they cannot be written.
    """
    body = found.tobytes()
    if body:
        files.write_bytes(file, _MAGIC + body + _seal(file, body))


def _seal(file: Path, body: Any) -> bytes:
    # Bound to its place: in that of another it is as wrong as one that was changed.
    return hashlib.sha256(f"{file.parent.name}\0".encode() + body).digest()


def _key(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _common_folder(named: Sequence[str]) -> str:
    try:
        return os.path.commonpath([min(named), max(named)])
    except ValueError:
        # On two drives.
        return ""


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        # It has been removed: then only absolute paths lead anywhere.
        return ""
