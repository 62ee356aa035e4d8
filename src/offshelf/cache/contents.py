"""The contents of the cache: folders by kind, with sizes and the time of the last use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from offshelf import home
from offshelf.cache.usage import NAME, last_used

FEATURES, NETWORKS, COMPARISONS, WEIGHTS = "features", "networks", "comparisons", "weights"
DIGESTS = "digests"
KINDS = (FEATURES, NETWORKS, COMPARISONS, DIGESTS, WEIGHTS)
# The cache folder may hold other files of the user: what has no such name is never touched.
_NAMED = re.compile(r"(?:\d+-)?[0-9a-f]{32}(?:\.damaged)?")
_CELLS = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True)
class Entry:
    """A folder that is kept or goes as a whole.

    Attributes:
        kind: one of ``KINDS``.
        folder: the place.
        size: bytes of all its files.
        used: when it was used last, in seconds since the epoch.
    """

    kind: str
    folder: Path
    size: int
    used: float


def entries(root: Path) -> list[Entry]:
    """Return what can be made again, the least recently used first; weights are not among it.

    >>> entries(Path("no/such/folder"))
    []
    """
    found = [
        Entry(kind, folder, size_of(folder), last_used(folder)) for kind, folder in _folders(root)
    ]
    return sorted(found, key=lambda entry: (entry.used, str(entry.folder)))


def sizes(root: Path) -> dict[str, int]:
    """Return the bytes of each kind."""
    found = dict.fromkeys(KINDS, 0)
    for entry in entries(root):
        found[entry.kind] += entry.size
    found[WEIGHTS] = size_of(home.weights_folder(root))
    return found


def size_of(folder: Path) -> int:
    """Return the bytes of all files in *folder*, 0 where there is none.

    >>> size_of(Path("no/such/folder"))
    0
    """
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except OSError:
                # Another process may have removed it.
                continue
    return total


def own_folders(root: Path) -> list[Path]:
    """Return the folders in which everything is ours: of stores, networks, hashes and results.

    >>> own_folders(Path("no/such/folder"))
    []
    """
    named = [folder for _, folder in _named(root)]
    return [*named, *_in(home.compared_folder(root), _CELLS)]


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    yield from _named(root)
    compared = home.compared_folder(root)
    beside = {path.name for path in compared.iterdir()} if compared.is_dir() else set()
    # It goes as a whole, so only where all of it is ours.
    if beside and beside <= {NAME, *(path.name for path in _in(compared, _CELLS))}:
        yield COMPARISONS, compared


def _named(root: Path) -> Iterator[tuple[str, Path]]:
    for folder in _in(home.features_folder(root), _NAMED):
        yield FEATURES, folder
    for folder in _in(home.compiled_folder(root), _NAMED):
        yield NETWORKS, folder
    for folder in _in(home.digests_folder(root), _NAMED):
        yield DIGESTS, folder


def _in(above: Path, named: re.Pattern[str]) -> list[Path]:
    found = sorted(above.iterdir()) if above.is_dir() else []
    return [path for path in found if named.fullmatch(path.name) and path.is_dir()]
