"""The cache on disk: its folders, their use, and its size limit.

One root: ``--cache-dir``, else ``$OFFSHELF_CACHE_DIR``, else the user's cache folder
(``~/.cache/offshelf`` on Linux). A small file in a folder says who uses it and when it was used
last. Over the limit, the least recently used folders are removed first: only what can be
computed again, and nothing that a living process uses. Weights stay: they were downloaded or
given, and are small beside features.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from offshelf import files
from offshelf.errors import OffshelfError
from offshelf.locks import Lock
from offshelf.text import shown

FOLDER_VARIABLE, SIZE_VARIABLE = "OFFSHELF_CACHE_DIR", "OFFSHELF_CACHE_SIZE"
USED = "used"
# Removing a folder is one rename and takes no longer than this.
PATIENCE_SECONDS = 10.0
FEATURES, NETWORKS, COMPARISONS, WEIGHTS = "features", "networks", "comparisons", "weights"
DIGESTS, TRAINED = "digests", "trained"
KINDS = (FEATURES, NETWORKS, COMPARISONS, DIGESTS, TRAINED, WEIGHTS)
MIN_BYTES, SHARE = 20 * 2**30, 10
# Bytes that are removed at a time when the disk is full.
ROOM = 256 * 2**20
FULL = {errno.ENOSPC, errno.EDQUOT}
# The cache folder may hold other files of the user: what has no such name is never touched.
_NAMED = re.compile(r"(?:\d+-)?[0-9a-f]{32}(?:\.damaged)?")
_CELLS = re.compile(r"[0-9a-f]{2}")
_SIZE = re.compile(r"(\d+\.?\d*) *(?:([KMGT])(i?))?B?", re.IGNORECASE | re.ASCII)


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """Return the root folder; nothing is created.

    >>> str(cache_root("/tmp/somewhere"))
    '/tmp/somewhere'
    """
    chosen = cache_dir or os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("offshelf"))


def check_root(cache_dir: str | Path | None = None) -> None:
    """Refuse a root that is no folder or cannot be made; nothing is created.

    Raises:
        OffshelfError: why it cannot be used. What only others may write can be read.
    """
    root = cache_root(cache_dir)
    if why := _refusal(root):
        variable = f" or {FOLDER_VARIABLE}" if FOLDER_VARIABLE in os.environ else ""
        raise OffshelfError(f"{shown(root)}: {why}; choose another with --cache-dir{variable}")


def _refusal(root: Path) -> str:
    for folder in (root, *root.parents):
        above = "" if folder == root else f"cannot be made: {shown(folder)} "
        try:
            mode = folder.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            if folder.is_symlink():
                return f"{above}is a link that leads nowhere"
            continue
        except (OSError, ValueError) as error:
            return f"cannot be used ({getattr(error, 'strerror', error)})"
        if not stat.S_ISDIR(mode):
            return f"{above}is a file, no folder"
        allowed = os.access(folder, os.W_OK | os.X_OK if above else os.X_OK)
        return "" if allowed else f"{above}gives you no permission"
    return ""


def weights_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of weights files that were added or fetched."""
    return cache_root(cache_dir) / "weights"


def features_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of the feature stores."""
    return cache_root(cache_dir) / "features"


def digests_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of the hashes of files that were read."""
    return cache_root(cache_dir) / "digests"


def trained_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of results of training."""
    return cache_root(cache_dir) / "trained"


def compiled_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of converted and compiled networks."""
    return cache_root(cache_dir) / "compiled"


