"""Files that are whole or absent: temporary name, sync, rename. And their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(target: Path, named: Callable[[Path, Path], Path] | None = None) -> Iterator[Path]:
    """Yield a temporary path beside *target*; rename it to *target* on success.

    The file is synced before the rename and its folder after it, so a crash at any
    moment leaves either the old file or the new one. On an exception the temporary
    file is removed and *target* is untouched. *named* is given the finished temporary file
    and *target* and returns the name in place of *target*, in the same folder.

    >>> import tempfile; from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}{target.suffix}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(named(temporary, target) if named else target)
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write *content* to *target* atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_json(target: Path, document: Any) -> None:
    """Write *document* as indented JSON to *target* atomically."""
    write_bytes(target, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode())


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
