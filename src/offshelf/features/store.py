"""Features on disk, addressed by content.

A store belongs to one kind of features (its *identity*: weights hash, preprocessing,
layer, pooling, engine, precision). Its rows are addressed by the sha256 of the image's
bytes: a renamed image costs nothing, a changed one is another row. Rows live in Parquet
parts, each whole or absent; any number of processes may add parts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.errors import StoreError
from offshelf.features import parts

SCHEMA = 1
FLUSH_BYTES = 32 * 2**20
FLUSH_SECONDS = 5.0
STALE_SECONDS = 24 * 3600.0
Hashes = NDArray[np.bytes_]


class FeatureStore:
    """The rows of one kind of features.

    Args:
        root: the folder of all stores.
        identity: JSON document that decides the numbers.
        dimension: columns of the matrix; None to open a store that exists.

    Raises:
        StoreError: the folder cannot be used, or holds something else.

    >>> import tempfile; from pathlib import Path
    >>> store = FeatureStore(Path(tempfile.mkdtemp()), {"layer": "relu7"}, dimension=2)
    >>> store.append(b"x" * 32, np.array([1, 2], np.float32)); store.flush()
    >>> store.read([b"x" * 32])
    array([[1., 2.]], dtype=float32)
    """

    def __init__(self, root: Path, identity: dict[str, Any], dimension: int | None = None) -> None:
        self.folder = root / files.sha256_json(identity)[:32]
        self.damaged: list[str] = []
        self.dimension = self._settle(identity, dimension)
        self._sorted: Hashes = np.empty(0, "S32")
        self._place: NDArray[np.int64] = np.empty((0, 2), np.int64)
        self._parts: list[Path] = []
        self._buffer: list[tuple[bytes, NDArray[np.float32]]] = []
        self._pending: set[bytes] = set()
        self._last_flush = time.monotonic()
        self.refresh()

    def refresh(self) -> None:
        """Read which rows are on disk now; set aside parts that cannot be read."""
        hashes: list[Hashes] = []
        places: list[NDArray[np.int64]] = []
        self._parts = []
        for path in sorted(self.folder.glob("part-*.parquet")):
            found = parts.read_hashes(path)
            if found is None:
                self._set_aside(path)
                continue
            number = np.full(len(found), len(self._parts))
            places.append(np.stack([number, np.arange(len(found))], axis=1))
            hashes.append(found)
            self._parts.append(path)
        if not hashes:
            self._sorted, self._place = np.empty(0, "S32"), np.empty((0, 2), np.int64)
            return
        # np.unique keeps the first of equal rows, so the oldest part always wins.
        self._sorted, first = np.unique(np.concatenate(hashes), return_index=True)
        self._place = np.concatenate(places)[first]

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._pending or self._find(np.array([digest], "S32"))[0] >= 0

    def __len__(self) -> int:
        return len(self._sorted) + len(self._pending)

    def append(self, digest: bytes, row: NDArray[np.float32]) -> None:
        """Add one row; it is on disk after the next :meth:`flush` at the latest.

        Args:
            digest: sha256 of the image's bytes, 32 bytes.
            row: float32 vector of the store's dimension.
        """
        if digest in self:
            return
        self._buffer.append((digest, row))
        self._pending.add(digest)
        full = len(self._buffer) * self.dimension * 4 >= FLUSH_BYTES
        if full or time.monotonic() - self._last_flush > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was appended as one part, synced and renamed into place."""
        self._last_flush = time.monotonic()
        if not self._buffer:
            return
        name = f"part-{time.time_ns():020d}-{os.getpid()}.parquet"
        digests = [digest for digest, _ in self._buffer]
        try:
            parts.write(self.folder / name, digests, np.stack([row for _, row in self._buffer]))
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot write features ({error.strerror or error}); "
                "free space there or choose another --cache-dir"
            ) from error
        self._buffer.clear()
        self._pending.clear()
        self.refresh()

    def read(self, digests: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the rows of *digests* in their order, float32, N x dimension.

        Raises:
            StoreError: a row is not in the store, or its part is damaged or unreadable.
        """
        self.flush()
        found = self._find(np.array(digests, "S32"))
        if (found < 0).any():
            raise StoreError(f"{self.folder}: {(found < 0).sum()} rows are not in the store")
        matrix = np.empty((len(digests), self.dimension), np.float32)
        place = self._place[found]
        for number in np.unique(place[:, 0]):
            wanted = np.flatnonzero(place[:, 0] == number)
            try:
                parts.read_rows(self._parts[number], place[wanted, 1], matrix, wanted)
            except parts.DamagedPartError:
                self._set_aside(self._parts[number])
                raise
        return matrix

    def _set_aside(self, path: Path) -> None:
        # Another process may have done it already.
        with contextlib.suppress(FileNotFoundError):
            path.replace(path.with_suffix(".damaged"))
        self.damaged.append(path.name)

    def _find(self, digests: Hashes) -> NDArray[np.int64]:
        # One reference: reader threads look up while the main thread may refresh.
        known = self._sorted
        if not len(known):
            return np.full(len(digests), -1)
        at = np.minimum(np.searchsorted(known, digests), len(known) - 1)
        return np.where(known[at] == digests, at, -1)

    def _settle(self, identity: dict[str, Any], dimension: int | None) -> int:
        manifest = self.folder / "manifest.json"
        document = {"schema": SCHEMA, "identity": identity, "dimension": dimension}
        try:
            if dimension is not None and not manifest.is_file():
                files.write_json(manifest, document)
            _sweep(self.folder)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot keep features there ({error.strerror or error}); "
                "choose another --cache-dir"
            ) from error
        kept = parts.read_manifest(manifest)
        if kept.get("identity") != identity or kept.get("schema") != SCHEMA:
            raise StoreError(f"{manifest}: belongs to other features; delete this folder")
        if dimension not in {None, kept["dimension"]}:
            raise StoreError(
                f"{manifest}: dimension {kept['dimension']}, expected {dimension}; "
                "delete this folder"
            )
        return int(kept["dimension"])


def exists(root: Path, identity: dict[str, Any]) -> bool:
    """Return whether a store for *identity* has been begun under *root*."""
    return (root / files.sha256_json(identity)[:32] / "manifest.json").is_file()


def _sweep(folder: Path) -> None:
    """Remove what a killed process left behind, once nobody can still be writing it."""
    for path in folder.glob(".*.tmp"):
        # Another process may be done with it by now.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
