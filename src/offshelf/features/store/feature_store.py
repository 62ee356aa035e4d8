"""The feature store: features on disk, addressed by content.

A store belongs to one kind of features (its *identity*: weights hash, preprocessing,
layer, pooling, engine, precision). Its rows are addressed by the sha256 of the image's
bytes: a renamed image costs nothing, a changed one is another row. Beside each row stand the
facts of its image, so that the limits of a run hold for images that are known, too.

Rows live in Parquet parts, each whole or absent; any number of processes may add parts, and one
at a time merges small ones. A part is checked before the first of its rows counts as known: a
damaged one is set aside while its images can still be extracted again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import sealed_json
from offshelf.cache import Usage
from offshelf.data.decoding.limits import Facts
from offshelf.errors import StoreError
from offshelf.features.store import manifest, merging, part_files
from offshelf.features.store.part_format import (
    DamagedPartError,
    ForeignPartError,
    GonePartError,
    Part,
    Rows,
)
from offshelf.features.store.row_index import Index
from offshelf.progress import notify

FLUSH_BYTES = 32 * 2**20
FLUSH_SECONDS = 5.0
STALE_SECONDS = 24 * 3600.0
AGAIN = "its images are extracted again"
# Parts come and go while a folder is read; so often is it read again.
_ATTEMPTS = 5
_NAME = re.compile(r"part-.*\.parquet")


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
        # Parts that are whole, and merged ones that could not be removed.
        self._sound, self._left = set[Path](), set[Path]()
        self._passed_over: set[str] = set()
        self._index = Index()
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

        Unless *always*, only when a file has come or gone since the last time. Returns whether it
        did.
        """
        with self._lock:
            changed = _changed(self.folder)
            if changed == self._changed and not always:
                return False
            for _ in range(_ATTEMPTS):
                self._changed = _changed(self.folder)
                self._look()
                if _changed(self.folder) == self._changed:
                    break
            return True

    def _look(self) -> None:
        known = {part.path.name: part for part in self._index.parts.values()}
        names = _names(self.folder) - self._passed_over
        new = [self._read_part(self.folder / name) for name in sorted(names - known.keys())]
        gone = {known[name].path for name in known.keys() - names}
        self._index.update([part for part in new if part is not None], gone)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._pending or self._sound_row(digest) is not None

    def __len__(self) -> int:
        return len(self._index) + len(self._pending)

    def facts(self, digest: bytes) -> Facts | None:
        """Return the facts of an image whose row is here and sound, None for any other."""
        waiting = self._pending.get(digest)
        if waiting is not None:
            return waiting
        found = self._sound_row(digest)
        return None if found is None else found[0].facts_of(found[1])

    def _sound_row(self, digest: bytes) -> tuple[Part, int] | None:
        # Again where the part was set aside: another one may hold the row.
        while True:
            found = self._index.find(digest)
            if found is None or self._is_sound(found[0]):
                return found

    def append(self, digest: bytes, row: NDArray[np.float32], facts: Facts) -> None:
        """Add the row of an image, by the sha256 of its bytes.

        It is on disk after the next :meth:`flush` at the latest.
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
        rows = Rows(
            digests,
            [self._pending[digest] for digest in digests],
            np.stack([row for _, row in self._buffer]),
        )
        try:
            stem = f"part-{time.time_ns():020d}-{os.getpid()}"
            part_files.write(self.folder, stem, self.identity, rows)
        except OSError as error:
            raise StoreError(
                # The system's words: Arrow's own name no cause that a person can mend.
                f"{self.folder}: cannot write features "
                f"({os.strerror(error.errno) if error.errno else error}); "
                "free space there or choose another --cache-dir"
            ) from error
        self.refresh()
        self._buffer.clear()
        self._pending.clear()
        self._merge()

    def _merge(self) -> None:
        """Merge many small parts into one, where that is due and no other process does it."""
        with self._lock:
            if not self._due():
                return
            with merging.turn(self.folder) as mine:
                self.refresh()
                chosen = self._due() if mine else []
                sound = [self._is_sound(part) for part in chosen]
                if not chosen or not all(sound):
                    return
                # A store that cannot be merged is as good; who reads it next says why.
                with contextlib.suppress(StoreError, OSError):
                    rows = [(part, self._index.kept(part)) for part in chosen]
                    self._left |= merging.merge(self.folder, self.identity, rows)
                self.refresh()

    def _due(self) -> list[Part]:
        parts = self._index.parts.values()
        return merging.due(part for part in parts if part.path not in self._left)

    def read(self, digests: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the rows of *digests* in their order, float32, N x dimension.

        Raises:
            StoreError: a row is not in the store, or its part is damaged or unreadable.
        """
        self.flush()
        for _ in range(_ATTEMPTS):
            try:
                return self._read(digests)
            except GonePartError as error:
                gone = error
            # Its rows may stand in a larger part by now.
            self.refresh()
            if any(digest not in self._index for digest in digests):
                break
        raise gone

    def _read(self, digests: Sequence[bytes]) -> NDArray[np.float32]:
        numbers, rows = self._index.places(digests)
        lost = int((numbers < 0).sum())
        if lost:
            what = "1 row is" if lost == 1 else f"{lost:,} rows are"
            raise StoreError(f"{self.folder}: {what} not in the store; run again")
        matrix = np.empty((len(digests), self.dimension), np.float32)
        order = np.argsort(numbers, kind="stable")
        begins = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        for begin, end in itertools.pairwise([*begins.tolist(), len(order)]):
            wanted = order[begin:end]
            part = self._index.parts.get(int(numbers[wanted[0]]))
            if part is None:
                raise GonePartError(f"{self.folder}: a part has gone; run again")
            try:
                part_files.read_rows(part, rows[wanted], matrix, wanted)
            except DamagedPartError:
                self._without(part.path)
                raise
        return matrix

    def _is_sound(self, part: Part) -> bool:
        """Return whether the features of *part* are sound; they are checked the first time."""
        if part.path in self._sound:
            return True
        with self._lock:
            if part.path in self._sound:
                return True
            if all(one is not part for one in self._index.parts.values()):
                return False
            try:
                part_files.verify(part)
            except GonePartError:
                self.refresh()
                return False
            except DamagedPartError:
                self._without(part.path)
                return False
            self._sound.add(part.path)
            return True

    def _read_part(self, path: Path) -> Part | None:
        try:
            part = part_files.read_part(path, self.folder.name)
        except GonePartError:
            return None
        except ForeignPartError:
            self._without(path, "part of another feature store")
            return None
        except DamagedPartError:
            self._without(path)
            return None
        except StoreError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            # Another user's, who does not share it.
            notify(f"{path}: no permission to read it; {AGAIN}")
            self._passed_over.add(path.name)
            return None
        if part.dimension == (self.dimension or part.dimension):
            return part
        self._without(path, f"rows of {part.dimension} values, not {self.dimension}")
        return None

    def _without(self, path: Path, why: str = "damaged") -> None:
        """Set a part aside, and go on without it also where it must stay."""
        sealed_json.set_aside(path, AGAIN, why)
        with self._lock:
            if os.path.lexists(path):
                self._passed_over.add(path.name)
            self._index.update((), {path})

    def _settle(self, dimension: int | None) -> int:
        """Read what is there, and agree on the dimension: the caller's, the parts', the manifest's.

        The parts say it themselves, so that a manifest which is damaged or gone costs nothing.
        """
        self.dimension = dimension or 0
        self.refresh()
        stated = manifest.read_dimension(self.folder, self.identity)
        found = [*self._index.parts.values()]
        held = found[0].dimension if found else None
        settled = dimension or held or stated
        if settled is None:
            raise StoreError(f"{self.folder}: no feature store; run again")
        for part in found:
            if part.dimension != settled:
                self._without(part.path)
        if stated not in {None, settled}:
            sealed_json.set_aside(self.folder / manifest.NAME)
        if stated != settled:
            # A store that only others may write can be read without.
            with contextlib.suppress(*[OSError] if found else ()):
                manifest.write(self.folder, self.identity, settled)
        return settled


def exists(root: Path, identity: dict[str, Any]) -> bool:
    """Return whether a store for *identity* has been begun under *root*, and can be opened."""
    folder = manifest.store_folder(root, identity)
    if manifest.read_dimension(folder, identity) is not None:
        return True
    for path in sorted(folder.glob("part-*.parquet")):
        with contextlib.suppress(StoreError):
            part_files.read_part(path, folder.name)
            return True
    return False


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if _NAME.fullmatch(entry.name)}
    except OSError:
        return set()


def _changed(folder: Path) -> int:
    """Return when a file came or went, in nanoseconds; 0 where there is no folder."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _sweep(folder: Path) -> None:
    """Remove what a killed process left behind, once no process can still be writing it."""
    for path in folder.glob(".*.tmp"):
        # Another process may be done with it by now.
        # Or this one may not remove it: it is not in the way.
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
