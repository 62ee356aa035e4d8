"""All findings of an audit as a file: a page with pictures, CSV or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from offshelf import files
from offshelf.errors import OffshelfError
from offshelf.features.reader import ReadOptions
from offshelf.jobs.audit.audit_result import AuditResult
from offshelf.jobs.audit.html_page import write_page
from offshelf.jobs.setup.page_files import check_page
from offshelf.progress import Progress
from offshelf.report.tables.table_formats import render
from offshelf.text import json_text, shown

PAGE, CSV, JSON = ".html", ".csv", ".json"
# What a file of each form begins with that may be replaced.
_BEGINNINGS: Mapping[str, bytes] = {CSV: b"finding,kind,severity", JSON: b'{\n  "data":'}


def check_findings_file(path: str | Path) -> Path:
    """Refuse a place where no findings can or should be written, before any work is done.

    Raises:
        OffshelfError: another ending, a folder, or a file that holds no findings.

    >>> check_findings_file("found.txt")
    Traceback (most recent call last):
    ...
    offshelf.errors.OffshelfError: found.txt: the ending says the form: use .html, .csv or .json
    """
    path = Path(path)
    form = path.suffix.lower()
    if form == PAGE:
        return check_page(path)
    if form not in _BEGINNINGS:
        raise OffshelfError(f"{shown(path)}: the ending says the form: use .html, .csv or .json")
    if refusal := files.target_refusal(path, "list of findings", "found.csv", [_BEGINNINGS[form]]):
        raise OffshelfError(refusal)
    return path


def write_findings(
    result: AuditResult, path: str | Path, reading: ReadOptions, progress: Progress
) -> Path:
    """Write all findings, whole or not at all; the ending of *path* says how.

    Raises:
        OffshelfError: the file cannot be written there.
    """
    path = check_findings_file(path)
    form = path.suffix.lower()
    if form == PAGE:
        return write_page(result, path, reading=reading, progress=progress)
    text = (
        render(result.data_table(), "csv") if form == CSV else json_text(result.to_json(), indent=2)
    )
    try:
        files.write_bytes(path, f"{text}\n".encode())
    except OSError as error:
        raise OffshelfError(files.unwritable(path, error)) from error
    return path
