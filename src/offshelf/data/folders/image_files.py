"""Image files in folders: one walk, in an order that no file system decides.

Hidden files, files that are not images by name, links that lead back and folders that
cannot be read are left out, and counted so that each kind is reported once.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from offshelf.text import counted, listed, shown

SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "gif", "bmp", "tif", "tiff"),
        *("webp", "avif", "jp2", "j2k", "ppm", "pgm", "pbm", "pnm"),
    )
)
CSV_SUFFIXES = frozenset({".csv", ".tsv"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
TABLE_SUFFIXES = CSV_SUFFIXES | PARQUET_SUFFIXES
# Folders that file servers and archivers leave behind; their files are no images of yours.
_DEBRIS = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "recycler", "system volume information", "#recycle"}
    | {"@recycle", "@recently-snapshot", "#snapshot", "lost+found", "__pycache__"}
)

Identity = tuple[int, int]


@dataclass
class LeftOut:
    """What a walk left out, counted over all folders of one DATA."""

    hidden: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)

    def add(self, other: LeftOut) -> None:
        """Add what another walk left out."""
        self.hidden += other.hidden
        self.suffixes.update(other.suffixes)
        self.loops += other.loops
        self.locked += other.locked

    def warnings(self, data: str | Path) -> tuple[str, ...]:
        """Return one line for each kind of thing that was left out of *data*."""
        lines = []
        if self.locked:
            lines.append(f"folders that cannot be read are left out: {listed(self.locked)}")
        if self.loops:
            lines.append(f"links to folders already read are not followed: {listed(self.loops)}")
        if self.suffixes:
            most = sorted(self.suffixes.items(), key=lambda item: (-item[1], item[0]))[:5]
            kinds = ", ".join(f"{shown(suffix)} ({count})" for suffix, count in most)
            number = counted(self.suffixes.total(), "file")
            lines.append(f"{number} left out, not images by their names: {kinds}")
        if self.hidden:
            number = counted(self.hidden, "hidden file or folder", "hidden files or folders")
            lines.append(f"{number} left out")
        return tuple(f"{shown(data)}: {line}" for line in lines)


# Name, is a folder, is a link.
_Kept = list[tuple[str, bool, bool]]
_LISTINGS: ContextVar[dict[str, tuple[_Kept, LeftOut]] | None] = ContextVar(
    "listings", default=None
)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name belongs to a system, not to the user.

    >>> is_hidden(".DS_Store"), is_hidden("__MACOSX"), is_hidden("coast")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in _DEBRIS


def is_image_name(name: str) -> bool:
    """Return whether the file name ends like that of an image, in any case.

    >>> is_image_name("A.JPG"), is_image_name("Thumbs.db")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (hot loop)


def subfolders(folder: Path, left_out: LeftOut) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the image files directly in *folder*, sorted.

    A link to *folder* or to one above is left out.
    """
    folders, images = list[str](), list[str]()
    for name, is_folder, is_link in _entries(folder, left_out):
        if is_folder and is_link and identity_of(folder / name) in _above(folder):
            left_out.loops.append(f"{folder.name}/{name}")
        else:
            (folders if is_folder else images).append(name)
    return sorted(folders), sorted(images)


def _above(folder: Path) -> set[Identity | None]:
    """Return *folder* and all folders above, by the path it is named by and by its own."""
    return {identity_of(p) for p in (folder, *folder.absolute().parents, *folder.resolve().parents)}


def images_under(folder: Path, left_out: LeftOut) -> list[str]:
    """Return every image below *folder*: paths inside it with ``/``, sorted.

    Each folder is read once and under its real path where it has one here, so links
    that form a loop cannot hang the walk; a link to a folder above is not followed.
    """
    seen = _above(folder)
    found: list[str] = []
    waiting, links = [""], list[str]()
    while waiting or links:
        if not waiting:
            waiting = _first_new(folder, links, seen, left_out)
            continue
        prefix = waiting.pop()
        for name, is_folder, is_link in _entries(folder / prefix, left_out):
            inside = f"{prefix}{name}"
            if not is_folder:
                found.append(inside)
            elif is_link:
                links.append(inside)
            else:
                seen.add(identity_of(folder / inside))
                waiting.append(f"{inside}/")
    return sorted(found)


def _first_new(
    folder: Path, links: list[str], seen: set[Identity | None], left_out: LeftOut
) -> list[str]:
    """Take links until one leads to a folder that was not read; return it as a prefix."""
    links.sort(reverse=True)
    while links:
        link = links.pop()
        identity = identity_of(folder / link)
        if identity not in seen:
            seen.add(identity)
            return [f"{link}/"]
        left_out.loops.append(f"{folder.name}/{link}")
    return []


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Read each folder once in the block, however often and by whomever it is asked for.

    >>> with listed_once():
    ...     images_under(Path("no/such/folder"), LeftOut())
    []
    """
    if _LISTINGS.get() is not None:
        yield
        return
    token = _LISTINGS.set({})
    try:
        yield
    finally:
        _LISTINGS.reset(token)


