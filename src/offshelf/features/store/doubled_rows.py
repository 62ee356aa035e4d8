"""Rows that stand in a store twice: two processes had computed the same image."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.cache.usage import NAME
from offshelf.errors import StoreError
from offshelf.features.store import manifest, merging, part_files
from offshelf.features.store.part_format import Part
from offshelf.locks import Lock


@dataclass(frozen=True)
class Doubled:
    """Rows of one part that an older part of its store holds, too.

    Attributes:
        part: the part.
        kept: numbers of its other rows.
    """

    part: Part
    kept: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.part.hashes) - len(self.kept)

    @property
    def size(self) -> int:
        """Bytes of their features."""
        return 4 * self.count * self.part.dimension


def doubled(folder: Path, thorough: bool = False) -> list[Doubled]:
    """Return what the store at *folder* holds twice; of equal rows the oldest stays.

    Args:
        folder: of the store.
        thorough: read all features, so that no row is left to a damaged part.
    """
    found: list[Doubled] = []
    seen: set[bytes] = set()
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            part = part_files.read_part(path, folder.name)
            if thorough:
                part_files.verify(part)
        except StoreError:
            # Whoever uses the store sets a damaged part aside.
            continue
        kept = []
        for number, digest in enumerate(part.hashes.tolist()):
            if digest not in seen:
                seen.add(digest)
                kept.append(number)
        if len(kept) < len(part.hashes):
            found.append(Doubled(part, np.array(kept, np.int64)))
    return found


def remove_doubled(folder: Path) -> list[Doubled]:
    """Remove doubled rows from the store at *folder*, unless a living process uses it.

    A part is written again without them before the old one goes.

    Raises:
        OSError: the store cannot be written.
    """
    lock = Lock(folder / NAME)
    if not doubled(folder) or not lock.take():
        return []
    try:
        described, found = manifest.read(folder), doubled(folder, thorough=True)
        if described is None:
            return []
        for one in found:
            stem = f"part-{time.time_ns():020d}-0"
            merging.rewrite(folder, described["identity"], stem, [(one.part, one.kept)])
            one.part.path.unlink(missing_ok=True)
        return found
    finally:
        lock.release(remove=False)
