"""Audit of labelled images: copies, leaks, doubtful labels, odd pictures.

One pass gives the features, another the fingerprints; everything else is computed from those.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from offshelf.data.lookalikes import Fingerprint
from offshelf.data.tables.image_table import ImageTable, leaked_test_rows
from offshelf.errors import ImageError
from offshelf.heads.group_folds import together
from offshelf.jobs.audit.audit_result import AuditResult, Found, Rows
from offshelf.jobs.audit.doubtful_labels import LabelCheck, Margins, judge, label_findings
from offshelf.jobs.audit.duplicates import (
    Links,
    copies,
    find_links,
    identical_findings,
    image_ref,
    near_findings,
    same_bytes,
)
from offshelf.jobs.audit.image_quality import class_findings, picture_findings, take_fingerprints
from offshelf.jobs.audit.kept_findings import kept_links, kept_margins
from offshelf.jobs.audit.placeholders import placeholder_findings
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.labelled_features import (
    LabelledFeatures,
    labelled_features,
    usable_digests,
)
from offshelf.jobs.setup.settings import FeatureSettings, JobContext, RunSettings
from offshelf.progress import Progress
from offshelf.report.findings import (
    Finding,
)
from offshelf.text import counted


def audit(
    data: str | Path,
    *,
    features: FeatureSettings | None = None,
    bounds: Bounds | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Find what makes a measured accuracy on labelled images unreliable.

    Args:
        data: a folder with ``train/`` and ``test/``, a folder of class folders, or a CSV
            or Parquet table with ``path``, ``label`` and perhaps ``split``.
        features: backbone, layer, pooling.
        bounds: thresholds of the findings.
        run: engine, seed, split, limits.
        progress: receives notes, and how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.

    >>> audit("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.MissingPathError: no/such/folder: no such file or folder.
    """
    bounds, job = bounds or Bounds(), JobContext.of(run, progress)
    labelled = labelled_features(data, features, job)
    found = search(labelled, bounds, job)
    return AuditResult(
        data=str(data),
        table=labelled.table,
        extraction=labelled.extraction,
        bounds=bounds,
        found=found,
        seconds=job.clock.total(),
    )


def search(labelled: LabelledFeatures, bounds: Bounds, job: JobContext) -> Found:
    """Look for every kind of finding among labelled images."""
    table, usable = labelled.table, labelled.extraction.ok
    digests = usable_digests(labelled.extraction)
    with job.clock.stage("fingerprints"):
        groups, prints, damaged = _fingerprints(table, digests, job)
    with job.clock.stage("duplicates"):
        links = _links(labelled, groups, prints, bounds, job)
        alike = copies(len(table), groups, links)
        given = labelled.groups_of(np.arange(len(table)))
    with job.clock.stage("labels"):
        check = LabelCheck(
            table=table,
            usable=usable,
            copies=alike if given is None else together(alike, given),
            read=labelled.read,
            seed=job.run.seed,
        )
        margins = kept_margins(labelled, check, bounds.folds, job.run).take(
            lambda: judge(check, bounds.folds, job.progress)
        )
        labels, notes = _labels(check, bounds, margins)
    by_row = {int(row): p for rows, p in zip(groups, prints, strict=True) for row in rows}
    leaked = leaked_test_rows(table, digests)
    findings = (
        *_unreadable(labelled, damaged),
        *identical_findings(table, same_bytes(digests), digests),
        *near_findings(table, groups, links),
        *labels,
        *placeholder_findings(check, by_row, bounds),
        *class_findings(table, usable, bounds),
        *picture_findings(table, dict(sorted(by_row.items())), bounds),
    )
    return Found(findings, leaked, _near_leaked(table, alike, leaked), notes)


def _fingerprints(
    table: ImageTable, digests: Sequence[bytes], job: JobContext
) -> tuple[list[Rows], list[Fingerprint], dict[int, ImageError]]:
    """Return the rows of each readable file, its fingerprint, and the rows without one."""
    every = same_bytes(digests)
    firsts = [int(rows[0]) for rows in every]
    results = take_fingerprints(
        [table.paths[row] for row in firsts],
        [digests[row] for row in firsts],
        job.run.reading,
        job.progress,
        job.run.engine.cache_dir,
    )
    groups, prints = [], []
    damaged: dict[int, ImageError] = {}
    for rows, result in zip(every, results, strict=True):
        if isinstance(result, Fingerprint):
            groups.append(rows)
            prints.append(result)
        else:
            damaged |= dict.fromkeys(rows.tolist(), result)
    return groups, prints, damaged


def _links(
    labelled: LabelledFeatures,
    groups: Sequence[Rows],
    prints: Sequence[Fingerprint],
    bounds: Bounds,
    job: JobContext,
) -> Links:
    firsts = np.array([rows[0] for rows in groups], np.int64)
    hashes = np.array([p.hash for p in prints], np.uint64)
    dimension = labelled.extraction.dimension
    return kept_links(labelled, firsts, hashes, bounds, job.run).take(
        lambda: find_links(hashes, lambda at: labelled.read(firsts[at]), dimension, bounds)
    )


def _labels(
    check: LabelCheck, bounds: Bounds, margins: Margins
) -> tuple[list[Finding], tuple[str, ...]]:
    findings = label_findings(check.table, margins, bounds)
    left = len(check.usable) - margins.n_judged
    if not left:
        return findings, ()
    note = (
        f"the labels of {counted(left, 'image')} were not checked: too few other training "
        "images of their class, or of any other class"
    )
    return findings, (note,)


def _unreadable(labelled: LabelledFeatures, damaged: dict[int, ImageError]) -> list[Finding]:
    reasons = {row: (error.status, error.reason) for row, error in damaged.items()}
    for number, row in enumerate(labelled.extraction.rows):
        if row.status != "ok":
            reasons[number] = (row.status, row.reason)
    return [
        Finding(
            kind="unreadable",
            severity="error",
            reason=f"{status}: {reason}",
            images=(image_ref(labelled.table, number),),
            figures={"status": status},
        )
        for number, (status, reason) in sorted(reasons.items())
    ]


def _near_leaked(table: ImageTable, alike: Rows, leaked: Rows) -> Rows:
    train, test = table.rows("train"), table.rows("test")
    return np.setdiff1d(test[np.isin(alike[test], alike[train])], leaked)
