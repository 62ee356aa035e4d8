"""Features on disk, addressed by content.

A store belongs to one kind of features (its *identity*: weights hash, preprocessing,
layer, pooling, engine, precision). Its rows are addressed by the sha256 of the image's
bytes: a renamed image costs nothing, a changed one is another row. Beside each row stand the
facts of its image, so that the limits of a run hold for images that are known, too. Rows
live in Parquet parts, each whole or absent; any number of processes may add parts. A part is
looked through before the first of its rows is said to be known: a damaged one is set aside
while its images can still be extracted again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import records
from offshelf.cache.usage import Usage
from offshelf.data.facts import Facts
from offshelf.errors import StoreError
from offshelf.features import manifest, parts
from offshelf.features.parts import DamagedPartError, ForeignPartError, GonePartError, Part

FLUSH_BYTES = 32 * 2**20
FLUSH_SECONDS = 5.0
STALE_SECONDS = 24 * 3600.0
AGAIN = "its images are extracted again"
Hashes = NDArray[np.bytes_]


@dataclass(frozen=True, eq=False)
class _Index:
    """Where the rows of some parts are: one object, that reader threads hold while it is replaced.

    Attributes:
        parts: the oldest first.
        hashes: ``S32``, sorted.
        places: number of the part and row in it, for each hash.
    """

    parts: tuple[Part, ...]
    hashes: Hashes
    places: NDArray[np.int64]

    @classmethod
    def of(cls, found: Sequence[Part]) -> _Index:
        hashes = [part.hashes for part in found] or [np.empty(0, "S32")]
        counts = np.array([len(part.hashes) for part in found], np.int64)
        number = np.repeat(np.arange(len(found)), counts)
        row = np.concatenate([np.arange(count) for count in counts] or [np.empty(0, np.int64)])
        # np.unique keeps the first of equal rows, so the oldest part always wins.
        known, first = np.unique(np.concatenate(hashes), return_index=True)
        return cls(tuple(found), known, np.stack([number, row], axis=1)[first].astype(np.int64))

    def find(self, digests: Hashes) -> NDArray[np.int64]:
        """Return the position of each digest, -1 where it is not known."""
        if not len(self.hashes):
            return np.full(len(digests), -1)
        at = np.minimum(np.searchsorted(self.hashes, digests), len(self.hashes) - 1)
        return np.where(self.hashes[at] == digests, at, -1)


class FeatureStore:
    """The rows of one kind of features.

    Args:
        root: the folder of all stores.
        identity: JSON document that decides the numbers.
        dimension: columns of the matrix; None to open a store that exists.

    Raises:
        StoreError: the folder cannot be used, or nothing there tells the dimension.

    >>> import tempfile; from pathlib import Path
    >>> store = FeatureStore(Path(tempfile.mkdtemp()), {"layer": "relu7"}, dimension=2)
    >>> facts = Facts(width=640, height=480)
    >>> store.append(b"x" * 32, np.array([1, 2], np.float32), facts); store.flush()
    >>> store.read([b"x" * 32])
    array([[1., 2.]], dtype=float32)
    >>> store.facts(b"x" * 32).width
    640
    """

    def __init__(self, root: Path, identity: dict[str, Any], dimension: int | None = None) -> None:
        self.identity = identity
        self.folder = manifest.store_folder(root, identity)
        self._lock = threading.RLock()
        self._sound: set[Path] = set()
        self._index = _Index.of(())
        self._buffer: list[tuple[bytes, NDArray[np.float32]]] = []
        self._pending: dict[bytes, Facts] = {}
        self._last_flush = time.monotonic()
        self._changed = 0
        try:
            self._usage = Usage(self.folder, make=dimension is not None)
            _sweep(self.folder)
            self.dimension = self._settle(dimension)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot keep features there ({error.strerror or error}); "
                "choose another --cache-dir"
            ) from error

    def refresh(self, always: bool = True) -> bool:
        """Read which rows are on disk now; set aside parts that cannot be read.

        Args:
            always: also when no file has come or gone since the last time.

        Returns:
            Whether it did.
        """
        with self._lock:
            changed = _changed(self.folder)
            if changed == self._changed and not always:
                return False
            self._changed = changed
            known = {part.path: part for part in self._index.parts}
            paths = sorted(self.folder.glob("part-*.parquet"))
            found = [known.get(path) or self._read_part(path) for path in paths]
            self._index = _Index.of([part for part in found if part is not None])
            return True

    def __contains__(self, digest: bytes) -> bool:
        return self.facts(digest) is not None

    def __len__(self) -> int:
        return len(self._index.hashes) + len(self._pending)

    def facts(self, digest: bytes) -> Facts | None:
        """Return the facts of an image whose row is here and sound, None for any other.

        Args:
            digest: sha256 of the image's bytes, 32 bytes.
        """
        # Again where the part was set aside: another one may hold the row.
        while True:
            waiting = self._pending.get(digest)
            if waiting is not None:
                return waiting
            index = self._index
            found = int(index.find(np.array([digest], "S32"))[0])
            if found < 0:
                return None
            part = index.parts[int(index.places[found, 0])]
            if self._is_sound(part):
                return part.facts_of(int(index.places[found, 1]))

    def append(self, digest: bytes, row: NDArray[np.float32], facts: Facts) -> None:
        """Add one row; it is on disk after the next :meth:`flush` at the latest.

        Args:
            digest: sha256 of the image's bytes, 32 bytes.
            row: float32 vector of the store's dimension.
            facts: of the image.
        """
        if digest in self:
            return
        self._buffer.append((digest, row))
        self._pending[digest] = facts
        full = len(self._buffer) * self.dimension * 4 >= FLUSH_BYTES
        if full or time.monotonic() - self._last_flush > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was appended as one part, synced and renamed into place."""
        self._last_flush = time.monotonic()
        if not self._buffer:
            return
        digests = [digest for digest, _ in self._buffer]
        rows = parts.Rows(
            digests,
            [self._pending[digest] for digest in digests],
            np.stack([row for _, row in self._buffer]),
        )
        try:
            stem = f"part-{time.time_ns():020d}-{os.getpid()}"
            parts.write(self.folder, stem, self.identity, rows)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot write features ({_reason(error)}); "
                "free space there or choose another --cache-dir"
            ) from error
        self.refresh()
        self._buffer.clear()
        self._pending.clear()

    def read(self, digests: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the rows of *digests* in their order, float32, N x dimension.

        Raises:
            StoreError: a row is not in the store, or its part is damaged or unreadable.
        """
        self.flush()
        index = self._index
        found = index.find(np.array(digests, "S32"))
        if (found < 0).any():
            lost = int((found < 0).sum())
            rows = "1 row is" if lost == 1 else f"{lost:,} rows are"
            raise StoreError(f"{self.folder}: {rows} not in the store; run again")
        matrix = np.empty((len(digests), self.dimension), np.float32)
        place = index.places[found]
        for number in np.unique(place[:, 0]):
            wanted = np.flatnonzero(place[:, 0] == number)
            try:
                parts.read_rows(index.parts[number], place[wanted, 1], matrix, wanted)
            except DamagedPartError:
                self._set_aside(index.parts[number].path)
                raise
        return matrix

    def _is_sound(self, part: Part) -> bool:
        """Return whether the features of *part* are sound, looking through it at first."""
        if part.path in self._sound:
            return True
        with self._lock:
            if part.path in self._sound:
                return True
            if all(one is not part for one in self._index.parts):
                return False
            try:
                parts.verify(part)
            except GonePartError:
                self._forget(part.path)
                return False
            except DamagedPartError:
                self._set_aside(part.path)
                return False
            self._sound.add(part.path)
            return True

    def _read_part(self, path: Path) -> Part | None:
        try:
            part = parts.read_part(path, self.folder.name)
        except GonePartError:
            return None
        except ForeignPartError:
            records.set_aside(path, AGAIN, "part of another feature store")
            return None
        except DamagedPartError:
            records.set_aside(path, AGAIN)
            return None
        if part.dimension == (self.dimension or part.dimension):
            return part
        records.set_aside(path, AGAIN, f"rows of {part.dimension} values, not {self.dimension}")
        return None

    def _set_aside(self, path: Path) -> None:
        records.set_aside(path, AGAIN)
        self._forget(path)

    def _forget(self, path: Path) -> None:
        with self._lock:
            self._index = _Index.of([part for part in self._index.parts if part.path != path])

    def _settle(self, dimension: int | None) -> int:
        """Read what is there, and agree on the dimension: the caller's, the parts', the manifest's.

        The parts say it themselves, so that a manifest which is damaged or gone costs nothing.
        """
        self.dimension = dimension or 0
        self.refresh()
        stated = manifest.read_dimension(self.folder, self.identity)
        held = self._index.parts[0].dimension if self._index.parts else None
        settled = dimension or held or stated
        if settled is None:
            raise StoreError(f"{self.folder}: no feature store; run again")
        for part in self._index.parts:
            if part.dimension != settled:
                self._set_aside(part.path)
        if stated not in {None, settled}:
            records.set_aside(self.folder / manifest.NAME)
        if stated != settled:
            manifest.write(self.folder, self.identity, settled)
        return settled


def exists(root: Path, identity: dict[str, Any]) -> bool:
    """Return whether a store for *identity* has been begun under *root*, and can be opened."""
    folder = manifest.store_folder(root, identity)
    if manifest.read_dimension(folder, identity) is not None:
        return True
    for path in sorted(folder.glob("part-*.parquet")):
        with contextlib.suppress(StoreError):
            parts.read_part(path, folder.name)
            return True
    return False


def _reason(error: OSError) -> str:
    """Return the system's words: Arrow's own name no cause that a person can mend."""
    return os.strerror(error.errno) if error.errno else str(error)


def _changed(folder: Path) -> int:
    """Return when a file came or went, in nanoseconds; 0 where there is no folder."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _sweep(folder: Path) -> None:
    """Remove what a killed process left behind, once nobody can still be writing it."""
    for path in folder.glob(".*.tmp"):
        # Another process may be done with it by now.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
