"""HTML page of an audit, with thumbnails of the findings."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from offshelf import files
from offshelf.data.decode import Limits, decoding, read_bytes
from offshelf.errors import ImageError, OffshelfError
from offshelf.features.reader import ReadOptions, in_threads
from offshelf.jobs.audit.job import AuditResult
from offshelf.progress import Progress, Silent
from offshelf.report.findings_page import Page, findings_page, pictured
from offshelf.resample import pillows_copy
from offshelf.version import __version__

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


def write_page(
    result: AuditResult,
    path: str | Path,
    *,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write what an audit found as one HTML file with pictures, and return its path.

    The file loads nothing and runs nothing. At most 100 findings of a kind and 12 images
    of a finding are shown; each picture is at most 240 pixels wide and high.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    path = check_page(path)
    thumbnails = _thumbnails(
        pictured(result.findings), reading or ReadOptions(), progress or Silent()
    )
    page = Page(
        title=f"Audit of {Path(result.data).name or result.data}",
        facts=[text for _, text in result.facts()],
        findings=result.findings,
        sentences=result.bounds.sentences(),
        thumbnails=thumbnails,
        made=_made(result),
    )
    try:
        files.write_bytes(path, findings_page(page).encode("ascii"))
    except OSError as error:
        raise OffshelfError(files.unwritable(path, error)) from error
    return path


def _made(result: AuditResult) -> list[str]:
    backbone = result.backbone
    untrained = "" if backbone.trained else "; UNTRAINED network (random weights)"
    return [
        f"Features: {backbone.spec.name} ({backbone.file.spec.tag}) {result.kind.layer}, "
        f"{result.kind.pooling}, {result.extraction.engine}{untrained}. "
        f"offshelf {__version__}. This page loads nothing from anywhere.",
    ]


def _thumbnails(paths: Sequence[str], reading: ReadOptions, progress: Progress) -> dict[str, str]:
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
