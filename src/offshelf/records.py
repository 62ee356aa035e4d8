"""Small JSON documents in the cache, each sealed by a hash of what it says.

A document that is not what was written is never believed: it is set aside, said once, and
whoever reads it makes it again.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.progress import tell

_SEAL = "sha256"


def write(path: Path, document: dict[str, Any]) -> None:
    """Write *document* to *path* with its seal, whole or not at all.

    The seal holds for the name of the file, too: one document in the place of another is
    as wrong as one that was changed.

    Raises:
        OSError: it cannot be written.
    """
    files.write_json(path, {**document, _SEAL: _seal(path, document)})


def read(path: Path) -> dict[str, Any] | None:
    """Return the document that :func:`write` left at *path*, without its seal.

    None where there is none, and where it is damaged: then it was set aside.

    >>> read(Path("no/such/file.json")) is None
    True
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        set_aside(path)
        return None
    except OSError:
        return None
    try:
        document = json.loads(content)
        sound = isinstance(document, dict) and document.pop(_SEAL, None) == _seal(path, document)
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        set_aside(path)
        return None
    return dict(document)


def set_aside(path: Path, what: str = "it is made again", why: str = "damaged") -> bool:
    """Rename a damaged file so that nobody reads it again, and say so.

    Args:
        path: the file or folder.
        what: happens now.
        why: it is set aside.

    Returns:
        Whether this process did it; another one may have been faster.
    """
    try:
        path.replace(path.with_suffix(".damaged"))
    except FileNotFoundError:
        return False
    except OSError:
        # A folder that cannot be written, or that has such a file already.
        with contextlib.suppress(OSError):
            path.unlink()
    tell(f"{path}: {why}, set aside; {what}")
    return True


def _seal(path: Path, document: dict[str, Any]) -> str:
    return files.sha256_json([path.name, document])
