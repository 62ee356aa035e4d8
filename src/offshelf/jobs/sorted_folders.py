"""Sorting of images into a folder for each class: copies or links that replace nothing.

Killed at any moment and run again it goes on: what lies there with the same bytes is not copied
again, and what lies there under the same name with other bytes stays as it is.
"""

from __future__ import annotations

import functools
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import files, locks
from offshelf.card import Card
from offshelf.data.folders.image_files import identity_of, is_hidden
from offshelf.errors import DataError
from offshelf.prediction import Prediction
from offshelf.progress import Progress
from offshelf.text import counted, shown, spelled

UNKNOWN, UNLIKE = "unknown", "unlike"
MAX_NAME_BYTES, MAX_FOLDER_BYTES = 255, 200
_FORBIDDEN = frozenset('<>:"/\\|?*')
# Names that Windows keeps for devices, with any ending.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))})  # fmt: skip  # noqa: E501


@dataclass(frozen=True, kw_only=True, repr=False)
class SortedImages(Card):
    """Images in a folder for each class.

    Attributes:
        folder: where the folders of the classes are.
        linked: whether they are links to the images, not copies.
        files: image -> its file below *folder*.
        present: how many of these lay there before.
        failures: image -> why it could not be copied.
        unlike: name of the folder of images that are unlike the training images.
    """

    folder: Path
    linked: bool
    files: dict[str, Path]
    present: int
    failures: dict[str, str]
    unlike: str = UNLIKE

    @property
    def counts(self) -> dict[str, int]:
        """Name of each folder -> its images, the most first."""
        return dict(Counter(file.parent.name for file in self.files.values()).most_common())

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what was done, and how many images each folder has."""
        yield "sorted", self.sentence()
        yield "folders", ", ".join(f"{name} {n:,}" for name, n in self.counts.items())
        if self.failures:
            yield "failed", f"{len(self.failures):,}"

    @property
    def not_sorted(self) -> list[dict[str, str]]:
        """Path, status and reason of each image that could not be copied."""
        return [
            {"path": path, "status": "not sorted", "reason": reason}
            for path, reason in self.failures.items()
        ]

    def sentence(self) -> str:
        """Return what was done, on one line."""
        kind = ("link", "links") if self.linked else ("copy", "copies")
        new = counted(len(self.files) - self.present, *kind)
        into = f"{new} in {counted(len(self.counts), 'folder')} in {self.folder}"
        return f"{into}, {self.present:,} were there before" if self.present else into

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "folder": str(self.folder),
            "linked": self.linked,
            "counts": self.counts,
            "present": self.present,
            "unlike": self.unlike,
            "files": [
                {"path": spelled(path), "file": spelled(str(file))}
                for path, file in self.files.items()
            ],
            "failures": [
                {"path": spelled(path), "reason": reason} for path, reason in self.failures.items()
            ],
        }


def folder_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return a name for the folder of each class, and last those for unknown and unlike images.

    A name of a class is its folder's where every system can have such a folder; else other
    signs become ``_``. No two differ in case or composition alone.

    >>> folder_names(["coast", "a/b", "..", "unknown", "Coast"])
    ('coast', 'a_b', '_', 'unknown', 'Coast-2', 'unknown-2', 'unlike')
    """
    wanted = [*map(_safe, classes), UNKNOWN, UNLIKE]
    # Names that can stay as they are come first, those of classes before those for the rest.
    order = sorted(range(len(classes)), key=lambda k: wanted[k] != classes[k])
    found, taken = dict[int, str](), set[str]()
    for number in (*order, len(classes), len(classes) + 1):
        found[number] = next(
            name for name in _numbered(wanted[number], "") if _key(name) not in taken
        )
        taken.add(_key(found[number]))
    return tuple(found[number] for number in range(len(wanted)))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _safe(name: str) -> str:
    signs = (c if c.isprintable() and c not in _FORBIDDEN else "_" for c in spelled(name))
    text = "".join(signs).strip().rstrip(". ")
    text = f"_{text.lstrip('.')}" if text.startswith(".") or not text else text
    if is_hidden(text) or text.split(".")[0].casefold() in _DEVICES:
        text = f"{text}_"
    return text.encode()[:MAX_FOLDER_BYTES].decode("utf-8", "ignore").rstrip(". ")


def _numbered(stem: str, ending: str) -> Iterator[str]:
    """Yield a name, and then with 2, 3, ... before its ending; no name is too long."""
    for number in itertools.count(1):
        after = os.fsencode(f"-{number}{ending}" if number > 1 else ending)
        yield os.fsdecode(os.fsencode(stem)[: MAX_NAME_BYTES - len(after)] + after)


