"""The steps of an audit, from the ledger of an extraction to the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.data.lookalikes.fingerprints import Fingerprint
from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.leaks import leaked_test_rows
from offshelf.errors import ImageError
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind
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
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.stage_times import Clock
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


class Search:
    """Looks for every kind of finding among extracted images."""

    def __init__(
        self,
        table: ImageTable,
        extraction: Extraction,
        kind: FeatureKind,
        bounds: Bounds,
        run: RunSettings,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self.table, self.extraction, self.kind = table, extraction, kind
        self.bounds, self.run_settings = bounds, run
        self.progress, self.clock = progress, clock
        self.digests = [row.digest if row.status == "ok" else b"" for row in extraction.rows]

    def run(self) -> Found:
        """Return what was found."""
        table, bounds = self.table, self.bounds
        with self.clock.stage("fingerprints"):
            groups, prints, damaged = self._fingerprints()
        with self.clock.stage("duplicates"):
            links = self._links(groups, prints)
            alike = copies(len(table), groups, links)
        with self.clock.stage("labels"):
            labels, notes = self._labels(alike)
        by_row = {int(row): p for rows, p in zip(groups, prints, strict=True) for row in rows}
        leaked = leaked_test_rows(table, self.digests)
        findings = (
            *self._unreadable(damaged),
            *identical_findings(table, same_bytes(self.digests), self.digests),
            *near_findings(table, groups, links),
            *labels,
            *class_findings(table, self.extraction.ok, bounds),
            *picture_findings(table, dict(sorted(by_row.items())), bounds),
        )
        return Found(findings, leaked, self._near_leaked(alike, leaked), notes)

    def _fingerprints(self) -> tuple[list[Rows], list[Fingerprint], dict[int, ImageError]]:
        """Return the rows of each readable file, its fingerprint, and the rows without one."""
        every = same_bytes(self.digests)
        paths = [self.table.paths[int(rows[0])] for rows in every]
        digests = [self.digests[int(rows[0])] for rows in every]
        run = self.run_settings
        cache = run.engine.cache_dir
        results = take_fingerprints(paths, digests, run.reading, self.progress, cache)
        groups, prints = [], []
        damaged: dict[int, ImageError] = {}
        for rows, result in zip(every, results, strict=True):
            if isinstance(result, Fingerprint):
                groups.append(rows)
                prints.append(result)
            else:
                damaged |= dict.fromkeys(rows.tolist(), result)
        return groups, prints, damaged

    def _links(self, groups: Sequence[Rows], prints: Sequence[Fingerprint]) -> Links:
        firsts = np.array([rows[0] for rows in groups], np.int64)
        hashes = np.array([p.hash for p in prints], np.uint64)
        dimension = self.extraction.stores[self.kind].dimension
        return find_links(hashes, lambda at: self._read(firsts[at]), dimension, self.bounds)

    def _labels(self, alike: Rows) -> tuple[list[Finding], tuple[str, ...]]:
        usable = self.extraction.ok
        check = LabelCheck(self.table, usable, alike, self._read, self.run_settings.seed)
        margins = judge(check, self.bounds.folds, self.progress)
        left = len(usable) - margins.n_judged
        findings = label_findings(self.table, margins, self.bounds)
        if not left:
            return findings, ()
        note = (
            f"the labels of {counted(left, 'image')} were not checked: too few other training "
            "images of their class, or of any other class"
        )
        return findings, (note,)

    def _unreadable(self, damaged: dict[int, ImageError]) -> list[Finding]:
        reasons = {row: (error.status, error.reason) for row, error in damaged.items()}
        for number, row in enumerate(self.extraction.rows):
            if row.status != "ok":
                reasons[number] = (row.status, row.reason)
        return [
            Finding(
                kind="unreadable",
                severity="error",
                reason=f"{status}: {reason}",
                images=(image_ref(self.table, number),),
                figures={"status": status},
            )
            for number, (status, reason) in sorted(reasons.items())
        ]

    def _near_leaked(self, alike: Rows, leaked: Rows) -> Rows:
        train, test = self.table.rows("train"), self.table.rows("test")
        return np.setdiff1d(test[np.isin(alike[test], alike[train])], leaked)

    def _read(self, rows: Rows) -> NDArray[np.float32]:
        return self.extraction.matrix(self.kind, rows)
