"""The result of ``predict`` with a model of several labels for each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from offshelf.jobs.predict_result import PredictResult, not_listed
from offshelf.report import summary
from offshelf.report.label_summary import label_counts, prediction_legend
from offshelf.report.result import Block, Facts
from offshelf.report.tables.label_rows import (
    chosen_label_columns,
    image_labels_table,
    label_prediction_table,
)
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import counted

_OF_ONE_LABEL = ("classes", "n_unknown", "n_unlike", "sorted")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelPredictResult(PredictResult):
    """One prediction per image, each with all its labels."""

    @property
    def n_failed(self) -> int:
        """Images that could not be used."""
        return sum(row.labels is None for row in self.predictions)

    @property
    def n_none(self) -> int:
        """Images with none of the labels."""
        return sum(row.labels == () for row in self.predictions)

    def table(self, columns: Sequence[str] = ()) -> Table:
        """Return a row for each image, with raw values.

        Args:
            columns: names such as ``labels``, ``none``, ``probability:LABEL``, ``probabilities``
                (of all labels) and ``scores``; () for all.

        Raises:
            OffshelfError: there is no column of such a name.
        """
        chosen = chosen_label_columns(columns, self.model.classes)
        return label_prediction_table(self.predictions, chosen)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        document, decisions = super().to_json(), self.model.head.decisions
        own = {key: value for key, value in document.items() if key not in _OF_ONE_LABEL}
        limits = decisions.threshold_probabilities() if decisions else ()
        return own | {
            "labels": list(self.model.classes),
            "thresholds": dict(zip(self.model.classes, limits, strict=True)),
            "calibration": "sigmoid",
            "n_none": self.n_none,
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images have each label, and the model."""
        none = f", {self.n_none:,} with none of the labels" if self.n_none else ""
        yield "images", f"{self.n_ok:,}{none}, {self.n_failed:,} left out"
        found = [(name, n) for name, n in self._counts_of_labels() if n]
        if found:
            yield "labels", ", ".join(f"{name} {n:,}" for name, n in found)
        yield from (pair for pair in super().facts() if pair[0] == "model")

    def blocks(self, top: int = 3, most: int | None = None) -> Iterator[Block]:
        """Yield the labels, with *top* others of an image; counts where a file has them.

        Of more than *most* images the first are listed, None lists all.
        """
        used = [row for row in self.predictions if row.labels is not None]
        failures = [row.to_json() for row in self.predictions if row.labels is None]
        if used and self.out is None:
            listed = used[:most]
            yield image_labels_table(listed, top)
            yield from not_listed(len(used) - len(listed))
        elif used:
            columns = (Column("label"), Column("images", "integer"))
            counts = [*self._counts_of_labels(), ("(none)", self.n_none)]
            yield Table("", columns, tuple(counts))
        if used:
            yield ""
        if self.out is not None:
            words = f"{self.n_ok:,}, {self.n_failed:,} left out{self.extraction.origin}"
            rows = counted(len(self.predictions), "row")
            yield Facts((("images", words), ("file", f"{self.out} ({rows})")))
        yield from summary.failure_lines(failures)
        if used and self.out is None:
            yield from prediction_legend(used)
        if not self.features.trained:
            yield summary.UNTRAINED

    def _counts_of_labels(self) -> list[tuple[str, int]]:
        return label_counts(self.predictions, self.model.classes)
