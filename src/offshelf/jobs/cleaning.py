"""Removal of leftovers from the cache and the temporary folder.

Safe while other processes run: whatever has a living owner stays.
"""

from __future__ import annotations

import contextlib
import glob
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import cache, files
from offshelf.cache import own_folders, remove_unused, size_of
from offshelf.engine.openvino_engine.graph_cache import is_current
from offshelf.errors import OffshelfError
from offshelf.features.sharing import FOLDER as CLAIMS
from offshelf.features.store import manifest
from offshelf.features.store.merging import doubled, remove_doubled
from offshelf.locks import is_held, remove_if_free
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.result_rows import Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import shown, spelled

# The names of temporary files before they said whose they are.
_FORMER = re.compile(r"\.[0-9a-f]{32}(\.[a-z]+)?(\.tmp)?")
# Of a network, and of what was measured of one.
_LOCK = re.compile(r"\.(?:[0-9a-f]{32}|speed-[0-9a-f]{32}\.json)\.lock")
_DAMAGED = ".damaged"
_DAY = 24 * 3600.0
TEMPORARY, DAMAGED, LOCKS = "temporary files", "damaged files", "claims and locks"
STORES, NETWORKS, ROWS = "stores of another version", "networks of another version", "doubled rows"
OLDEST = "least recently used"


@dataclass(frozen=True)
class Removal:
    """Files or rows of one kind that were removed, or would be; their size in bytes."""

    kind: str
    count: int
    size: int


@dataclass(frozen=True, repr=False)
class Cleaning(Result):
    """Everything that was removed, by kind, from the cache at *root*; where *dry*, would be."""

    removals: tuple[Removal, ...]
    dry: bool
    root: Path

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(one.size for one in self.removals)

    def facts(self) -> list[tuple[str, str]]:
        """Return a pair of a kind and its figures for each, the sum, and how all is removed."""
        verb = "would be removed" if self.dry else "removed"
        found = [
            (one.kind, f"{one.count:,}, {format_cell(one.size, 'bytes')}") for one in self.removals
        ]
        found.append((verb, format_cell(self.size, "bytes") if found else "nothing"))
        weights = shown(cache.weights_folder(self.root))
        return [
            *found,
            ("cache", f"to empty it, delete {shown(self.root)}; your weights are in {weights}"),
        ]

    def blocks(self) -> list[Block]:
        """Return the facts."""
        return [Facts(tuple(self.facts()))]

    def data_table(self) -> Table:
        """Return a row for each kind."""
        columns = (Column("kind"), Column("count", "integer"), Column("size", "bytes"))
        cells = ((one.kind, one.count, one.size) for one in self.removals)
        return Table("Removed", columns, tuple(cells))

    def to_json(self) -> dict[str, Any]:
        """Return the removals as one JSON document."""
        return {
            "cache": spelled(str(self.root)),
            "dry_run": self.dry,
            "bytes": self.size,
            "removed": [
                {"kind": one.kind, "count": one.count, "bytes": one.size} for one in self.removals
            ],
        }


def clean(
    cache_dir: str | Path | None = None, *, cache_size: str | None = None, dry: bool = False
) -> Cleaning:
    """Remove leftovers, and what the cache holds over its bound.

    Args:
        cache_dir: the cache.
        cache_size: the bound, such as ``20G``; None for the usual one.
        dry: only say what would be removed.

    Raises:
        OffshelfError: *cache_size* is no size, or something cannot be removed.
    """
    cache.check_root(cache_dir)
    root = cache.cache_root(cache_dir)
    most = cache.limit(root, cache_size)
    try:
        found = [_gone(TEMPORARY, _temporary(root), _remove_unowned, dry)]
        found.append(_gone(DAMAGED, _damaged(root), _remove, dry))
        found.append(_gone(LOCKS, _locks(root), remove_if_free, dry))
        found.append(
            _gone(STORES, manifest.outdated(cache.features_folder(root)), remove_unused, dry)
        )
        found.append(_gone(NETWORKS, _networks(root), remove_unused, dry))
        found.append(_rows(root, dry))
        oldest = cache.keep_to(root, most, dry)
        found.append(Removal(OLDEST, len(oldest.entries), oldest.size))
    except OSError as error:
        raise OffshelfError(
            f"{error.filename or root}: cannot be removed ({error.strerror or error})"
        ) from error
    return Cleaning(tuple(one for one in found if one.count), dry, root)