def check_folder(folder: Path) -> None:
    """Refuse a place where no folders can be made, before any work.

    Raises:
        DataError: it is a file, or nothing can be written there.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise DataError(f"{shown(folder)}: is no folder; name one to sort the images into")
    if reason := files.obstacle(folder / UNKNOWN):
        raise DataError(files.unwritable(folder, reason))


def check_class_folders(folder: Path, classes: Sequence[str]) -> None:
    """Refuse to go through links out of *folder*, and files where folders are needed.

    Raises:
        DataError: one of the folders in *folder* is a link or a file.
    """
    for name in folder_names(classes):
        place = folder / name
        if place.is_symlink():
            raise DataError(
                f"{shown(place)}: is a link, which may lead out of {shown(folder)}; remove it"
            )
        if os.path.lexists(place) and not place.is_dir():
            raise DataError(f"{shown(place)}: is a file where a folder for images is needed")


def lies_in(folder: Path, paths: Sequence[str]) -> list[bool]:
    """Return for each path whether its file lies in *folder*, at any depth."""
    target = identity_of(folder)

    @functools.cache
    def below(parent: str) -> bool:
        place = Path(parent).resolve()
        return any(identity_of(one) == target for one in (place, *place.parents))

    return [target is not None and below(os.path.dirname(path)) for path in paths]  # noqa: PTH120


def sort_images(
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    folder: Path,
    progress: Progress,
    link: bool = False,
) -> SortedImages:
    """Put each image that has a label into the folder of its class in *folder*.

    Those that the model rejects go into a folder of their own, and so do others that are unlike
    the training images. Of several images of one name the second gets the name with ``-2``, and so
    on. Nothing is replaced, and nothing outside *folder* is changed. Processes that sort into one
    folder take turns.

    Args:
        predictions: of the images; those without a label are left out.
        classes: of the model.
        folder: is made where it is missing.
        progress: receives how far it is.
        link: make symbolic links in place of copies.

    Raises:
        DataError: something in *folder* is in the way, or cannot be written.
    """
    rows = [row for row in predictions if row.label is not None]
    check_class_folders(folder, classes)

    def wait() -> None:
        progress.note(f"{shown(folder)}: another process sorts into it; waiting for it")

    sorting = _Sorting(classes, link)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.alone(folder / "offshelf", waiting=wait):
            progress.start("images sorted", len(rows))
            for row in rows:
                sorting.put(row.path, folder / sorting.name_for(row))
                progress.advance()
            progress.finish()
    except OSError as error:
        raise DataError(files.unwritable(error.filename or folder, error)) from error
    return SortedImages(
        folder=folder,
        linked=link,
        files=sorting.files,
        present=sorting.present,
        failures=sorting.failures,
        unlike=sorting.unlike,
    )


class _Sorting:
    """What one run has put where."""

    def __init__(self, classes: Sequence[str], link: bool) -> None:
        *own, self.unknown, self.unlike = folder_names(classes)
        self._of_class: dict[str | None, str] = dict(zip(classes, own, strict=True))
        self.files: dict[str, Path] = {}
        self.failures: dict[str, str] = {}
        self.present = 0
        self._link = link
        self._taken: set[str] = set()
        self._ready: set[Path] = set()

    def name_for(self, row: Prediction) -> str:
        """Return the name of the folder for an image that has a label."""
        if row.unknown:
            return self.unknown
        return self.unlike if row.unlike else self._of_class[row.label]

    def put(self, source: str, folder: Path) -> None:
        """Put an image into *folder*, under the first name that is free or already its own."""
        self._make_ready(folder)
        try:
            # Told apart from what goes wrong where it is written.
            with open(source, "rb"):  # noqa: PTH123 (never raises for a str)
                pass
        except OSError as error:
            self.failures[source] = error.strerror or str(error)
            return
        stem, ending = os.path.splitext(os.path.basename(source))  # noqa: PTH119, PTH122
        for name in _numbered(stem, ending):
            target = str(folder / name)
            if target in self._taken:
                continue
            made = not os.path.lexists(target) and self._made(source, target)
            if made or _same_bytes(source, target):
                self._taken.add(target)
                self.files[source] = Path(target)
                self.present += not made
                return

    def _make_ready(self, folder: Path) -> None:
        if folder not in self._ready:
            folder.mkdir(exist_ok=True)
            for left in files.leftover_files(folder):
                locks.remove_if_free(left)
            self._ready.add(folder)

    def _made(self, source: str, target: str) -> bool:
        try:
            if not self._link:
                return files.copy_new(Path(source), Path(target))
            os.symlink(os.path.abspath(source), target)  # noqa: PTH100, PTH211
        except FileExistsError:
            return False
        except OSError as error:
            hint = "; without --link it is copied" if self._link else ""
            raise DataError(f"{files.unwritable(target, error)}{hint}") from error
        return True


def _same_bytes(source: str, target: str) -> bool:
    """Return whether two files, or what they link to, hold the same bytes."""
    try:
        if os.path.samefile(source, target):  # noqa: PTH121
            return True
        with open(source, "rb") as one, open(target, "rb") as other:  # noqa: PTH123
            if os.fstat(one.fileno()).st_size != os.fstat(other.fileno()).st_size:
                return False
            blocks = iter(lambda: one.read(2**20), b"")
            return all(block == other.read(len(block)) for block in blocks)
    except OSError:
        return False
