"""Images that were moved or renamed since a person decided about them: found again by hash."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path


def moved_paths(lost: Mapping[str, str], hashes: Mapping[str, str]) -> dict[str, str]:
    """Return for paths that are lost the path with the same bytes.

    Of several with the same bytes it is the one whose last folders and name are most alike, and
    no path is taken twice.

    Args:
        lost: path -> hash as it was; "" where none is known.
        hashes: path -> hash of the images that may be taken.

    >>> moved_paths({"/old/a/1.png": "f0"}, {"/new/b/2.png": "f0", "/new/a/1.png": "f0"})
    {'/old/a/1.png': '/new/a/1.png'}
    """
    places: dict[str, list[str]] = {}
    for path, digest in hashes.items():
        places.setdefault(digest, []).append(path)
    pairs = [(old, new) for old, digest in lost.items() if digest for new in places.get(digest, ())]
    pairs.sort(key=lambda pair: -_alike(*pair))
    found: dict[str, str] = {}
    taken: set[str] = set()
    for old, new in pairs:
        if old not in found and new not in taken:
            found[old] = new
            taken.add(new)
    return found


def _alike(one: str, other: str) -> int:
    """Return how many of the last parts of two paths are equal."""
    ends = zip(reversed(Path(one).parts), reversed(Path(other).parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
