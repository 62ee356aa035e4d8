"""What is wrong with labelled images: copies, leaks, doubtful labels, odd pictures.

One pass of extraction gives the ledger and the features, one pass of decoding the
fingerprints; everything else is arithmetic on those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.data.tables.image_table import ImageTable
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind
from offshelf.jobs.audit.duplicates import GroupCounts, PairCounts, count_groups, count_pairs
from offshelf.jobs.audit.search import Found, search
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.labelled_features import labelled_features
from offshelf.jobs.setup.opening import describe
from offshelf.jobs.setup.run_costs import Clock
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Progress, Silent
from offshelf.report.findings import Finding, by_kind


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        data: what was audited, as it was named.
        table: the images.
        extraction: the ledger of the images, with the store of their features.
        backbone: network and weights in use.
        kind: the features that confirm near-duplicates and judge labels.
        bounds: from where on something is a finding.
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
    """Look for what makes the accuracy on labelled images mean less than it says.

    Args:
        data: a folder with ``train/`` and ``test/``, a folder of class folders, or a CSV
            or Parquet table with ``path``, ``label`` and perhaps ``split``.
        features: backbone, layer, pooling.
        bounds: from where on something is a finding.
        run: engine, seed, split, limits.
        progress: is told how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.

    >>> audit("no/such/folder")
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: no/such/folder: no such file or folder.
    """
    features, run = features or FeatureSettings(), run or RunSettings()
    bounds, progress, clock = bounds or Bounds(), progress or Silent(), Clock()
    labelled = labelled_features(data, features, run, progress, clock)
    found = search(labelled, bounds, run, progress, clock)
    return AuditResult(
        data=str(data),
        table=labelled.table,
        extraction=labelled.extraction,
        backbone=labelled.backbone,
        kind=labelled.kind,
        bounds=bounds,
        found=found,
        seconds=clock.total(),
    )
