"""The steps of an audit, from the ledger of an extraction to the findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.data.lookalikes.fingerprints import Fingerprint
from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.leaks import leaked_test_rows
from offshelf.errors import ImageError
from offshelf.jobs.audit.class_sizes import class_findings
from offshelf.jobs.audit.doubtful_labels import LabelCheck, judge, label_findings
from offshelf.jobs.audit.duplicates import (
    copies,
    identical_findings,
    image_ref,
    near_findings,
    same_bytes,
)
from offshelf.jobs.audit.image_quality import picture_findings, take_fingerprints
from offshelf.jobs.audit.near_duplicates import Links, find_links
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.labelled_features import LabelledFeatures, usable_digests
from offshelf.jobs.setup.run_costs import Clock
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Progress
from offshelf.report.findings import Finding
from offshelf.text import counted

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Found:
    """What an audit found.

    Attributes:
        findings: kind by kind, the worst of each kind first.
        leaked: test rows whose bytes are also in the training split.
        near_leaked: further test rows with a near-duplicate there, also through others.
        notes: what could not be checked, one line each.
    """

    findings: tuple[Finding, ...]
    leaked: Rows
    near_leaked: Rows
    notes: tuple[str, ...]


def search(
    labelled: LabelledFeatures, bounds: Bounds, run: RunSettings, progress: Progress, clock: Clock
) -> Found:
    """Look for every kind of finding among labelled images.

    Args:
        labelled: the images and their features.
        bounds: from where on something is a finding.
        run: seed, limits, cache folder.
        progress: receives how many images and folds are done.
        clock: receives the stages ``fingerprints``, ``duplicates`` and ``labels``.
    """
    table, usable = labelled.table, labelled.extraction.ok
    digests = usable_digests(labelled.extraction)
    with clock.stage("fingerprints"):
        groups, prints, damaged = _fingerprints(table, digests, run, progress)
    with clock.stage("duplicates"):
        links = _links(labelled, groups, prints, bounds)
        alike = copies(len(table), groups, links)
    with clock.stage("labels"):
        check = LabelCheck(table, usable, alike, _reader(labelled), run.seed)
        labels, notes = _labels(check, bounds, progress)
    by_row = {int(row): p for rows, p in zip(groups, prints, strict=True) for row in rows}
    leaked = leaked_test_rows(table, digests)
    findings = (
        *_unreadable(labelled, damaged),
        *identical_findings(table, same_bytes(digests), digests),
        *near_findings(table, groups, links),
        *labels,
        *class_findings(table, usable, bounds),
        *picture_findings(table, dict(sorted(by_row.items())), bounds),
    )
    return Found(findings, leaked, _near_leaked(table, alike, leaked), notes)


def _fingerprints(
    table: ImageTable, digests: Sequence[bytes], run: RunSettings, progress: Progress
) -> tuple[list[Rows], list[Fingerprint], dict[int, ImageError]]:
    """Return the rows of each readable file, its fingerprint, and the rows without one."""
    every = same_bytes(digests)
    firsts = [int(rows[0]) for rows in every]
    results = take_fingerprints(
        [table.paths[row] for row in firsts],
        [digests[row] for row in firsts],
        run.reading,
        progress,
        run.engine.cache_dir,
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
) -> Links:
    firsts = np.array([rows[0] for rows in groups], np.int64)
    hashes = np.array([p.hash for p in prints], np.uint64)
    read, dimension = _reader(labelled), labelled.extraction.stores[labelled.kind].dimension
    return find_links(hashes, lambda at: read(firsts[at]), dimension, bounds)


def _reader(labelled: LabelledFeatures) -> Callable[[Rows], NDArray[np.float32]]:
    return lambda rows: labelled.extraction.matrix(labelled.kind, rows)


def _labels(
    check: LabelCheck, bounds: Bounds, progress: Progress
) -> tuple[list[Finding], tuple[str, ...]]:
    margins = judge(check, bounds.folds, progress)
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