def compared_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of finished comparisons."""
    return cache_root(cache_dir) / "compared"


class Usage:
    """Marks *folder* as used by this process until it is closed or forgotten.

    Where nothing can be written or locked, nothing is marked, and nothing is taken away.

    Args:
        folder: the folder.
        make: whether it is made where it is missing.

    >>> import tempfile; folder = Path(tempfile.mkdtemp()) / "one"; folder.mkdir()
    >>> usage = Usage(folder); remove_unused(folder)
    False
    >>> usage.close(); remove_unused(folder)
    True
    """

    def __init__(self, folder: Path, make: bool = False) -> None:
        self._lock = Lock(folder / USED)
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            while not self._lock.take(shared=True):
                if time.monotonic() - began > PATIENCE_SECONDS:
                    return
                time.sleep(0.01)
        except OSError:
            return
        self._lock.beat()
        weakref.finalize(self, self._lock.release, remove=False).atexit = False

    def close(self) -> None:
        """Take the mark back."""
        self._lock.release(remove=False)


def last_used(folder: Path) -> float:
    """Return when *folder* was used last, in seconds since the epoch; 0 if it has gone.

    A folder without a mark counts from its own time.
    """
    for path in (folder / USED, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def remove_unused(folder: Path) -> bool:
    """Remove *folder* at once, unless a living process uses it or perhaps does."""
    lock = Lock(folder / USED)
    try:
        if not lock.take():
            return False
        try:
            # The name is free at once: the next process makes a new folder.
            with files.temporary_folder(folder.parent) as place:
                folder.rename(place / folder.name)
        finally:
            lock.release(remove=False)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Entry:
    """A folder that is kept or removed as a whole.

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
    found[WEIGHTS] = size_of(weights_folder(root))
    return found


def size_of(folder: Path) -> int:
    """Return the bytes of all files in *folder*, 0 where there is none."""
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
    """Return the folders in which everything is ours: those of each kind but weights."""
    named = [folder for _, folder in _named_folders(root)]
    return [*named, *_folders_in(compared_folder(root), _CELLS)]


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    yield from _named_folders(root)
    compared = compared_folder(root)
    beside = {path.name for path in compared.iterdir()} if compared.is_dir() else set()
    # It goes as a whole, so only where all of it is ours.
    if beside and beside <= {USED, *(path.name for path in _folders_in(compared, _CELLS))}:
        yield COMPARISONS, compared


def _named_folders(root: Path) -> Iterator[tuple[str, Path]]:
    kinds = (
        (FEATURES, features_folder),
        (NETWORKS, compiled_folder),
        (DIGESTS, digests_folder),
        (TRAINED, trained_folder),
    )
    for kind, place in kinds:
        for folder in _folders_in(place(root), _NAMED):
            yield kind, folder


def _folders_in(above: Path, named: re.Pattern[str]) -> list[Path]:
    found = sorted(above.iterdir()) if above.is_dir() else []
    return [path for path in found if named.fullmatch(path.name) and path.is_dir()]


@dataclass(frozen=True)
class Removed:
    """The folders that were removed."""

    entries: tuple[Entry, ...] = ()

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(entry.size for entry in self.entries)

    def __str__(self) -> str:
        count, size = len(self.entries), f"{self.size / 2**20:,.1f} MiB"
        folders = "1 folder" if count == 1 else f"{count:,} folders"
        return f"removed the least recently used ({folders}, {size})"


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
    """Return how many bytes the cache at *root* may hold, None without a limit.

    That is *asked*, else ``OFFSHELF_CACHE_SIZE``, else 20 GiB or a tenth of the disk,
    whichever is more.

    Raises:
        OffshelfError: what is asked for is no size and not ``none``.
    """
    text = asked or os.environ.get(SIZE_VARIABLE)
    if text:
        return _asked_bytes(text, "--cache-size" if asked else SIZE_VARIABLE)
    existing = next((folder for folder in (root, *root.parents) if folder.exists()), None)
    return max(MIN_BYTES, shutil.disk_usage(existing).total // SHARE) if existing else MIN_BYTES


def _asked_bytes(text: str, source: str) -> int | None:
    if text.strip().lower() == "none":
        return None
    size = size_in_bytes(text)
    if size is None:
        raise OffshelfError(f"{source}: {text!r} is no size such as 500M or 20G, and not 'none'")
    return size


def keep_to(root: Path, most: int | None, dry: bool = False) -> Removed:
    """Remove what is over *most* bytes, the least recently used first; None removes nothing.

    With *dry* it is only said what would be removed.
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
