"""The result of ``fit``: a classifier, how good it is, and what it took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offshelf.data.folders.class_names import TEST
from offshelf.data.tables.image_table import ImageTable
from offshelf.feature_sets.set_extraction import OfFeatures, SetExtraction
from offshelf.heads.head import FittedHead
from offshelf.heads.regularisation_path import is_end
from offshelf.jobs.fit.evaluation import Leaks
from offshelf.jobs.setup.grouped_table import describe_groups, group_facts
from offshelf.jobs.setup.labelled_features import contradictions
from offshelf.jobs.setup.settings import describe_features, describe_run, precision_facts
from offshelf.measurement.decisions import Decisions
from offshelf.measurement.group_interval import group_interval
from offshelf.measurement.metrics import Evaluation
from offshelf.measurement.probability_metrics import Trust
from offshelf.model_file.model import Model
from offshelf.report import imbalance, summary
from offshelf.report.decision_blocks import decision_blocks, decision_facts
from offshelf.report.mistakes import Mistake, mistake_blocks
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.result_rows import Table, per_class_table


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FitResult(OfFeatures, Result):
    """A trained and evaluated classifier.

    Attributes:
        model: the classifier, also when no file was asked for.
        evaluation: figures on the test split.
        path: the model file, or None.
        extraction: the ledger of the images, with the networks and the stores of their features.
        table: the images.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``fit``,
            ``probabilities``, ``evaluate``, ``save``, ``total``.
        leaks: test images that also stand in the training split, and figures without them.
        trust: how far probabilities and rejections hold on the test split.
        mistakes: the test images that are predicted as another class, the surest first.
        decisions: what the rule changes on the test split; None without one.
    """

    model: Model
    evaluation: Evaluation
    path: Path | None
    extraction: SetExtraction
    table: ImageTable
    seconds: dict[str, float]
    leaks: Leaks
    trust: Trust
    mistakes: tuple[Mistake, ...]
    decisions: Decisions | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notes on the data and the training, one line each."""
        model = self.model
        torn = contradictions(self.table, self.extraction)
        return (*self.table.warnings, *torn, *model.head.notes, *model.certainty.notes)

    @property
    def group_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the accuracy over groups to test; None where there are not two."""
        if not self.table.groups:
            return None
        rows = np.intersect1d(self.table.rows(TEST), self.extraction.ok).tolist()
        wrong = {mistake.path for mistake in self.mistakes}
        right = np.array([self.table.paths[row] not in wrong for row in rows])
        return group_interval(right, [self.table.groups[row] for row in rows])

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        head, failures = self.model.head, self.extraction.failures
        return {
            **self.evaluation.to_json(),
            **self.leaks.to_json(),
            "groups": describe_groups(self.table),
            "accuracy_interval_of_groups": list(self.group_interval or ()) or None,
            **self.trust.to_json(),
            "decision": self.decisions.to_json() if self.decisions else None,
            "certainty": self.model.certainty.to_json(),
            "n_train": len(self.extraction.ok) - self.evaluation.n,
            "n_test": self.evaluation.n,
            "n_failed": len(failures),
            "failures": [row.to_json() for row in failures],
            "classes": list(head.classes),
            **describe_features(self.features),
            "dimension": head.dimension,
            "head": head.kind,
            "C": head.parameters.get("C"),
            "normalisation": head.normalisation,
            **describe_run(self.extraction),
            "seconds": self.seconds,
            "warnings": list(self.warnings),
            "model": str(self.path) if self.path else None,
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the figures of all classes together, and what they were got with."""
        yield from imbalance.accuracy_facts(self.evaluation, self.model)
        yield from decision_facts(self.decisions)
        yield from summary.probability_facts(self.trust)
        if len(self.leaks.rows):
            yield "leaks", self.leaks.sentence()
        yield from group_facts(self.table)
        if self.group_interval:
            low, high = self.group_interval
            yield (
                "",
                "images of a group are alike: over groups, the 95 % interval of the accuracy is "
                f"{100 * low:.2f} to {100 * high:.2f} %",
            )
        yield from self._work()
        yield "model", file_words(self.path, self.model)

    def blocks(self) -> Iterator[Block]:
        """Yield classes, confusions, mistakes, the figures of all and what was left out."""
        yield from summary.classes_blocks(self.evaluation)
        yield ""
        yield from mistake_blocks(self.mistakes, self.evaluation.n)
        yield from decision_blocks(self.decisions)
        yield Facts(tuple(self.facts()))
        failures = [row.to_json() for row in self.extraction.failures]
        yield from summary.reservations(failures, self.features.trained)

    def data_table(self) -> Table:
        """Return a row for each class."""
        return per_class_table(self.evaluation)

    def _work(self) -> Iterator[tuple[str, str]]:
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
        if self.table.corrected:
            yield "corrected", self.table.corrected.sentence
        yield "classifier", ", ".join(classifier_words(self.model.head))
        yield from precision_facts(self.extraction)
        yield "time", f"{summary.seconds_line(self.seconds)}, {self.extraction.ran}"


def file_words(path: Path | None, model: Model) -> str:
    """Return where a model was written, and how many images it holds."""
    if path is None:
        return "not kept; --out MODEL.offshelf keeps it"
    kept = len(model.samples)
    images = f" (holds {kept} of your test images for its self-test)" if kept else ""
    return f"{path}{images}"


def classifier_words(head: FittedHead) -> Iterator[str]:
    """Yield what a head is, and what was chosen of it."""
    yield head.kind
    for key, text in (("C", "C"), ("k", "neighbours")):
        if key in head.parameters:
            yield f"{text} = {head.parameters[key]:g}{_chosen(key, head)}"
    if head.reduction != "none":
        yield head.reduction
    if "class_weight" in head.parameters:
        yield "classes balanced"


def _chosen(key: str, head: FittedHead) -> str:
    """Return of how many values the value of C was chosen, "" where it was given."""
    grid = head.parameters.get("C_grid")
    if key != "C" or not grid:
        return ""
    end = ", the end of what is tried" if is_end(head.parameters[key]) else ""
    tried = f"the best of {len(grid)} from {min(grid):.3g} to {max(grid):.3g}"
    return f" ({tried}, by cross-validation{end})"
