"""Copies: images with the same bytes, and images that look and feel nearly the same.

Rows become groups: whatever is linked, directly or through others, is one group, so that
a thousand copies of one picture are one finding and not half a million.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_names import TRAIN
from offshelf.data.tables.image_table import ImageTable
from offshelf.jobs.audit.near_duplicates import Links
from offshelf.report.findings import Finding, ImageRef, Severity
from offshelf.text import counted, listed

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class GroupCounts:
    """How many groups of copies there are.

    Attributes:
        groups: groups of two or more.
        groups_in_both_splits: with training and test images.
        groups_with_two_labels: with images of two classes or more.
    """

    groups: int
    groups_in_both_splits: int
    groups_with_two_labels: int

    def to_json(self) -> dict[str, int]:
        """Return all counts by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class PairCounts(GroupCounts):
    """The same, and how many pairs of byte-identical images there are in those groups.

    Attributes:
        pairs: pairs within the groups.
        pairs_across_splits: pairs of a training and a test image.
        pairs_with_two_labels: pairs of images of two classes.
    """

    pairs: int
    pairs_across_splits: int
    pairs_with_two_labels: int


def image_ref(table: ImageTable, row: int) -> ImageRef:
    """Return one row of the table as an image of a finding."""
    return ImageRef(table.paths[row], table.labels[row], table.splits[row])


def same_bytes(digests: Sequence[bytes]) -> list[Rows]:
    """Return the rows of each distinct digest, ascending; rows without a digest are left out.

    >>> [group.tolist() for group in same_bytes([b"x", b"", b"y", b"x"])]
    [[0, 3], [2]]
    """
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest:
            rows.setdefault(digest, []).append(row)
    return [np.array(group, np.int64) for group in rows.values()]


def identical_findings(
    table: ImageTable, groups: Sequence[Rows], digests: Sequence[bytes]
) -> list[Finding]:
    """Return a finding for every group of two or more rows with the same bytes."""
    found = []
    for rows in groups:
        if len(rows) > 1:
            figures = {"sha256": digests[int(rows[0])].hex(), **_pair_figures(table, rows)}
            found.append(_finding(table, "identical", rows, "same bytes", figures))
    return sorted(found, key=_worst_first)


def near_findings(table: ImageTable, groups: Sequence[Rows], links: Links) -> list[Finding]:
    """Return a finding for every group of different files that the links hold together.

    Args:
        table: the images.
        groups: rows of each distinct file.
        links: confirmed pairs of positions in *groups*.
    """
    found = []
    for members in links.components():
        inside = np.isin(links.left, members)
        bits, cosine = int(links.distance[inside].max()), float(links.cosine[inside].min())
        mirrored = bool(links.mirrored[inside].any())
        how = "mirrored, " if mirrored else ""
        reason = f"{how}{counted(bits, 'bit')} apart, cosine {cosine:.3f}"
        figures = {"distance": bits, "cosine": cosine, "mirrored": mirrored}
        rows = np.sort(np.concatenate([groups[member] for member in members]))
        found.append(_finding(table, "near_duplicate", rows, reason, figures))
    return sorted(found, key=_worst_first)


def copies(n_rows: int, groups: Sequence[Rows], links: Links) -> Rows:
    """Return a number for each row; rows of one number are copies, identical or near.

    Rows that are in no group have numbers of their own.
    """
    roots = links.roots()
    number = len(groups) + np.arange(n_rows)
    for position, rows in enumerate(groups):
        number[rows] = roots[position]
    return number


def count_groups(findings: Sequence[Finding]) -> GroupCounts:
    """Count groups of copies."""
    return GroupCounts(
        len(findings),
        sum(finding.figures["in_both_splits"] for finding in findings),
        sum(len(finding.figures["labels"]) > 1 for finding in findings),
    )


def count_pairs(findings: Sequence[Finding]) -> PairCounts:
    """Count groups of byte-identical images and the pairs within them."""
    names = ("pairs", "pairs_across_splits", "pairs_with_two_labels")
    sums = [sum(finding.figures[name] for finding in findings) for name in names]
    return PairCounts(*dataclasses.astuple(count_groups(findings)), *sums)


def _pair_figures(table: ImageTable, rows: Rows) -> dict[str, int]:
    labels = Counter(table.labels[row] for row in rows.tolist())
    n, n_train = len(rows), sum(table.splits[row] == TRAIN for row in rows.tolist())
    pairs = n * (n - 1) // 2
    return {
        "pairs": pairs,
        "pairs_across_splits": n_train * (n - n_train),
        "pairs_with_two_labels": pairs - sum(k * (k - 1) // 2 for k in labels.values()),
    }


def _finding(
    table: ImageTable, kind: str, rows: Rows, how: str, figures: dict[str, Any]
) -> Finding:
    images = tuple(image_ref(table, int(row)) for row in rows)
    labels = sorted({image.label for image in images})
    across = len({image.split for image in images}) > 1
    reason = how
    if across:
        reason += "; in both splits"
    if len(labels) > 1:
        reason += f"; under {len(labels)} labels: {listed(labels)}"
    severity: Severity = "error" if across or len(labels) > 1 else "warning"
    common = {"labels": labels, "in_both_splits": across}
    return Finding(
        kind=kind, severity=severity, reason=reason, images=images, figures={**common, **figures}
    )


def _worst_first(finding: Finding) -> tuple[bool, bool, int]:
    figures = finding.figures
    return (len(figures["labels"]) < 2, not figures["in_both_splits"], -len(finding.images))
