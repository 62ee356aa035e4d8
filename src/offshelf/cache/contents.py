"""What the cache holds, by kind, with sizes and the time of the last use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from offshelf import home
from offshelf.cache.usage import last_used

FEATURES, NETWORKS, COMPARISONS, WEIGHTS = "features", "networks", "comparisons", "weights"
KINDS = (FEATURES, NETWORKS, COMPARISONS, WEIGHTS)


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


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    for kind, above in (
        (FEATURES, home.features_folder(root)),
        (NETWORKS, home.compiled_folder(root)),
    ):
        for folder in sorted(above.iterdir()) if above.is_dir() else []:
            if folder.is_dir() and not folder.name.startswith(".") and folder.name != "claims":
                yield kind, folder
    if home.compared_folder(root).is_dir():
        yield COMPARISONS, home.compared_folder(root)
