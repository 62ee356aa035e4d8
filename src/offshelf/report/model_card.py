"""The card of a model file: what it is, from what, how good, what it needs, what it holds.

What the file states is shown as text, where it is of the right kind, and nothing else is made of
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.data.tables.image_table import Corrected
from offshelf.heads.probabilities.probability_model import UNMARKED
from offshelf.heads.probabilities.rejection import IN_WORDS, Threshold
from offshelf.model_file.feature_record import BackboneRecord
from offshelf.model_file.model import Model
from offshelf.report.decision_blocks import MOST_PROBABLE
from offshelf.report.label_card import label_card_facts, label_card_table
from offshelf.report.labels import UNLIKE
from offshelf.report.result import Block, Facts, Result
from offshelf.report.stated import as_object, by_name, interval_text, number, text, whole
from offshelf.report.summary import MAX_CLASSES, UNTRAINED
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import counted

_DIGITS = 16
_NOT_STATED = "not stated (made by an earlier offshelf)"


@dataclass(frozen=True)
class Part:
    """One part of a model file.

    Attributes:
        name: inside the zip.
        size: bytes.
        sha256: 64 hexadecimal digits.
        holds: what it is for.
    """

    name: str
    size: int
    sha256: str
    holds: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelCard(Result):
    """What a model file says of itself.

    Attributes:
        path: the file.
        size: its bytes.
        sha256: of the whole file.
        model: the classifier in it.
        parts: what it is made of.
        weights: where the weights that it needs are on this machine; "" where they are not.
    """

    path: Path
    size: int
    sha256: str
    model: Model
    parts: tuple[Part, ...]
    weights: str

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what it is, from what, how good, and what it needs."""
        several = ("label", "labels") if self.model.head.decisions else ("class", "classes")
        yield "model", f"{self.path}: {counted(len(self.model.classes), *several)}"
        yield "classifier", self._classifier()
        yield "made", self._made()
        yield from self._data()
        yield from self._figures()
        yield from self._needs()
        yield "file", f"{format_cell(self.size, 'bytes')}, sha256 {self.sha256}"

    def blocks(self) -> Iterator[Block]:
        """Yield the facts, the classes and the parts."""
        yield Facts(tuple(self.facts()))
        yield ""
        yield self._classes()
        left = len(self.model.classes) - MAX_CLASSES
        if left > 0:
            yield f"... {left:,} more classes; --json has all"
        yield ""
        yield self._holds()
        if any(one.calibrated for one in self.model.features.networks):
            yield "The int8 network is parsed by OpenVINO: use it only from people you trust."
        if not self.model.features.trained:
            yield UNTRAINED

    def data_table(self) -> Table:
        """Return a row for each class."""
        return self._classes(len(self.model.classes))

    def to_json(self) -> dict[str, Any]:
        """Return the card as one JSON document."""
        model = self.model
        backbone, weights = model.backbone, model.backbone.spec.weights[0]
        return {
            "model": str(self.path),
            "size": self.size,
            "sha256": self.sha256,
            "schema": model.schema,
            "classes": list(model.classes),
            "head": model.head.kind,
            "parameters": dict(model.head.parameters),
            "normalisation": model.head.normalisation,
            "reduction": model.head.reduction,
            "backbone": backbone.spec.name,
            "features": str(model.features),
            "flips": model.features.flips,
            "layer": model.kind.layer,
            "pooling": model.kind.pooling,
            "dimension": model.head.dimension,
            "input": backbone.input.to_json(),
            "precision": backbone.precision,
            "made_on": backbone.platform,
            "trained_weights": backbone.trained,
            "weights": {
                "file_name": weights.file_name,
                "tag": weights.tag,
                "sha256": weights.sha256,
                "size": weights.size,
                "licence": weights.licence,
                "here": self.weights or None,
            },
            **self._probabilities(),
            "decision": model.rule.to_json() if model.rule else None,
            "metrics": dict(model.metrics),
            "data": dict(model.data),
            "versions": dict(model.versions),
            "n_training_hashes": len(model.seen),
            "n_samples": len(model.samples),
            "parts": [vars(part) for part in self.parts],
            "arrays": [
                {"name": name, "shape": list(array.shape), "type": str(array.dtype)}
                for name, array in sorted(model.head.arrays.items())
            ],
        }

    def _probabilities(self) -> dict[str, Any]:
        decisions = self.model.head.decisions
        if decisions is None:
            return {"calibration": self.model.certainty.kind}
        return {"calibration": "sigmoid", "decisions": decisions.to_json()}

    def _classifier(self) -> str:
        head, features = self.model.head, self.model.features
        c = number(head.parameters, "C")
        words = [head.kind, *([f"C = {c:g}"] if c is not None else [])]
        words += [] if head.reduction == "none" else [head.reduction]
        flips = "" if features.flips == "none" else f"; mirror images: {features.flips}"
        on = f"{features.title}: {head.dimension:,} features of an image{flips}"
        return f"{', '.join(words)}, on {on}"

    def _made(self) -> str:
        versions = self.model.versions
        date = text(self.model.data, "date") or "on a day that is not stated"
        names = ("offshelf", "python", "torch", "openvino")
        found = [(name, text(versions, name)) for name in names]
        return ", ".join([date, *(f"{name} {version}" for name, version in found if version)])

    def _data(self) -> Iterator[tuple[str, str]]:
        data = self.model.data
        count, failed = number(data, "n_images"), number(data, "n_failed")
        name, digest = text(data, "name"), text(data, "images_sha256")
        words = [f"'{name}'"] if name else []
        words += [f"{count:,.0f} images"] if count is not None else []
        words += [f"{failed:,.0f} left out"] if failed is not None else []
        words += [f"fingerprint {digest[:_DIGITS]}"] if digest else []
        yield "data", ", ".join(words) or _NOT_STATED
        yield "trained on", counted(len(self.model.seen), "different image")
        groups, both = (
            whole(as_object(data.get("groups")), key) for key in ("n", "in_both_splits")
        )
        if groups is not None:
            crossing = f"; {both:,} stood in both splits" if both else ""
            yield "groups", f"{counted(groups, 'group')}, kept together{crossing}"
        changed = as_object(data.get("corrections"))
        relabelled, left = (whole(changed, key) for key in ("relabelled", "left_out"))
        if relabelled is not None and left is not None:
            yield "corrected", Corrected(relabelled, left, "").sentence

    def _figures(self) -> Iterator[tuple[str, str]]:
        metrics, decisions = self.model.metrics, self.model.head.decisions
        if decisions is not None:
            yield from label_card_facts(decisions, metrics)
            return
        accuracy, n = number(metrics, "accuracy"), number(metrics, "n")
        on = "" if n is None else f" on {counted(int(n), 'test image')}"
        said = (
            "not stated"
            if accuracy is None
            else f"{100 * accuracy:.2f} %{interval_text(metrics.get('accuracy_interval'))}{on}"
        )
        yield "accuracy", said
        balanced = number(metrics, "balanced_accuracy")
        if balanced is not None:
            yield "balanced", f"{100 * balanced:.2f} %, the mean recall of the classes"
        certainty = self.model.certainty
        yield "probability", f"{certainty.kind} scaling" if certainty.calibration else "none"
        if self.model.rule:
            yield "decides", self.model.rule.sentence(self.model.classes)
            yield from self._mean_cost()
        if certainty.threshold:
            share = f"about {100 * certainty.threshold.false_reject:.3g} % of known images"
            yield "rejects", f"{share}: {_bound(certainty.threshold)}"
        told = [note for note in certainty.notes if note.startswith(UNMARKED)]
        without = next(iter(told), f"{UNMARKED}: it keeps no measure of that")
        yield "marks", f"{UNLIKE}: {_bound(certainty.unlike)}" if certainty.unlike else without

    def _mean_cost(self) -> Iterator[tuple[str, str]]:
        costs = as_object(as_object(self.model.metrics.get("decision")).get("mean_cost"))
        decided, other = (number(costs, key) for key in ("decided", "most_probable"))
        if decided is not None and other is not None:
            yield "mean cost", f"{decided:.4g} of an image, {other:.4g} by the {MOST_PROBABLE}"

    def _needs(self) -> Iterator[tuple[str, str]]:
        networks = self.model.features.networks
        for network in networks:
            yield from _needs_of(network)
        if any(network.trained for network in networks):
            names = ", ".join(dict.fromkeys(network.spec.name for network in networks))
            missing = (
                f"not on this machine: 'offshelf weights add FILE --backbone {names}' brings it"
            )
            yield "weights", f"here: {self.weights}" if self.weights else missing
        for network in networks:
            yield from _input_of(network)
        if reason := text(self.model.data, "precision_reason"):
            yield "precision", f"{self.model.backbone.precision}, chosen by auto: {reason}"

    def _classes(self, most: int = MAX_CLASSES) -> Table:
        counts, head = self.model.data.get("classes"), self.model.head
        if head.decisions is not None:
            return label_card_table(head, head.decisions, counts, self.model.metrics, most)
        figures = by_name(self.model.metrics.get("per_class"))
        columns = (
            Column("class"),
            Column("to train", "integer"),
            Column("to test", "integer"),
            Column("precision", "percent"),
            Column("recall", "percent"),
            Column("F1", "percent"),
        )
        rows = []
        for name in self.model.classes[:most]:
            of, row = as_object(as_object(counts).get(name)), figures.get(name, {})
            tested = whole(of, "test")
            cells: tuple[Cell, ...] = (
                whole(of, "train"),
                whole(row, "n") if tested is None else tested,
                *(number(row, key) for key in ("precision", "recall", "f1")),
            )
            rows.append((name, *cells))
        return Table("", columns, tuple(rows))

    def _holds(self) -> Table:
        columns = (Column("part"), Column("size", "bytes"), Column("sha256"), Column("holds"))
        rows = tuple((p.name, p.size, p.sha256[:_DIGITS], p.holds) for p in self.parts)
        return Table("", columns, rows)


def _needs_of(network: BackboneRecord) -> Iterator[tuple[str, str]]:
    if not network.trained:
        yield "needs", "no weights file: they are random"
        return
    weights = network.spec.weights[0]
    size = format_cell(weights.size, "bytes") if weights.size else ""
    words = [weights.file_name or weights.tag, size, weights.licence]
    digest = f"sha256 {weights.sha256[:_DIGITS]}..."
    yield "needs", ", ".join([*filter(None, words), digest])


def _input_of(network: BackboneRecord) -> Iterator[tuple[str, str]]:
    spec, own = network.input, network.spec.weights[0].input
    side = f"{spec.size} x {spec.size} pixels"
    usual = dataclasses.replace(own, resize=spec.resize, size=spec.size)
    words = [side, spec.resize, spec.interpolation, *spec.changes(usual)]
    yield "input", f"{', '.join(words)}; {network.precision}"


def _bound(found: Threshold) -> str:
    """Return what is beyond the bound, and from how many images it comes."""
    side = "below" if found.measure == "confidence" else "beyond"
    beyond = f"{found.rejected:,} of {found.n:,} training images held out"
    return f"{side} {found.value:.3g} {IN_WORDS[found.measure]}, as {beyond}"
