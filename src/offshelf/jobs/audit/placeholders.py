"""Placeholders that stand in a class: pictures of one colour, and notes that there is no image.

A note is drawn: flat, of few greys. It is told from a drawing that belongs to its class by the
company: it stands among photographs, and is unlike them or the same in several classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from offshelf.data.lookalikes import Fingerprint
from offshelf.jobs.audit.doubtful_labels import LabelCheck
from offshelf.jobs.audit.duplicates import image_ref
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.report.findings import Finding
from offshelf.text import counted

Rows = NDArray[np.int64]
# A picture of one colour has at most this deviation of grey, and this share of about one grey.
_ONE_COLOUR, _ALL = 2.0, 0.999
# Of fewer images nothing can be said about what is unlike them.
_LEAST = 4
# Tukey's fence for what lies far out.
_FENCE = 1.5


def placeholder_findings(
    check: LabelCheck, prints: Mapping[int, Fingerprint], bounds: Bounds
) -> list[Finding]:
    """Return a finding for each placeholder with all its copies, the most copies first.

    Args:
        check: the images, their copies and features.
        prints: the fingerprint of each row that has one.
        bounds: what is flat, and of few greys.
    """
    usable = np.array([row for row in check.usable.tolist() if row in prints], np.int64)
    plain = {row for row in usable.tolist() if _is_one_colour(prints[row])}
    drawn = np.array([row for row in usable.tolist() if _is_drawn(prints[row], bounds)], np.int64)
    groups = _groups(check, np.union1d(drawn, np.array(sorted(plain), np.int64)))
    mixed = _among_photographs(check, usable, drawn)
    unlike = {row for rows in _unlike(check, usable, drawn, mixed) for row in rows}
    found = []
    for rows in groups:
        members = set(rows)
        labels = {check.table.labels[row] for row in rows}
        if members & plain:
            reason = "one colour all over"
        elif members & unlike and (members & mixed or len(rows) > 1):
            reason = "drawn, of few colours, and unlike its class"
        elif len(labels) > 1 and members <= mixed:
            reason = f"drawn, of few colours, and the same in {len(labels)} classes"
        else:
            continue
        found.append(_finding(check, rows, reason))
    return sorted(found, key=lambda one: -len(one.images))


def _is_one_colour(found: Fingerprint) -> bool:
    return found.contrast <= _ONE_COLOUR and found.flat >= _ALL


def _is_drawn(found: Fingerprint, bounds: Bounds) -> bool:
    return found.flat >= bounds.flat and found.levels <= bounds.grey_levels


def _groups(check: LabelCheck, rows: Rows) -> list[list[int]]:
    """Return *rows* in groups of copies."""
    groups: dict[int, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(int(check.copies[row]), []).append(row)
    return list(groups.values())


def _among_photographs(check: LabelCheck, usable: Rows, drawn: Rows) -> set[int]:
    """Return the drawn rows of classes of which less than half is drawn."""
    targets = check.table.targets()
    size = len(check.table.classes)
    every = np.bincount(targets[usable], minlength=size)
    few = 2 * np.bincount(targets[drawn], minlength=size) < every
    return set(drawn[few[targets[drawn]]].tolist())


def _unlike(check: LabelCheck, usable: Rows, drawn: Rows, mixed: set[int]) -> Iterator[list[int]]:
    """Yield the drawn rows of each class that lie far out of it.

    Among photographs, by the photographs; else by all images of the class.
    """
    targets = check.table.targets()
    for target in np.unique(targets[drawn]).tolist():
        rows, judged = usable[targets[usable] == target], drawn[targets[drawn] == target]
        others = np.setdiff1d(rows, judged) if int(judged[0]) in mixed else rows
        if len(others) >= _LEAST:
            yield judged[_far_out(check, others, judged)].tolist()


def _far_out(check: LabelCheck, others: Rows, judged: Rows) -> NDArray[np.bool_]:
    features = _unit(check.read(others))
    centre = np.median(features, axis=0)
    low, high = np.quantile(features @ centre, (0.25, 0.75))
    far: NDArray[np.bool_] = _unit(check.read(judged)) @ centre < low - _FENCE * (high - low)
    return far


def _unit(features: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = features.astype(np.float64)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return wide


def _finding(check: LabelCheck, rows: list[int], reason: str) -> Finding:
    number = f"; {counted(len(rows), 'image')}" if len(rows) > 1 else ""
    images = tuple(image_ref(check.table, row) for row in rows)
    labels = sorted({image.label for image in images})
    return Finding(
        kind="placeholder",
        severity="warning",
        reason=f"{reason}{number}",
        images=images,
        figures={"labels": labels, "n": len(rows)},
    )
