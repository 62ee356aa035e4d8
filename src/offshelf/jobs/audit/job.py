"""Audit of labelled images: copies, leaks, doubtful labels, odd pictures.

One pass gives the features, another the fingerprints; everything else is computed from those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.lookalikes import Fingerprint
from offshelf.data.tables.image_table import ImageTable, leaked_test_rows
from offshelf.errors import ImageError
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind
from offshelf.jobs.audit.doubtful_labels import LabelCheck, judge, label_findings
from offshelf.jobs.audit.duplicates import (
    GroupCounts,
    Links,
    PairCounts,
    copies,
    count_groups,
    count_pairs,
    find_links,
    identical_findings,
    image_ref,
    near_findings,
    same_bytes,
)
from offshelf.jobs.audit.image_quality import class_findings, picture_findings, take_fingerprints
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.labelled_features import (
    LabelledFeatures,
    labelled_features,
    usable_digests,
)
from offshelf.jobs.setup.settings import FeatureSettings, JobContext, RunSettings, describe
from offshelf.progress import Progress
from offshelf.report.findings import SEVERITIES, Finding, by_kind
from offshelf.text import counted


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        data: what was audited, as it was named.
        table: the images.
        extraction: the ledger of the images, with the store of their features.
        backbone: network and weights in use.
        kind: the features that confirm near-duplicates and judge labels.
        bounds: thresholds of the findings.
        found: the findings, the leaked rows, and what could not be checked.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``fingerprints``,
            ``duplicates``, ``labels``, ``total``.
    """

    data: str
    table: ImageTable
    extraction: Extraction
    backbone: Backbone
    kind: FeatureKind
    bounds: Bounds
    found: Found
    seconds: dict[str, float]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, kind by kind, the worst of each kind first."""
        return self.found.findings

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return by_kind(self.findings)[kind]

    @property
    def severities(self) -> Mapping[str, int]:
        """How many findings there are of each severity."""
        return Counter(finding.severity for finding in self.findings)

    @property
    def identical(self) -> PairCounts:
        """The groups and pairs of byte-identical images."""
        return count_pairs(self.of_kind("identical"))

    @property
    def near_duplicates(self) -> GroupCounts:
        """The groups of near-duplicates."""
        return count_groups(self.of_kind("near_duplicate"))

    def facts(self) -> list[tuple[str, str]]:
        """Return the few lines that sum up an audit for a person, each with its name."""
        table, same, near = self.table, self.identical, self.near_duplicates
        leaked, close = len(self.found.leaked), len(self.found.near_leaked)
        lines = [
            (
                "data",
                f"{len(table):,} images of {len(table.classes):,} classes, "
                f"{len(table.rows('train')):,} to train, {len(table.rows('test')):,} to test",
            ),
            (
                "found",
                ", ".join(f"{self.severities[word]:,} {word}s" for word in SEVERITIES),
            ),
            (
                "identical",
                f"{same.pairs:,} pairs of files with the same bytes: {same.pairs_across_splits:,} "
                f"across the splits, {same.pairs_with_two_labels:,} under two labels",
            ),
            (
                "similar",
                f"{near.groups:,} groups of near-duplicates: {near.groups_in_both_splits:,} "
                f"in both splits, {near.groups_with_two_labels:,} under two labels",
            ),
            (
                "leaks",
                f"{leaked:,} test images have the bytes of a training image, {close:,} more are "
                "near-duplicates of one",
            ),
        ]
        return [*lines, *(("unchecked", note) for note in self.found.notes)]

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        severities = self.severities
        return {
            "data": self.data,
            "n_images": len(self.table),
            "n_train": len(self.table.rows("train")),
            "n_test": len(self.table.rows("test")),
            "n_failed": len(self.of_kind("unreadable")),
            "classes": list(self.table.classes),
            "n_errors": severities["error"],
            "n_warnings": severities["warning"],
            "n_notes": severities["note"],
            "counts": {kind: len(found) for kind, found in by_kind(self.findings).items()},
            "identical": self.identical.to_json(),
            "near_duplicate": self.near_duplicates.to_json(),
            "n_test_in_train": len(self.found.leaked),
            "n_test_near_train": len(self.found.near_leaked),
            "findings": [finding.to_json() for finding in self.findings],
            "bounds": self.bounds.to_json(),
            **describe(self.backbone),
            "layer": self.kind.layer,
            "pooling": self.kind.pooling,
            "engine": self.extraction.engine,
            "precision": self.extraction.precision,
            "computed": self.extraction.computed,
            "warnings": [*self.table.warnings, *self.found.notes],
            "seconds": self.seconds,
        }


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
    offshelf.errors.DataError: no/such/folder: no such file or folder.
    """
    bounds, job = bounds or Bounds(), JobContext.of(run, progress)
    labelled = labelled_features(data, features, job)
    found = search(labelled, bounds, job)
    return AuditResult(
        data=str(data),
        table=labelled.table,
        extraction=labelled.extraction,
        backbone=labelled.backbone,
        kind=labelled.kind,
        bounds=bounds,
        found=found,
        seconds=job.clock.total(),
    )


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


def search(labelled: LabelledFeatures, bounds: Bounds, job: JobContext) -> Found:
    """Look for every kind of finding among labelled images."""
    table, usable = labelled.table, labelled.extraction.ok
    digests = usable_digests(labelled.extraction)
    with job.clock.stage("fingerprints"):
        groups, prints, damaged = _fingerprints(table, digests, job)
    with job.clock.stage("duplicates"):
        links = _links(labelled, groups, prints, bounds)
        alike = copies(len(table), groups, links)
    with job.clock.stage("labels"):
        check = LabelCheck(
            table=table, usable=usable, copies=alike, read=_reader(labelled), seed=job.run.seed
        )
        labels, notes = _labels(check, bounds, job.progress)
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
