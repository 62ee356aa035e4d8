"""Small JSON documents in the cache, each sealed by a hash of its content.

A document that is not what was written is never believed: it is set aside with one note, and
the next reader makes it again.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.progress import notify
from offshelf.regular_file import read_regular

SEAL = "seal"
# That of a comparison of a million images has a tenth of it.
MAX_BYTES = 2**30


def write(path: Path, document: dict[str, Any]) -> None:
    """Write *document* to *path* with its seal, whole or not at all.

    The seal holds for the name of the file, too: one document in the place of another is
    as wrong as one that was changed.

    Raises:
        OSError: it cannot be written.
    """
    whole = {**document, SEAL: _seal(path, document)}
    # ASCII, and with the numbers that JSON has no word for: only :func:`read` reads it.
    files.write_bytes(path, f"{json.dumps(whole, indent=2, sort_keys=True)}\n".encode())


def read(path: Path) -> dict[str, Any] | None:
    """Return the document that :func:`write` left at *path*, without its seal.

    None where there is none, and where it is damaged: then it was set aside.

    >>> read(Path("no/such/file.json")) is None
    True
    """
    document = sealed(path)
    if document is None and os.path.lexists(path):
        set_aside(path)
    return document


def sealed(path: Path) -> dict[str, Any] | None:
    """Return the document at *path* if its seal is whole, None otherwise; see :func:`read`."""
    try:
        document = json.loads(read_regular(path, MAX_BYTES))
        if document.pop(SEAL, None) == _seal(path, document):
            return dict(document)
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        pass
    return None


def set_aside(path: Path, what: str = "it is made again", why: str = "damaged") -> bool:
    """Rename a damaged file or folder so that it is not read again, and say so.

    The message names *why*, and *what* happens now.

    Returns:
        Whether this process did it; another one may have been faster.
    """
    aside = path.with_suffix(".damaged")
    try:
        # A folder gives way to no file, and to no other folder.
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        elif path.is_dir():
            aside.unlink(missing_ok=True)
        path.replace(aside)
    except FileNotFoundError:
        return False
    except OSError:
        # A folder that cannot be written: the next process finds the same.
        pass
    notify(f"{path}: {why}, set aside; {what}")
    return True


def _seal(path: Path, document: dict[str, Any]) -> str:
    return files.sha256_json([path.name, document])
