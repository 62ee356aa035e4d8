"""Copies: images with the same bytes, and near-duplicates by hash and features.

Images that are linked, directly or through others, are one group and one finding: a thousand
copies of a picture would be half a million pairs.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.folders.class_names import TRAIN
from offshelf.data.lookalikes import ClosePairs, close_pairs
from offshelf.data.tables.image_table import ImageTable
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.report.findings import Finding, ImageRef, Severity
from offshelf.text import counted, listed

BATCH_VALUES = 2**23
_MIN_NORM = 1e-12
ReadFeatures = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Links:
    """Confirmed pairs among n pictures.

    Attributes:
        n: the number of pictures.
        left: L positions, int64.
        right: L positions, int64.
        distance: L int64, bits in which the hashes differ.
        mirrored: L bool, whether one is the mirrored other.
        cosine: L float64, of the features.
    """

    n: int
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distance: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    cosine: NDArray[np.float64]

    def roots(self) -> NDArray[np.int64]:
        """Return a number for each picture; linked ones, also through others, share it."""
        return _roots(self.n, self.left, self.right)

    def components(self) -> list[NDArray[np.int64]]:
        """Return the positions of each set of two or more linked pictures, ascending."""
        roots = self.roots()
        order = np.argsort(roots, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(roots[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def find_links(
    hashes: NDArray[np.uint64], read: ReadFeatures, dimension: int, bounds: Bounds
) -> Links:
    """Find the near-duplicates among n pictures.

    Args:
        hashes: n hashes of :func:`offshelf.data.lookalikes.dct_hash`.
        read: returns the features of positions, float32, one row each.
        dimension: columns of those rows.
        bounds: the greatest distance and the least cosine.

    Returns:
        Enough confirmed pairs to link every group; not every pair within a large one.

    >>> features = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> hashes = np.array([0, 2, 0], np.uint64)
    >>> find_links(hashes, lambda at: features[at], 2, Bounds()).components()
    [array([0, 1])]
    """
    n = len(hashes)
    roots, found = np.arange(n), []
    most = max(64, BATCH_VALUES // max(1, dimension))
    for pairs in _batches(close_pairs(hashes, bounds.hash_distance), most):
        apart = pairs.part(np.flatnonzero(roots[pairs.left] != roots[pairs.right]))
        cosine = _cosines(read, apart)
        sure = np.flatnonzero(cosine >= bounds.cosine)
        if len(sure):
            found.append((apart.part(sure), cosine[sure]))
            ends = [(p.left, p.right) for p, _ in found]
            roots = _roots(n, *(np.concatenate(side) for side in zip(*ends, strict=True)))
    joined = ClosePairs.joined([pairs for pairs, _ in found])
    values = np.concatenate([np.empty(0), *(cosine for _, cosine in found)])
    return Links(
        n=n,
        left=joined.left,
        right=joined.right,
        distance=joined.distance,
        mirrored=joined.mirrored,
        cosine=values,
    )


def _batches(tiles: Iterable[ClosePairs], most: int) -> Iterator[ClosePairs]:
    """Yield the same pairs, about *most* at a time."""
    waiting: list[ClosePairs] = []
    count = 0
    for tile in tiles:
        for start in range(0, len(tile), most):
            waiting.append(tile.part(slice(start, start + most)))
            count += len(waiting[-1])
            if count >= most:
                yield ClosePairs.joined(waiting)
                waiting, count = [], 0
    if waiting:
        yield ClosePairs.joined(waiting)


def _cosines(read: ReadFeatures, pairs: ClosePairs) -> NDArray[np.float64]:
    wanted, at = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    if not len(wanted):
        return np.empty(0)
    rows = read(wanted).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _MIN_NORM)
    left, right = at[: len(pairs)], at[len(pairs) :]
    cosines: NDArray[np.float64] = (rows[left] * rows[right]).sum(axis=1, dtype=np.float64)
    return np.clip(cosines, -1.0, 1.0)


def _roots(n: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    roots: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return roots.astype(np.int64)


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
    """Return a finding for every group of different files that *links* join.

    The links are pairs of positions in *groups*, which holds the rows of each distinct file.
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
