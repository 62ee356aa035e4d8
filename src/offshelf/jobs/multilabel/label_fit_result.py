"""The result of ``fit`` on images with several labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.data.tables.image_table import ImageTable
from offshelf.data.tables.label_table import label_facts
from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.jobs.fit.fit_result import classifier_words, file_words
from offshelf.jobs.setup.grouped_table import describe_groups, group_facts
from offshelf.jobs.setup.labelled_features import contradictions
from offshelf.jobs.setup.settings import describe_features, describe_run, precision_facts
from offshelf.measurement.label_metrics import LabelsEvaluation
from offshelf.model_file.model import Model
from offshelf.report import summary
from offshelf.report.label_summary import label_blocks, label_figure_facts, label_legend
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.label_rows import label_figures_table
from offshelf.report.tables.result_rows import Table


@dataclass(frozen=True)
class LabelLeaks:
    """Test images whose bytes also stand in the training split.

    Attributes:
        n: how many they are.
        without: figures on the other test images; None where there is no leak or nothing left.
    """

    n: int
    without: LabelsEvaluation | None

    def to_json(self) -> dict[str, Any]:
        """Return ``n_test_in_train``, and the mAP without those images if there are any."""
        document: dict[str, Any] = {"n_test_in_train": self.n}
        if self.n:
            found = self.without.mean_average_precision if self.without else None
            document["mean_average_precision_without_leaks"] = found
        return document

    def sentence(self) -> str:
        """Return the same on one line."""
        stand = "image also stands" if self.n == 1 else "images also stand"
        rest = "no others are left"
        if self.without:
            rest = f"mAP without: {100 * self.without.mean_average_precision:.2f} %"
        return f"{self.n:,} test {stand} in the training split; {rest}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelFitResult(OfFeatures, Result):
    """A trained and evaluated classifier of several labels.

    Attributes:
        model: the classifier, also when no file was asked for.
        evaluation: figures on the test split.
        path: the model file, or None.
        extraction: the ledger of the images, with the networks and the stores of their features.
        table: the images.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``fit``,
            ``evaluate``, ``save``, ``total``.
        leaks: test images that also stand in the training split, and figures without them.
    """

    model: Model
    evaluation: LabelsEvaluation
    path: Path | None
    extraction: SetExtraction
    table: ImageTable
    seconds: dict[str, float]
    leaks: LabelLeaks

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notes on the data and the training, one line each."""
        head = self.model.head
        notes = head.decisions.notes if head.decisions else ()
        return (
            *self.table.warnings,
            *contradictions(self.table, self.extraction),
            *head.notes,
            *notes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        head, failures = self.model.head, self.extraction.failures
        return {
            **self.evaluation.to_json(),
            **self.leaks.to_json(),
            "groups": describe_groups(self.table),
            "decisions": head.decisions.to_json() if head.decisions else None,
            "n_train": len(self.extraction.ok) - self.evaluation.n,
            "n_test": self.evaluation.n,
            "n_failed": len(failures),
            "failures": [row.to_json() for row in failures],
            "labels": list(head.classes),
            **describe_features(self.features),
            "dimension": head.dimension,
            "head": head.kind,
            "C": head.parameters.get("C"),
            "normalisation": head.normalisation,
            **describe_run(self.extraction),
            "seconds": self.seconds,
            "warnings": list(self.warnings),
            "model": str(self.path) if self.path else None,
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the figures of all labels together, and what they were got with."""
        yield from label_figure_facts(self.evaluation)
        if self.leaks.n:
            yield "leaks", self.leaks.sentence()
        yield from label_facts(self.table)
        yield from group_facts(self.table)
        document = self.to_json()
        yield (
            "images",
            f"{document['n_train']:,} to train, {document['n_test']:,} to test, "
            f"{document['n_failed']:,} left out{self.extraction.origin}",
        )
        yield (
            "features",
            f"{self.features.title}: {document['dimension']:,} of an image{self.features.changed}",
        )
        words = ", ".join(classifier_words(self.model.head))
        yield "classifier", f"{words}; each label against the rest"
        yield from precision_facts(self.extraction)
        yield "time", f"{summary.seconds_line(self.seconds)}, {self.extraction.ran}"
        yield "model", file_words(self.path, self.model)

    def blocks(self) -> Iterator[Block]:
        """Yield labels, the figures of all, and what was left out."""
        yield from label_blocks(self.evaluation)
        yield from label_legend()
        yield ""
        yield Facts(tuple(self.facts()))
        failures = [row.to_json() for row in self.extraction.failures]
        yield from summary.reservations(failures, self.features.trained)

    def data_table(self) -> Table:
        """Return a row for each label."""
        return label_figures_table(self.evaluation)
