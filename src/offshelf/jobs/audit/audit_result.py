"""The result of an audit: its findings, how many of each kind, and what they are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.data.folders.class_names import TRAIN
from offshelf.data.tables.corrections import LEAVE_OUT, Correction, absolute
from offshelf.data.tables.image_table import ImageTable
from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.jobs.audit.duplicates import GroupCounts, PairCounts, count_groups, count_pairs
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.jobs.setup.grouped_table import describe_groups, group_facts
from offshelf.jobs.setup.settings import describe_features, describe_run, precision_facts
from offshelf.report import summary
from offshelf.report.findings import (
    SEVERITIES,
    Finding,
    ImageRef,
    by_kind,
    findings_blocks,
    short_names,
)
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import noun, shown

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Found(Brief):
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AuditResult(OfFeatures, Result):
    """What an audit found.

    Attributes:
        data: what was audited, as it was named.
        table: the images.
        extraction: the ledger of the images, with the features that confirm near-duplicates and
            judge labels.
        bounds: thresholds of the findings.
        found: the findings, the leaked rows, and what could not be checked.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``fingerprints``,
            ``duplicates``, ``labels``, ``total``.
        listed_in: the file that lists all findings, None where none was written.
        corrections_in: the file of the images to decide about, None where none was written.
        waiting: how many images of that file wait for a decision.
    """

    data: str
    table: ImageTable
    extraction: SetExtraction
    bounds: Bounds
    found: Found
    seconds: dict[str, float]
    listed_in: Path | None = None
    corrections_in: Path | None = None
    waiting: int = 0

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
        many = self.severities
        lines = [
            (
                "data",
                f"{len(table):,} {noun(len(table), 'image')} of {len(table.classes):,} "
                f"{noun(len(table.classes), 'class', 'classes')}, "
                f"{len(table.rows('train')):,} to train, {len(table.rows('test')):,} to test"
                f"{self.extraction.origin}",
            ),
            ("found", ", ".join(f"{many[word]:,} {noun(many[word], word)}" for word in SEVERITIES)),
            (
                "identical",
                f"{same.pairs:,} {noun(same.pairs, 'pair')} of files with the same bytes: "
                f"{same.pairs_across_splits:,} across the splits, "
                f"{same.pairs_with_two_labels:,} under two labels",
            ),
            (
                "similar",
                f"{near.groups:,} {noun(near.groups, 'group')} of near-duplicates: "
                f"{near.groups_in_both_splits:,} in both splits, "
                f"{near.groups_with_two_labels:,} under two labels",
            ),
            (
                "leaks",
                f"{leaked:,} test {noun(leaked, 'image has', 'images have')} the bytes of a "
                f"training image, {close:,} more "
                f"{noun(close, 'is a near-duplicate', 'are near-duplicates')} of one",
            ),
        ]
        if table.corrected:
            lines.insert(1, ("corrected", table.corrected.sentence))
        lines += group_facts(table)
        return [*lines, *(("unchecked", note) for note in self.found.notes)]

    def blocks(self) -> Iterator[Block]:
        """Yield the counts of all kinds, the findings of each, and what they are of."""
        folder, names = short_names(self.table.paths)
        file = str(self.listed_in or "")
        yield from findings_blocks(self.findings, self.bounds.sentences(), names, file)
        yield ""
        time = f"{summary.seconds_line(self.seconds)}, {self.extraction.ran}"
        below = [("paths", f"below {folder}")] if folder else []
        yield Facts((*below, *self.facts(), *precision_facts(self.extraction), ("time", time)))
        yield from summary.reservations((), self.features.trained)
        yield f"next: {self._next()}"

    def _next(self) -> str:
        """Say what a person does with the findings."""
        if self.corrections_in and self.waiting:
            return (
                f"look at what is listed, and fill in the column decision of "
                f"{shown(self.corrections_in)}; fit, compare, curve and audit carry that out"
            )
        if self.corrections_in and self.corrections():
            return (
                f"all images of {shown(self.corrections_in)} are decided about; fit, compare, "
                "curve and audit carry that out"
            )
        if self.corrections():
            return (
                "look at what is listed; --corrections FILE.csv writes the images to decide about, "
                "and fit, compare, curve and audit take that file with your decisions"
            )
        if self.severities["error"]:
            return "remove or move the files of the errors above, and audit again"
        return (
            "nothing was found that has to be mended, though an audit misses some wrong labels; "
            "'offshelf fit DATA --out MODEL.offshelf' trains, and its --errors FILE.csv lists the "
            "test images that it gets wrong"
        )

    def corrections(self) -> list[Correction]:
        """Return the images that a person should decide about, with a suggestion for each.

        Of copies, identical or near, one stays, in training where one is; the others are to be
        left out, or to get the label that most have. Copies under two labels are all listed, and
        where no label has the most, none is suggested but by the label check. Placeholders, and
        identical images with hardly any contrast, are all to be left out.
        """
        digests = dict(zip(self.table.paths, self.extraction.rows, strict=True))
        return [
            Correction(
                path=absolute(path),
                sha256=digests[path].digest.hex(),
                label=label,
                suggestion=suggestion,
            )
            for path, (label, suggestion) in self._suggestions().items()
        ]

    def _suggestions(self) -> dict[str, tuple[str, str]]:
        """Return the label of each image to decide about, and what is suggested."""
        found = {
            one.images[0].path: (one.images[0].label, str(one.figures["suggested"]))
            for one in self.of_kind("doubtful_label")
        }
        for path, (label, suggestion) in self._copies().items():
            if suggestion or path not in found:
                found[path] = (label, suggestion)
        table = self.table
        out = [(table.paths[k], table.labels[k]) for k in self.found.leaked.tolist()]
        out += [(one.path, one.label) for f in self.of_kind("placeholder") for one in f.images]
        return found | {path: (label, LEAVE_OUT) for path, label in out}

    def _copies(self) -> dict[str, tuple[str, str]]:
        """Return label and suggestion of the images in groups of copies."""
        found: dict[str, tuple[str, str]] = {}
        seen: set[str] = set()
        flat = {one.images[0].path for one in self.of_kind("low_contrast")}
        same = {image.path for one in self.of_kind("identical") for image in one.images}
        # A group of near-duplicates holds the identical ones of its members.
        for group in (*self.of_kind("near_duplicate"), *self.of_kind("identical")):
            paths = {one.path for one in group.images}
            if paths & seen:
                continue
            seen |= paths
            if paths <= flat and paths & same:
                found |= {one.path: (one.label, LEAVE_OUT) for one in group.images}
            else:
                found |= of_copies(group.images)
        return found

    def data_table(self) -> Table:
        """Return a row for each image of each finding; one where a finding is about a class."""
        cells = (
            (number, one.kind, one.severity, one.reason, *_image_cells(image))
            for number, one in enumerate(self.findings, 1)
            for image in one.images or (None,)
        )
        return Table("Findings", FINDING_COLUMNS, tuple(cells))

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
            "groups": describe_groups(self.table),
            "n_test_in_train": len(self.found.leaked),
            "n_test_near_train": len(self.found.near_leaked),
            "findings": [finding.to_json() for finding in self.findings],
            "bounds": self.bounds.to_json(),
            **describe_features(self.features),
            **describe_run(self.extraction),
            "warnings": [*self.table.warnings, *self.found.notes],
            "seconds": self.seconds,
            "page": None,
        }


def of_copies(images: Sequence[ImageRef]) -> dict[str, tuple[str, str]]:
    """Return label and suggestion of each image of one group of copies; ``""`` suggests nothing.

    >>> of_copies([ImageRef("a", "cat", "train"), ImageRef("b", "cat", "test")])
    {'b': ('cat', 'leave out')}
    """
    counts = Counter(one.label for one in images)
    most = max(counts.values())
    best = [label for label, count in counts.items() if count == most]
    stays = min(images, key=lambda one: (one.split != TRAIN, one.label not in best))
    found = {}
    for one in images:
        suggestion = ""
        # Whatever its label should be, a test image that is trained on measures memory.
        if stays.split == TRAIN != one.split:
            suggestion = LEAVE_OUT
        elif len(best) == 1 and one.label != best[0]:
            suggestion = best[0]
        elif len(best) == 1 and one is not stays:
            suggestion = LEAVE_OUT
        if one is not stays or len(counts) > 1:
            found[one.path] = (one.label, suggestion)
    return found


FINDING_COLUMNS = (
    Column("finding", "integer"),
    *map(Column, ("kind", "severity", "reason", "path", "label", "split")),
)


def _image_cells(image: ImageRef | None) -> tuple[str | None, ...]:
    return (None, None, None) if image is None else tuple(image.to_json().values())
