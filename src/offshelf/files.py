"""Atomic file writes (temporary name, sync, rename), hashes, and stamps of unchanged files.

A half-written file of a killed process has a reserved name and a lock that is not held:
the next write to the same target removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from offshelf.locks import Lock, is_held, remove_if_free
from offshelf.regular_file import refuse_special
from offshelf.text import json_text, shown

# No file of the user has such a name.
FILE_NAME = re.compile(r"\.offshelf-[0-9a-f]{16}-[0-9a-f]{32}\.tmp")
FOLDER_NAME = re.compile(r"\.offshelf-[a-z0-9_]{8}")
_BEGINNING, _OWNER = ".offshelf-", "owner.lock"
_ATTEMPTS, _PAUSE_SECONDS = 100, 0.001
# Clocks of file systems count in steps: of two seconds at most (FAT), of ten milliseconds at
# most where they tell nanoseconds; both with room to spare.
COARSE_NS, FINE_NS = 3 * 10**9, 10**8
_TELLS_NANOSECONDS = 10**6
# Windows may have longer ones.
_INODE = (1 << 64) - 1


@contextlib.contextmanager
def atomic_path(target: Path, named: Callable[[Path, Path], Path] | None = None) -> Iterator[Path]:
    """Yield a temporary path beside *target*; rename it to *target* on success.

    The file is synced before the rename and its folder after it, so a crash at any
    moment leaves either the old file or the new one. On an exception the temporary
    file is removed and *target* is untouched. The path is to be written, not replaced: its
    file is there and has a lock. *named* is given the finished temporary file
    and *target* and returns the name in place of *target*, in the same folder.

    >>> import tempfile; from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    refuse_special(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beginning = _beginning(target)
    for left in leftover_files(target.parent, beginning):
        remove_if_free(left)
    temporary = target.with_name(f"{beginning}{uuid.uuid4().hex}.tmp")
    lock = Lock(temporary)
    try:
        # Where there are no locks, or nothing can be written, the writing goes on or says so.
        with contextlib.suppress(OSError):
            _own(lock)
        yield temporary
        _sync(temporary)
        if os.name == "nt":
            lock.release(remove=False)
        temporary.replace(named(temporary, target) if named else target)
        _sync(target.parent)
    finally:
        lock.release(remove=False)
        temporary.unlink(missing_ok=True)


def copy_new(source: Path, target: Path) -> bool:
    """Copy a file with its time to *target*, whole or not at all.

    Returns False where something is at *target* already, which stays as it is.

    Raises:
        OSError: *source* cannot be read, or nothing written beside *target*.

    >>> import tempfile; from pathlib import Path
    >>> copy = Path(tempfile.mkdtemp()) / "copy.py"
    >>> copy_new(Path(__file__), copy), copy_new(Path(__file__), copy)
    (True, False)
    """
    temporary = target.with_name(f"{_beginning(target)}{uuid.uuid4().hex}.tmp")
    lock = Lock(temporary)
    try:
        with contextlib.suppress(OSError):
            _own(lock)
        shutil.copyfile(source, temporary)
        status = source.stat()
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        _sync(temporary)
        try:
            target.hardlink_to(temporary)
        except OSError:  # something is there, or there are no hard links here
            if os.path.lexists(target):
                return False
            lock.release(remove=False)
            temporary.rename(target)
        return True
    finally:
        lock.release(remove=False)
        temporary.unlink(missing_ok=True)


def _beginning(target: Path) -> str:
    return f"{_BEGINNING}{sha256_bytes(os.fsencode(target.name))[:16]}-"


def put(finished: Path, target: Path) -> None:
    """Rename the *finished* file to *target* in the same folder, synced before and after."""
    _sync(finished)
    finished.replace(target)
    _sync(target.parent)


@contextlib.contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder that goes with the block, in *parent* or where the system has such.

    What killed processes left there goes, too.

    Raises:
        OSError: it cannot be made.

    >>> with temporary_folder() as folder:
    ...     folder.is_dir()
    True
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    place.mkdir(parents=True, exist_ok=True)
    for left in leftover_folders(place):
        remove_leftover(left)
    folder, lock = _owned_folder(place)
    try:
        yield folder
    finally:
        # As long as it is there, it is seen to have had an owner.
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        if os.name == "nt":
            shutil.rmtree(folder, ignore_errors=True)


def _owned_folder(place: Path) -> tuple[Path, Lock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_BEGINNING, dir=place))
        lock = Lock(folder / _OWNER)
        try:
            _own(lock)
        except FileNotFoundError:
            # Another process took the new folder for one without an owner.
            continue
        except OSError:
            pass
        return folder, lock


def _own(lock: Lock) -> None:
    """Take the lock of a new file, at which another process may just be looking.

    Raises:
        OSError: the file cannot be made, or there are no locks here.
    """
    for _ in range(_ATTEMPTS):
        if lock.take():
            return
        time.sleep(_PAUSE_SECONDS)


