"""The result of ``predict``: one prediction per image, as text, table and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.jobs.setup.settings import describe_features, describe_run
from offshelf.jobs.sorted_folders import (
    SortedImages,
)
from offshelf.model_file.model import Model
from offshelf.prediction import Prediction
from offshelf.report import labels, summary
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.prediction_table import (
    chosen_columns,
    prediction_table,
)
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import counted


def not_listed(n: int) -> Iterator[str]:
    """Yield that *n* images are not listed, and how to see them.

    >>> print(*not_listed(950))
    and 950 more images: --out FILE.csv writes all, and a pipe such as '| less' shows all
    """
    if n:
        more = counted(n, "more image")
        yield f"and {more}: --out FILE.csv writes all, and a pipe such as '| less' shows all"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PredictResult(OfFeatures, Result):
    """One prediction per image.

    Attributes:
        predictions: in the order of the files.
        model: the model.
        path: its file.
        extraction: the ledger of the images, with the store of their features.
        warnings: notes on the images, one line each.
        seconds: ``open`` (load, find weights, self-test) and ``predict``.
        out: the file that was written, or None.
        sorted: where the images were put, or None.
    """

    predictions: tuple[Prediction, ...]
    model: Model
    path: Path
    extraction: SetExtraction
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    out: Path | None = None
    sorted: SortedImages | None = None

    @property
    def engine(self) -> str:
        """The engine and device that ran, for example ``openvino on cpu``."""
        return self.extraction.engine

    @property
    def n_failed(self) -> int:
        """Images without a label."""
        return sum(row.label is None for row in self.predictions)

    @property
    def n_ok(self) -> int:
        """Images with a label."""
        return len(self.predictions) - self.n_failed

    @property
    def n_unlike(self) -> int | None:
        """Images unlike the training images; None where the model keeps no measure of that."""
        if self.model.certainty.unlike is None:
            return None
        return sum(bool(row.unlike) for row in self.predictions)

    def table(self, columns: Sequence[str] = ()) -> Table:
        """Return a row for each image, with raw values.

        Args:
            columns: names such as ``label``, ``probability``, ``score:CLASS``, ``scores``
                (of all classes) and ``probabilities``; () for all.

        Raises:
            OffshelfError: there is no column of such a name.
        """
        model = self.model
        chosen = chosen_columns(columns, model.classes, model.certainty, model.rule)
        return prediction_table(self.predictions, chosen)

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        return {
            "model": str(self.path),
            **describe_features(self.features),
            **describe_run(self.extraction),
            "classes": list(self.model.classes),
            "n_ok": self.n_ok,
            "n_failed": self.n_failed,
            "n_unknown": sum(row.unknown for row in self.predictions),
            "n_unlike": self.n_unlike,
            "calibration": self.model.certainty.kind,
            "decision": self.model.rule.to_json() if self.model.rule else None,
            "predictions": [row.to_json() for row in self.predictions],
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "out": str(self.out) if self.out else None,
            "sorted": self.sorted.to_json() if self.sorted else None,
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images there are of each label, and the model."""
        unknown = sum(row.unknown for row in self.predictions)
        rejected = f", {unknown:,} of them unknown" if unknown else ""
        yield "images", f"{self.n_ok:,} labelled{rejected}, {self.n_failed:,} left out"
        found = Counter(row.label for row in self.predictions if row.label is not None)
        if found:
            yield "labels", ", ".join(f"{name} {n:,}" for name, n in found.most_common())
        network = f"{self.features.title}{self.features.changed}"
        yield "model", f"{self.path}: {network}"

    def blocks(self, top: int = 3, most: int | None = None) -> Iterator[Block]:
        """Yield the labels, with *top* classes of an image; counts where files have them.

        Of more than *most* images the first are listed, None lists all.
        """
        labelled = [row for row in self.predictions if row.label is not None]
        failures = [row.to_json() for row in self.predictions if row.label is None]
        kept = self.out is not None or self.sorted is not None
        if labelled:
            rows = labelled[:most]
            yield self._counts(labelled) if kept else labels.label_table(rows, self.model, top)
            if not kept:
                yield from not_listed(len(labelled) - len(rows))
            yield ""
        if kept:
            yield Facts(tuple(self._kept()))
        yield from summary.failure_lines(failures)
        if self.sorted:
            yield from summary.failure_lines(self.sorted.not_sorted)
        if not kept:
            yield from labels.legend(labelled, self.model)
        if not self.features.trained:
            yield summary.UNTRAINED

    def _counts(self, labelled: Sequence[Prediction]) -> Table:
        """Return how many images each folder has that they were sorted into, else each label."""
        if self.sorted is None:
            return labels.count_table(labelled)
        columns = Column("folder"), Column("images", "integer")
        return Table("", columns, tuple(self.sorted.counts.items()))

    def _kept(self) -> Iterator[tuple[str, str]]:
        yield "images", f"{self.n_ok:,}, {self.n_failed:,} left out{self.extraction.origin}"
        if self.sorted:
            yield "sorted", self.sorted.sentence()
        if self.n_unlike:
            yield "unlike", f"{self.n_unlike:,} marked as {labels.UNLIKE}{self._apart()}"
        if self.out:
            yield "file", f"{self.out} ({counted(len(self.predictions), 'row')})"

    def _apart(self) -> str:
        """Return where the images are that were marked, which may be rejected ones, too."""
        number = self.sorted.counts.get(self.sorted.unlike) if self.sorted else None
        if self.sorted is None or not number:
            return ""
        some = "" if number == self.n_unlike else f" {number:,} of them"
        return f",{some} in {self.sorted.folder / self.sorted.unlike}"

    def data_table(self) -> Table:
        """Return a row for each image, failures too."""
        return self.table()
