"""What a test split says with and without the images that the head was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.leaks import contradiction, leaked_test_rows
from offshelf.evaluate.metrics import Evaluation, evaluate
from offshelf.features.extraction import Extraction
from offshelf.jobs.setup.training import Scored


@dataclass(frozen=True, eq=False)
class Leaks:
    """Test images whose bytes also stand in the training split.

    Attributes:
        rows: rows of the image table, int64; only images that were trained on or tested.
        without: figures on the other test images; None where there is no leak, or no
            other test image.
    """

    rows: NDArray[np.int64]
    without: Evaluation | None

    def to_json(self) -> dict[str, Any]:
        """Return ``n_test_in_train``, and the accuracy without those images if there are any.

        >>> Leaks(np.array([], np.int64), None).to_json()
        {'n_test_in_train': 0}
        """
        document: dict[str, Any] = {"n_test_in_train": len(self.rows)}
        if len(self.rows):
            without = self.without
            document["accuracy_without_leaks"] = without.accuracy if without else None
        return document

    def sentence(self) -> str:
        """Return the same on one line, or "" where there is no leak."""
        if not len(self.rows):
            return ""
        n, without = len(self.rows), self.without
        stand = "image also stands" if n == 1 else "images also stand"
        rest = f"accuracy without: {without.accuracy:.2%}" if without else "no others are left"
        return f"{n:,} test {stand} in the training split; {rest}"


def contradictions(table: ImageTable, extraction: Extraction) -> tuple[str, ...]:
    """Return a line about pictures that stand under several labels; none where there is none."""
    line = contradiction(table, _digests(extraction))
    return (line,) if line else ()


def find_leaks(table: ImageTable, extraction: Extraction, scored: Scored) -> Leaks:
    """Return the leaks among the scored test rows, told by content, whatever their label."""
    leaked = leaked_test_rows(table, _digests(extraction))
    rest = np.flatnonzero(~np.isin(scored.rows, leaked))
    leaked = np.intersect1d(leaked, scored.rows)
    if not len(leaked) or not len(rest):
        return Leaks(leaked, None)
    targets, predicted = table.targets()[scored.rows[rest]], scored.scores[rest].argmax(axis=1)
    return Leaks(leaked, evaluate(targets, predicted.astype(np.int64), table.classes))


def _digests(extraction: Extraction) -> list[bytes]:
    return [row.digest if row.status == "ok" else b"" for row in extraction.rows]