def remove_leftover(folder: Path) -> bool:
    """Remove a temporary folder, unless a process has begun to use it."""
    lock = Lock(folder / _OWNER)
    try:
        if not lock.take():
            return False
    except OSError:
        return False
    # Under the lock: it may be a folder that is so new that its owner had no lock yet.
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return not folder.exists()


def leftover_files(folder: Path, beginning: str = _BEGINNING) -> list[Path]:
    """Return temporary files in *folder* that no process is writing."""
    found = (folder / name for name in _names(folder, beginning) if FILE_NAME.fullmatch(name))
    return [path for path in found if not path.is_symlink() and not is_held(path)]


def leftover_folders(place: Path) -> list[Path]:
    """Return temporary folders in *place* that no process is using."""
    found = (place / name for name in _names(place, _BEGINNING) if FOLDER_NAME.fullmatch(name))
    return [
        path
        for path in found
        if not path.is_symlink() and (path / _OWNER).is_file() and not is_held(path / _OWNER)
    ]


def _names(folder: Path, beginning: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name.startswith(beginning))
    except OSError:
        return []


def write_bytes(target: Path, content: bytes) -> None:
    """Write *content* to *target* atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_json(target: Path, document: Any) -> None:
    """Write *document* as indented JSON to *target* atomically."""
    write_bytes(target, (json_text(document, indent=2, sort_keys=True) + "\n").encode())


def obstacle(target: Path) -> str:
    """Say why no file can be put at *target*, or "" when nothing is in the way.

    >>> obstacle(Path("new/folder/my.offshelf"))
    ''
    """
    try:
        place = target.absolute()
        above = next((folder for folder in place.parents if folder.exists()), place)
        if not above.is_dir():
            return f"{shown(above)} is no folder"
        refuse_special(place)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "" if os.access(above, os.W_OK) else f"no permission to write in {shown(above)}"


def unwritable(path: str | Path, why: Exception | str) -> str:
    """Return the message for a file that cannot be written: its name and the reason.

    >>> unwritable("out.csv", PermissionError(13, "Permission denied"))
    'out.csv: cannot be written (Permission denied)'
    """
    return f"{shown(path)}: cannot be written ({getattr(why, 'strerror', None) or why})"


def target_refusal(path: Path, kind: str, example: str, beginnings: Sequence[bytes]) -> str:
    """Say why no file of a kind can or should be written at *path*, or "" where it may be.

    Args:
        path: the file to be; one of the same kind, or an empty one, is replaced.
        kind: the kind of file in words.
        example: a good name for one.
        beginnings: the first bytes of files of that kind.

    >>> target_refusal(Path("."), "model file", "my.offshelf", [b"PK"])
    '.: is a folder; name a file such as my.offshelf'
    """
    if reason := obstacle(path):
        return unwritable(path, reason)
    try:
        if path.is_dir():
            return f"{shown(path)}: is a folder; name a file such as {example}"
        if not path.exists():
            return ""
        with path.open("rb") as handle:
            found = handle.read(max(map(len, beginnings), default=0) or 1)
    except OSError as error:
        return unwritable(path, error)
    if not found or found.startswith(tuple(beginnings)):
        return ""
    return f"{shown(path)}: exists and is no {kind}, so it is not replaced; choose another name"


def sha256_bytes(content: bytes) -> str:
    """Return the sha256 of *content* as 64 hexadecimal digits.

    >>> sha256_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of the file at *path*, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(document: Any) -> str:
    """Return the sha256 of *document* in canonical JSON, a key for caches."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256_bytes(text.encode())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


class Stamp(NamedTuple):
    """A file as the system describes it; every change of its content changes one of these.

    Attributes:
        size: bytes.
        modified: when its content was changed last, ns since the epoch.
        changed: when anything of it was, ns; a program can set the other time, not this
            one. On Windows, when the file was made.
        inode: number of the file in its file system.
    """

    size: int
    modified: int
    changed: int
    inode: int

    def is_settled(self, at: int) -> bool:
        """Return whether a change after *at*, ns since the epoch, must give another stamp.

        A file that was changed just before may be changed again within the same step of the
        clock. One from the future says that two clocks differ: it is not relied on.

        >>> [Stamp(9, 5 * 10**9, 5 * 10**9, 1).is_settled(at * 10**9) for at in (6, 9)]
        [False, True]
        """
        step = FINE_NS if self.changed % _TELLS_NANOSECONDS else COARSE_NS
        return max(self.modified, self.changed) + step < at


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file from what ``os.stat`` says.

    >>> from pathlib import Path
    >>> stamp_of(Path(__file__).stat()) == stamp_of(os.stat(__file__))
    True
    """
    inode = status.st_ino & _INODE
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)
