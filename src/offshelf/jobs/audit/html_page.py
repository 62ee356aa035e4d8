"""HTML page of an audit, with thumbnails of the findings."""

from __future__ import annotations

from pathlib import Path

from offshelf.features.reader import ReadOptions
from offshelf.jobs.audit.audit_result import AuditResult
from offshelf.jobs.setup.page_files import check_page, thumbnails, write_html
from offshelf.progress import Progress, Silent
from offshelf.report.findings_page import Page, findings_page, pictured
from offshelf.version import __version__


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
    pictures = thumbnails(pictured(result.findings), reading or ReadOptions(), progress or Silent())
    page = Page(
        title=f"Audit of {Path(result.data).name or result.data}",
        facts=[text for _, text in result.facts()],
        findings=result.findings,
        sentences=result.bounds.sentences(),
        thumbnails=pictures,
        made=_made(result),
    )
    return write_html(path, findings_page(page))


def _made(result: AuditResult) -> list[str]:
    features = result.features
    untrained = "" if features.trained else "; UNTRAINED network (random weights)"
    return [
        f"Features: {features.title} ({features.backbone.file.spec.tag}), "
        f"{result.extraction.ran}{features.changed}{untrained}. "
        f"offshelf {__version__}. This page loads nothing from anywhere.",
    ]
