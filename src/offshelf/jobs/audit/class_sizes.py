"""Classes that are too small, or of very different size, counted on usable training images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.jobs.audit.thresholds import Bounds
from offshelf.report.findings import Finding
from offshelf.text import counted


def class_findings(table: ImageTable, usable: NDArray[np.int64], bounds: Bounds) -> list[Finding]:
    """Return a finding for every small class, and one when the sizes are far apart.

    >>> table = ImageTable(("a", "b"), ("x", "y"), ("train", "train"), ("x", "y"), ())
    >>> class_findings(table, np.array([0]), Bounds(class_size=1))[0].reason
    "'y': 0 usable training images"
    """
    train = np.intersect1d(table.rows("train"), usable)
    counts = np.bincount(table.targets()[train], minlength=len(table.classes))
    found = []
    for name, n in zip(table.classes, counts.tolist(), strict=True):
        if n < bounds.class_size:
            reason = f"{name!r}: {counted(n, 'usable training image')}"
            found.append(
                Finding(
                    kind="small_class",
                    severity="warning",
                    reason=reason,
                    figures={"class": name, "n": n},
                )
            )
    return found + _imbalance(table.classes, counts, bounds)


def _imbalance(
    classes: tuple[str, ...], counts: NDArray[np.int64], bounds: Bounds
) -> list[Finding]:
    present = np.flatnonzero(counts)
    if not len(present):
        return []
    least = present[counts[present].argmin()]
    most = int(counts.argmax())
    ratio = float(counts[most] / counts[least])
    if ratio < bounds.imbalance:
        return []
    small, large = classes[int(least)], classes[most]
    reason = f"{counts[most]} training images of {large!r}, {counts[least]} of {small!r}"
    figures = {"ratio": round(ratio, 4), "largest": large, "smallest": small}
    return [Finding(kind="imbalance", severity="warning", reason=reason, figures=figures)]
