"""HTML pages with pictures: where they may be written, and the thumbnails on them."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from offshelf import files
from offshelf.data.decode import Limits, decoding, read_bytes
from offshelf.errors import ImageError, OffshelfError
from offshelf.features.reader import ReadOptions, in_threads
from offshelf.progress import Progress
from offshelf.resample import pillows_copy
from offshelf.text import shown

THUMBNAIL_SIDE = 240
_QUALITY = 82
_BEGINNINGS = (b"<!doctype html>", b"<!DOCTYPE html>")


def check_page(path: str | Path) -> Path:
    """Refuse a place where no page can or should be written, before any work is done.

    Raises:
        OffshelfError: it is a folder, or a file that is no HTML page.
    """
    path = Path(path)
    if refusal := files.target_refusal(path, "HTML page", "audit.html", _BEGINNINGS):
        raise OffshelfError(refusal)
    return path


def check_apart(*paths: str | Path | None) -> None:
    """Refuse one file for two of the things that a command writes.

    Raises:
        OffshelfError: two of *paths* are the same; None stands for nothing to write.

    >>> check_apart("a.csv", None, "b.csv")
    >>> check_apart("a.csv", "./a.csv")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: ./a.csv: is to hold two things; give each a file of its own
    """
    found: set[str] = set()
    for path in [one for one in paths if one]:
        place = os.path.realpath(path)
        if place in found:
            raise OffshelfError(
                f"{shown(path)}: is to hold two things; give each a file of its own"
            )
        found.add(place)


def write_html(path: Path, page: str) -> Path:
    """Write a page, whole or not at all, and return its path.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    try:
        files.write_bytes(check_page(path), page.encode("ascii"))
    except OSError as error:
        raise OffshelfError(files.unwritable(path, error)) from error
    return path


def thumbnails(paths: Sequence[str], reading: ReadOptions, progress: Progress) -> dict[str, str]:
    """Return the address of each image that has pixels; see :func:`thumbnail`."""
    progress.start("pictures", len(paths))
    found: dict[str, str] = {}
    results = in_threads(lambda path: thumbnail(path, reading.limits), paths, reading.threads)
    for path, address in zip(paths, results, strict=True):
        if address is not None:
            found[path] = address
        progress.advance()
    progress.finish()
    return found


def thumbnail(path: str, limits: Limits) -> str | None:
    """Return a small JPEG of an image as a ``data:`` address, or None when it has no pixels."""
    try:
        with decoding(read_bytes(path, limits), limits) as decoded:
            image = pillows_copy(decoded.pixels)
            image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    except ImageError:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