def _entries(folder: Path, left_out: LeftOut) -> _Kept:
    """Return the images and folders in *folder*, sorted by name."""
    listings = _LISTINGS.get()
    found = None if listings is None else listings.get(str(folder))
    if found is None:
        found = _listing(folder)
        if listings is not None:
            listings[str(folder)] = found
    left_out.add(found[1])
    return found[0]


def _listing(folder: Path) -> tuple[_Kept, LeftOut]:
    kept, beside = list[tuple[str, bool, bool]](), LeftOut()
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError:
        return kept, LeftOut(locked=[str(folder)])
    for entry in entries:
        is_folder = _is_folder(entry)
        if is_hidden(entry.name):
            beside.hidden += 1
        elif is_folder or is_image_name(entry.name):
            kept.append((entry.name, is_folder, entry.is_symlink()))
        else:
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
            beside.suffixes[suffix or "no ending"] += 1
    return kept, beside


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def identity_of(folder: Path) -> Identity | None:
    """Return what tells *folder* from any other, whatever links lead to it."""
    try:
        status = folder.stat()
    except OSError:  # gone, or behind a folder that may not be entered: never followed
        return None
    return status.st_dev, status.st_ino


class Tree:
    """The folders below one, read when they are asked for and kept.

    What is left out is not counted here, but by those who read the images.
    """

    def __init__(self) -> None:
        self._read: dict[Path, tuple[list[str], list[str]]] = {}
        self._holds: dict[Path, bool] = {}

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the images directly in *folder*, sorted."""
        if folder not in self._read:
            self._read[folder] = subfolders(folder, LeftOut())
        return self._read[folder]

    def folders(self, folder: Path) -> list[str]:
        """Return the folders in *folder* that hold images at any depth, sorted."""
        return [name for name in self.entries(folder)[0] if self.holds_images(folder / name)]

    def images(self, folder: Path) -> list[str]:
        """Return the images directly in *folder*, sorted."""
        return self.entries(folder)[1]

    def is_nested(self, folder: Path) -> bool:
        """Return whether *folder* holds folders of images and no image itself."""
        return not self.images(folder) and bool(self.folders(folder))

    def holds_images(self, folder: Path) -> bool:
        """Return whether an image lies below *folder*; links that lead back end the search."""
        if folder not in self._holds:
            self._holds[folder] = self._search(folder)
        return self._holds[folder]

    def tables(self, folder: Path) -> list[str]:
        """Return the CSV and Parquet files directly in *folder*, sorted."""
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError:
            return []
        return [n for n in names if Path(n).suffix.lower() in TABLE_SUFFIXES and not is_hidden(n)]

    def _search(self, folder: Path) -> bool:
        waiting, seen = [folder], set[Identity | None]()
        while waiting:
            place = waiting.pop()
            identity = identity_of(place)
            if identity is None or identity in seen:
                continue
            seen.add(identity)
            folders, images = self.entries(place)
            if images:
                return True
            waiting += [place / name for name in reversed(folders)]
        return False
