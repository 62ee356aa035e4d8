"""A first look at a tree of folders: what lies directly in each, and which hold images."""

from __future__ import annotations

from pathlib import Path

from offshelf.data.folders.image_files import Identity, LeftOut, identity_of, is_hidden, subfolders
from offshelf.data.tables.columns import TABLE_SUFFIXES


class Tree:
    """The folders below one, read when they are asked for and kept.

    Nothing is tallied here: what is left out is said by those who read the images.
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
