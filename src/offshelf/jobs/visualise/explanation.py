"""The explanation of a decision: its maps as a picture, as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offshelf.features.network_input import NetworkInput
from offshelf.jobs.visualise.attribution import ClassMap
from offshelf.jobs.visualise.picture_files import picture_path, safe, write_picture
from offshelf.model_file.model import Model
from offshelf.prediction import Prediction
from offshelf.report.labels import UNLIKE, claims, marked, marks
from offshelf.report.pictures.activation_tiles import Caption, Look
from offshelf.report.pictures.canvas import form_of
from offshelf.report.pictures.heat_maps import Panel, explanation_picture
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Drawn, Result
from offshelf.report.summary import failure_lines
from offshelf.report.tables.prediction_table import unknown_cell, unlike_cell
from offshelf.report.tables.result_rows import Column, Table

# Of several images, in a notebook.
MOST_PICTURES = 12


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explanation(Drawn):
    """What speaks for a class and against another. Prints itself; notebooks show it.

    Attributes:
        network_input: the network input of the image.
        label: the class explained, the predicted one unless another was asked for.
        method: ``exact`` or ``gradcam``.
        layer: whose cells are shown.
        length: what the features were divided by: their Euclidean norm with a head on
            l2-normalised features, else 1. Every cell is divided by it, so it scales the
            map and moves nothing in it.
        answer: what the model says of the image.
        shown: the class explained and its rival: the best other, or the true one of an image
            that is wrongly labelled.
        model: the model; its backbone's name and layer are part of the result.
        true: the class of the image, "" where it is not known.
        path: the model's file, or None.
    """

    network_input: NetworkInput
    label: str
    method: str
    layer: str
    length: float
    answer: Prediction
    shown: tuple[ClassMap, ClassMap]
    model: Model
    true: str = ""
    path: Path | None = None

    @property
    def scores(self) -> dict[str, float]:
        """Class -> decision value, the largest first."""
        return self.answer.scores

    @property
    def predicted(self) -> str:
        """What the model calls it: the largest score or, of a model with one, its rule decides."""
        return self.answer.label or next(iter(self.scores))

    @property
    def probability(self) -> float | None:
        """Of the predicted class, 0 to 1; None where the model has no probabilities."""
        return self.answer.probabilities.get(self.predicted)

    @property
    def wrong(self) -> bool:
        """Whether the image is known to be of another class than predicted."""
        return self.true not in ("", self.predicted)

    @property
    def verdict(self) -> str:
        """What was predicted, how sure the model is, the marks, and whether it is wrong."""
        said, sure = marked(self.answer, claims(self.model)), self.probability
        said = said if sure is None else f"{said} {100 * sure:.2f} %"
        said = f"{said}, {UNLIKE}" if self.answer.unlike else said
        if not self.true:
            return said
        return f"{said}, wrong: it is {self.true}" if self.wrong else f"{said}, right"

    @property
    def panels(self) -> tuple[tuple[str, ClassMap], ...]:
        """The maps that are shown, each with its title.

        With two classes one is enough: what speaks for one speaks against the other.
        """
        first, rival = self.shown
        between = f"{first.name} rather than {rival.name}", self.difference
        if len(self.scores) > 2:
            return (first.name, first), (rival.name, rival), between
        mirrored = np.allclose(first.cells, -rival.cells, atol=1e-6 + 1e-4 * abs(first.cells).max())
        return ((between[0], first),) if mirrored else (between,)

    @property
    def difference(self) -> ClassMap:
        """What speaks for the class and against its rival, cell by cell."""
        return self.shown[0].minus(self.shown[1])

    @property
    def exact(self) -> bool:
        """Whether cells, elsewhere and bias add up to the score."""
        return self.method == "exact"

    def picture(self, look: Look | None = None, smooth: bool = False) -> bytes:
        """Return the heat maps over what the network saw as PNG or SVG bytes."""
        panels = [Panel(name, _sum_text(one, self.exact), one.cells) for name, one in self.panels]
        title = f"{self.network_input.title}: {self.verdict}"
        if self.label != self.predicted:
            title += f"; explained for {self.label}"
        return explanation_picture(
            self.network_input.pixels, panels, Caption(title, self._how()), look, smooth
        )

    def write(
        self,
        out: str | Path | None = None,
        look: Look | None = None,
        smooth: bool = False,
        *,
        part: str = "",
    ) -> Path:
        """Write the picture and return the file: *out*, or ``IMAGE-explain.png`` here.

        *part* tells one of several pictures from the others: it stands for IMAGE, or is put into
        the name of *out*.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        stem = part or Path(self.network_input.name).stem
        path = picture_path(out, f"{stem}-explain.png", part)
        look = dataclasses.replace(look or Look(), form=form_of(path))
        return write_picture(path, self.picture(look, smooth))

    def to_json(self) -> dict[str, Any]:
        """Return the maps and their sums as one JSON document."""
        kind = self.model.kind
        first, rival = self.shown
        return {
            "image": self.network_input.name,
            "backbone": self.model.backbone.spec.name,
            "trained_weights": self.model.backbone.trained,
            "layer": kind.layer,
            "pooling": kind.pooling,
            "label": self.label,
            "predicted": self.predicted,
            "probability": self.probability,
            "unknown": self.answer.unknown,
            "unlike": self.answer.unlike,
            "true": self.true or None,
            "method": self.method,
            "cells_of": self.layer,
            "adds_up": self.exact,
            "feature_length": self.length,
            "scores": self.scores,
            "class": first.to_json(),
            "against": rival.to_json(),
            "difference": self.difference.to_json(),
            "model": str(self.path) if self.path else None,
            "out": None,
        }

    def _how(self) -> str:
        side = len(self.shown[0].cells)
        where = f"{self.layer}, {side} x {side} cells"
        if not self.exact:
            return f"Grad-CAM at {where}: shows where, and does not add up to the score"
        divided = f"; every cell is divided by the features' length {self.length:.4g}"
        return (
            f"exact: score = sum of the cells of {where} + bias"
            f"{divided if self.length != 1 else ''}"
        )

    def plot(self, look: Look | None = None, smooth: bool = False) -> Picture:
        """Return the heat maps over what the network saw."""
        given = look or Look()
        return Picture(
            f"{self.network_input.title}: {self.verdict}",
            lambda form: self.picture(dataclasses.replace(given, form=form), smooth),
        )

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the verdict, and what the map says for the class and its rival."""
        first, rival = self.shown
        yield self.network_input.name, self.verdict
        for name, one in self.panels[:2]:
            yield name, _sum_text(one, self.exact)
        best = np.unravel_index(int(self.difference.cells.argmax()), first.cells.shape)
        yield (
            f"most for {first.name} rather than {rival.name}",
            f"cell in row {best[0] + 1}, column {best[1] + 1} of {len(first.cells)}",
        )

    def blocks(self) -> Iterator[Block]:
        """Yield the facts, one a line, how the map was made, and what marks mean."""
        yield from self.lines()
        yield from _marks([self])

    def lines(self) -> Iterator[str]:
        """Yield the facts, one a line, and how the map was made."""
        (image, verdict), *sums = self.facts()
        yield f"{image}: {verdict}"
        yield self._how()
        for name, text in sums:
            yield f"{name}: {text}"

    def data_table(self) -> Table:
        """Return the score of every class, the largest first."""
        columns = (Column("class"), Column("score", "number"))
        return Table("Scores", columns, tuple(self.scores.items()))


def _marks(explanations: Sequence[Explanation]) -> Iterator[str]:
    """Yield what the marks mean that answers have."""
    rows = [one.answer for one in explanations]
    if any(row.unknown or row.unlike or max(row.scores.values()) < 0 for row in rows):
        yield from marks(rows, explanations[0].model)


def _sum_text(one: ClassMap, exact: bool) -> str:
    if not exact:
        return f"score {one.score:+.3f}"
    parts = f"cells {one.cells.sum():+.3f}, bias {one.bias:+.3f}"
    if one.elsewhere:
        parts += f", class token {one.elsewhere:+.3f}"
    return f"score {one.score:+.3f} = {parts}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explanations(Result):
    """The explanations of several images.

    Attributes:
        explanations: of the images that could be used, in order.
        failures: the others: path, status and reason of each.
        path: the model's file, or None.
    """

    explanations: tuple[Explanation, ...]
    failures: tuple[Mapping[str, str], ...]
    path: Path | None = None

    def write(
        self, out: str | Path | None = None, look: Look | None = None, smooth: bool = False
    ) -> tuple[Path, ...]:
        """Write a picture of each, none of one name, and return the files."""
        found = self.explanations
        parts = file_stems([one.network_input.name for one in found])
        return tuple(
            one.write(out, look, smooth, part=part) for one, part in zip(found, parts, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return all explanations as one JSON document."""
        return {
            "n_ok": len(self.explanations),
            "n_failed": len(self.failures),
            "explanations": [one.to_json() for one in self.explanations],
            "failures": list(self.failures),
            "model": str(self.path) if self.path else None,
            "out": [],
        }

    def pictures(self) -> list[Picture]:
        """Return the pictures of the first explanations."""
        return [one.plot() for one in self.explanations[:MOST_PICTURES]]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the verdict on each image, and how many are wrong."""
        found, left = len(self.explanations), len(self.failures)
        yield "images", f"{found:,}, {left:,} left out{self._wrong()}"
        for one in self.explanations:
            yield one.network_input.name, one.verdict

    def blocks(self) -> Iterator[Block]:
        """Yield the lines of each image, how many are wrong, and what was left out."""
        for one in self.explanations:
            yield from one.lines()
            yield ""
        yield from _marks(self.explanations)
        if wrong := self._wrong():
            yield wrong.removeprefix("; ")
        yield from failure_lines(self.failures)

    def _wrong(self) -> str:
        known = [one for one in self.explanations if one.true]
        return f"; wrong: {sum(one.wrong for one in known)} of {len(known)}" if known else ""

    def data_table(self) -> Table:
        """Return a row for each image that could be used."""
        names, marked_as = ("path", "true", "predicted"), ("unknown", "unlike")
        columns = *map(Column, names), Column("probability", "percent"), *map(Column, marked_as)
        rows = tuple(
            (
                one.network_input.name,
                one.true or None,
                one.predicted,
                one.probability,
                unknown_cell(one.answer),
                unlike_cell(one.answer),
            )
            for one in self.explanations
        )
        return Table("Explanations", columns, rows)


def file_stems(names: Sequence[str]) -> list[str]:
    """Return a file name for each image, none twice: that of the file, its folder before it.

    >>> file_stems(["a/0.png", "b/0.png", "b/1.png", "c/b/0.jpg"])
    ['a-0', 'b-0', '1', 'b-0-2']
    """
    counts = Counter(Path(name).stem for name in names)
    found: dict[str, str] = {}
    for path in map(Path, names):
        folder = "" if counts[path.stem] == 1 else f"{path.absolute().parent.name}-"
        plain = wished = safe(f"{folder}{path.stem}")
        number = 2
        # Some file systems take names that differ in case for one.
        while wished.casefold() in found:
            wished, number = f"{plain}-{number}", number + 1
        found[wished.casefold()] = wished
    return list(found.values())
