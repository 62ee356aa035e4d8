"""The size limit of the cache: the least recently used entries are removed first.

Only what can be computed again goes, and nothing that a living process uses. Weights stay:
they were downloaded or given, and are small beside features.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from offshelf.cache.contents import Entry, entries
from offshelf.cache.usage import remove_unused
from offshelf.errors import OffshelfError

ENVIRONMENT_VARIABLE = "OFFSHELF_CACHE_SIZE"
MIN_BYTES, SHARE = 20 * 2**30, 10
# Bytes that are removed at a time when the disk is full.
ROOM = 256 * 2**20
FULL = {errno.ENOSPC, errno.EDQUOT}
_SIZE = re.compile(r"(\d+\.?\d*) *(?:([KMGT])(i?))?B?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Attributes:
        entries: the folders.
    """

    entries: tuple[Entry, ...] = ()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(entry.size for entry in self.entries)

    def __str__(self) -> str:
        count, size = len(self.entries), f"{self.size / 2**20:,.1f} MiB"
        folders = "1 folder" if count == 1 else f"{count:,} folders"
        return f"the least recently used went ({folders}, {size})"


def size_in_bytes(text: str) -> int | None:
    """Return the bytes of a size given with K, M, G or T (thousands; KiB and so on: 1024).

    None for what is no size.

    >>> size_in_bytes("1.5K"), size_in_bytes("20 GiB"), size_in_bytes("800 MB"), size_in_bytes("x")
    (1500, 21474836480, 800000000, None)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index((found[2] or " ").upper()))


def limit(root: Path, asked: str | None = None) -> int | None:
    """Return how many bytes the cache at *root* may hold, None without a bound.

    That is *asked*, else ``OFFSHELF_CACHE_SIZE``, else 20 GiB or a tenth of the disk,
    whichever is more.

    Raises:
        OffshelfError: what is asked for is no size and not ``none``.
    """
    text = asked or os.environ.get(ENVIRONMENT_VARIABLE)
    if text:
        return _bytes(text, "--cache-size" if asked else ENVIRONMENT_VARIABLE)
    existing = next((folder for folder in (root, *root.parents) if folder.exists()), None)
    return max(MIN_BYTES, shutil.disk_usage(existing).total // SHARE) if existing else MIN_BYTES


def _bytes(text: str, source: str) -> int | None:
    if text.strip().lower() == "none":
        return None
    size = size_in_bytes(text)
    if size is None:
        raise OffshelfError(f"{source}: {text!r} is no size such as 500M or 20G, and not 'none'")
    return size


def keep_to(root: Path, most: int | None, dry: bool = False) -> Removed:
    """Remove what is over *most* bytes, the least recently used first.

    Args:
        root: the cache.
        most: bytes; None removes nothing.
        dry: only say what would go.
    """
    if most is None:
        return Removed()
    found = entries(root)
    return _remove(found, sum(entry.size for entry in found) - most, dry)


def make_room(root: Path, error: BaseException) -> Removed:
    """Remove the least recently used, if *error* came of a full disk."""
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in FULL
    return _remove(entries(root), ROOM) if full else Removed()


def _remove(found: list[Entry], over: int, dry: bool = False) -> Removed:
    gone: list[Entry] = []
    for entry in found:
        if over <= 0:
            break
        if entry.size and (dry or remove_unused(entry.folder)):
            gone.append(entry)
            over -= entry.size
    return Removed(tuple(gone))
