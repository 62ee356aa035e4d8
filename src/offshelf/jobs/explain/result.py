"""What speaks for a decision and against it, as a result that draws and prints itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offshelf.jobs.explain.attribution import ClassMap
from offshelf.jobs.visualise.picture_files import Seen, picture_path, write_picture
from offshelf.model_file.model import Model
from offshelf.report.pictures.activation_tiles import Caption, Look
from offshelf.report.pictures.canvas import form_of
from offshelf.report.pictures.heat_maps import Panel, explanation_picture


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for a class and against another. Prints itself; notebooks show it.

    Attributes:
        seen: the image as the network saw it.
        label: the class explained, the predicted one unless another was asked for.
        method: ``exact`` or ``gradcam``.
        layer: whose cells are shown.
        length: what the features were divided by: their Euclidean norm with a head on
            l2-normalised features, else 1. Every cell is divided by it, so it scales the
            map and moves nothing in it.
        scores: class -> decision value, the largest first.
        shown: the class explained and its rival.
        model: the model; its backbone's name and layer are part of the result.
    """

    seen: Seen
    label: str
    method: str
    layer: str
    length: float
    scores: dict[str, float]
    shown: tuple[ClassMap, ClassMap]
    model: Model

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
        first, rival = self.shown
        panels = [
            Panel(first.name, _sum_text(first, self.exact), first.cells),
            Panel(rival.name, _sum_text(rival, self.exact), rival.cells),
            Panel(
                f"{first.name} rather than {rival.name}",
                _sum_text(self.difference, self.exact),
                self.difference.cells,
            ),
        ]
        predicted = next(iter(self.scores))
        title = f"{self.seen.title}: {predicted}"
        if first.name != predicted:
            title += f", explained for {first.name}"
        return explanation_picture(
            self.seen.pixels, panels, Caption(title, self._how()), look, smooth
        )

    def write(
        self, out: str | Path | None = None, look: Look | None = None, smooth: bool = False
    ) -> Path:
        """Write the picture and return the file: *out*, or ``IMAGE-explain.png`` here.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        path = picture_path(out, f"{Path(self.seen.name).stem}-explain.png")
        look = dataclasses.replace(look or Look(), form=form_of(path))
        return write_picture(path, self.picture(look, smooth))

    def to_json(self) -> dict[str, Any]:
        """Return the maps and their sums as one JSON document."""
        kind = self.model.kind
        first, rival = self.shown
        return {
            "image": self.seen.name,
            "backbone": self.model.backbone.spec.name,
            "trained_weights": self.model.backbone.trained,
            "layer": kind.layer,
            "pooling": kind.pooling,
            "label": self.label,
            "method": self.method,
            "cells_of": self.layer,
            "adds_up": self.exact,
            "feature_length": self.length,
            "scores": self.scores,
            "class": first.to_json(),
            "against": rival.to_json(),
            "difference": self.difference.to_json(),
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

    def _repr_png_(self) -> bytes:
        return self.picture()

    def __str__(self) -> str:
        first, rival = self.shown
        lines = [f"{self.seen.name}: {self._how()}"]
        lines += [f"{one.name}: {_sum_text(one, self.exact)}" for one in (first, rival)]
        best = np.unravel_index(int(self.difference.cells.argmax()), first.cells.shape)
        lines.append(
            f"most for {first.name} rather than {rival.name}: "
            f"cell in row {best[0] + 1}, column {best[1] + 1} of {len(first.cells)}"
        )
        return "\n".join(lines)


def _sum_text(one: ClassMap, exact: bool) -> str:
    if not exact:
        return f"score {one.score:+.3f}"
    parts = f"cells {one.cells.sum():+.3f}, bias {one.bias:+.3f}"
    if one.elsewhere:
        parts += f", class token {one.elsewhere:+.3f}"
    return f"score {one.score:+.3f} = {parts}"
