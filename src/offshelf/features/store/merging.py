"""Merging: small parts of a store become larger ones, and rows that it holds twice are removed.

What is merged is bounded, so that a row is written a few times at most, however many there
are. The larger part is there before the small ones go: a process that ends in between leaves
duplicate rows, and a reader that misses a small part finds the larger one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.cache import USED
from offshelf.errors import StoreError
from offshelf.features.store import manifest, part_files
from offshelf.features.store.part_format import Part, Rows
from offshelf.locks import Lock

# Parts of about one size are merged: those with fewer bytes of features than the first, and
# those with fewer than the second. No merged part has more than MERGED_BYTES.
SIZES = (2**20, 2**24)
MIN_PARTS = 16
MERGED_BYTES = 2**25
_LOCK = ".merge.lock"


def due(found: Iterable[Part]) -> list[Part]:
    """Return parts that are worth merging, the oldest first; as a rule none."""
    oldest = sorted(
        (part for part in found if part.size < SIZES[-1]), key=lambda part: part.path.name
    )
    for least, most in itertools.pairwise((0, *SIZES)):
        alike = [part for part in oldest if least <= part.size < most]
        if len(alike) >= MIN_PARTS or sum(part.size for part in alike) >= MERGED_BYTES:
            ends = itertools.accumulate(part.size for part in alike)
            return [part for part, end in zip(alike, ends, strict=True) if end <= MERGED_BYTES]
    return []


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[bool]:
    """Yield whether this process is the only one that merges parts of the store now."""
    lock = Lock(folder / _LOCK)
    try:
        taken = lock.take()
    except OSError:
        taken = False
    try:
        yield taken
    finally:
        lock.release()


def merge(
    folder: Path, identity: dict[str, Any], chosen: Sequence[tuple[Part, NDArray[np.int64]]]
) -> set[Path]:
    """Make one part of some rows of several parts, the oldest first, and remove those.

    Returns those that could not be removed. *chosen* names the rows of each part that no other
    part has.

    Raises:
        OSError: it cannot be written; nothing was removed.
        StoreError: a part cannot be read; nothing was removed.
    """
    # The beginning of a part's name is its age: its rows stay as old as they are.
    age = "-".join(chosen[0][0].path.name.split("-")[:2])
    made = rewrite(folder, identity, f"{age}-{os.getpid()}", chosen)
    left = set[Path]()
    for part, _ in chosen:
        try:
            if part.path != made:
                part.path.unlink(missing_ok=True)
        except OSError:
            # Another user's, or Windows keeps what is being read: its rows then stand twice.
            left.add(part.path)
    return left


def rewrite(
    folder: Path,
    identity: dict[str, Any],
    stem: str,
    chosen: Sequence[tuple[Part, NDArray[np.int64]]],
) -> Path | None:
    """Write some rows of several parts as one new part and return it; None without a row."""
    ends = np.cumsum([0, *(len(rows) for _, rows in chosen)])
    if not ends[-1]:
        return None
    matrix = np.empty((ends[-1], chosen[0][0].dimension), np.float32)
    digests: list[bytes] = []
    for (part, rows), (start, end) in zip(chosen, itertools.pairwise(ends), strict=True):
        part_files.read_rows(part, rows, matrix, np.arange(start, end))
        own = part.digests()
        digests += [own[row] for row in rows.tolist()]
    facts = {
        name: np.concatenate([part.facts[name][rows] for part, rows in chosen])
        for name in chosen[0][0].facts
    }
    return part_files.write(folder, stem, identity, Rows(digests, facts, matrix))


@dataclass(frozen=True)
class Doubled:
    """A part some of whose rows an older part of its store holds, too; the others are *kept*."""

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

    If *thorough*, all features are read, so that no row is left to a damaged part.
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
    lock = Lock(folder / USED)
    if not doubled(folder) or not lock.take():
        return []
    try:
        described, found = manifest.read(folder), doubled(folder, thorough=True)
        if described is None:
            return []
        for one in found:
            stem = f"part-{time.time_ns():020d}-0"
            rewrite(folder, described["identity"], stem, [(one.part, one.kept)])
            one.part.path.unlink(missing_ok=True)
        return found
    finally:
        lock.release(remove=False)