def _gone(kind: str, places: Iterable[Path], remove: Callable[[Path], bool], dry: bool) -> Removal:
    count = size = 0
    for place in sorted(set(places)):
        # Another process may clean, too, or be done with it.
        with contextlib.suppress(FileNotFoundError):
            found = size_of(place) if place.is_dir() else place.lstat().st_size
            if dry or remove(place):
                count, size = count + 1, size + found
    return Removal(kind, count, size)


def _remove(place: Path) -> bool:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    return True


def _remove_unowned(place: Path) -> bool:
    if files.FOLDER_NAME.fullmatch(place.name):
        return files.remove_leftover(place)
    return remove_if_free(place) if files.FILE_NAME.fullmatch(place.name) else _remove(place)


def _temporary(root: Path) -> Iterator[Path]:
    yield from files.leftover_folders(Path(tempfile.gettempdir()))
    for place in _places(root):
        yield from files.leftover_folders(place)
        yield from files.leftover_files(place)
        former = (path for path in place.iterdir() if _FORMER.fullmatch(path.name))
        yield from (path for path in former if _age(path) > _DAY)


def _places(root: Path) -> Iterator[Path]:
    """Yield the folders that we write into; a person's own files may lie in some of them."""
    above = (
        cache.features_folder(root),
        cache.compiled_folder(root),
        cache.compared_folder(root),
        cache.digests_folder(root),
        cache.trained_folder(root),
    )
    weights = cache.weights_folder(root)
    for place in (root, *above, *own_folders(root), weights, *weights.glob("*/")):
        if place.is_dir():
            yield place


def _damaged(root: Path) -> Iterator[Path]:
    """Yield what was set aside, by the names that it has from us."""
    for folder in own_folders(root):
        yield from [folder] if folder.suffix == _DAMAGED else folder.glob(f"*{_DAMAGED}")
    yield from cache.compiled_folder(root).glob(f"speed-*{_DAMAGED}")
    # A note of weights lies beside them.
    for path in cache.weights_folder(root).glob(f"*/*{_DAMAGED}"):
        if path.with_suffix("").is_file():
            yield path


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _locks(root: Path) -> Iterator[Path]:
    found = [*(cache.features_folder(root) / CLAIMS).glob("*.claim")]
    for folder in own_folders(root):
        found += folder.glob(".*.lock")
    networks = cache.compiled_folder(root).glob(".*.lock")
    found += (path for path in networks if _LOCK.fullmatch(path.name))
    for path in cache.weights_folder(root).glob("*/.*.lock"):
        # That of a download lies beside what there is of it.
        found += [path] if list(path.parent.glob(f"{glob.escape(path.name[1:-5])}*")) else []
    yield from (path for path in found if not is_held(path))


def _networks(root: Path) -> Iterator[Path]:
    for folder in own_folders(root):
        if folder.parent == cache.compiled_folder(root) and not is_current(folder):
            yield folder


def _rows(root: Path, dry: bool) -> Removal:
    above = cache.features_folder(root)
    current = set(above.glob("*/manifest.json")) if above.is_dir() else set()
    outdated = set(manifest.outdated(above))
    count = size = 0
    for folder in sorted(path.parent for path in current if path.parent not in outdated):
        for one in doubled(folder) if dry else remove_doubled(folder):
            count, size = count + one.count, size + one.size
    return Removal(ROWS, count, size)
