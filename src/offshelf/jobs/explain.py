"""Heat maps over the network's input that explain a decision.

Where the score is a sum over the cells of a map, the heat map is exact: every cell shows what it
adds, and the cells add up to the score without its bias. That holds for linear heads on ``avg``,
``max`` and ``flatten`` features of a spatial layer, and on the vector that a network pools
itself. All else gets Grad-CAM, which shows where and does not add up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import Layer
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.data.folders.class_names import composed
from offshelf.engine.torch_engine.gradients import Probe
from offshelf.errors import OffshelfError, did_you_mean
from offshelf.features.network_input import NetworkInput
from offshelf.heads.fitting.fit_head import decision
from offshelf.heads.kinds.linear import linear_weights
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.visualise import attribution
from offshelf.jobs.visualise.attribution import ClassMap
from offshelf.jobs.visualise.feature_maps import Grid, layer_label, maps_before, maps_of, positions
from offshelf.jobs.visualise.picture_files import input_to_show, picture_path, write_picture
from offshelf.model_file.model import Model
from offshelf.prediction import open_model
from offshelf.progress import Progress, Silent
from offshelf.report.pictures.activation_tiles import Caption, Look
from offshelf.report.pictures.canvas import form_of
from offshelf.report.pictures.heat_maps import Panel, explanation_picture

METHODS = ("auto", "exact", "gradcam")
TOLERANCE = 1e-4
# Networks end in a few layers that change no place; transformers in a block of them.
PLACES = 48
Places = list[tuple[Layer, Grid]]
# Classes whose maps have no cells yet, and their weights.
Targets = list[tuple[ClassMap, NDArray[np.float64]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What speaks for a class and against another. Prints itself; notebooks show it.

    Attributes:
        network_input: the network input of the image.
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

    network_input: NetworkInput
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
        names = first.name, rival.name, f"{first.name} rather than {rival.name}"
        maps = first, rival, self.difference
        panels = [
            Panel(name, _sum_text(one, self.exact), one.cells)
            for name, one in zip(names, maps, strict=True)
        ]
        predicted = next(iter(self.scores))
        title = f"{self.network_input.title}: {predicted}"
        if first.name != predicted:
            title += f", explained for {first.name}"
        return explanation_picture(
            self.network_input.pixels, panels, Caption(title, self._how()), look, smooth
        )

    def write(
        self, out: str | Path | None = None, look: Look | None = None, smooth: bool = False
    ) -> Path:
        """Write the picture and return the file: *out*, or ``IMAGE-explain.png`` here.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        path = picture_path(out, f"{Path(self.network_input.name).stem}-explain.png")
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
        lines = [f"{self.network_input.name}: {self._how()}"]
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


def explain(
    model_path: str | Path,
    image: Any,
    *,
    label: str | None = None,
    method: str = "auto",
    weights: str | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Say which parts of an image speak for the model's decision and against its rival.

    Args:
        model_path: a ``.offshelf`` file.
        image: a path, a PIL image or a uint8 array.
        label: the class to explain; None for the predicted one. The rival is the class
            with the largest score of the others.
        method: ``auto`` takes ``exact`` where the score is a sum over cells, else
            ``gradcam``.
        weights: the weights file, when it is in none of the usual places.
        run: limits and cache folder; its engine runs the model's self-test, the maps
            themselves come from the torch reference on the CPU.
        progress: receives notes and downloads.

    Raises:
        DataError: the image cannot be used.
        ModelFileError: the model file is damaged or no model file.
        OffshelfError: an unknown class or method, or a method that does not apply.
        WeightsError: the weights of the model are not on this machine.
    """
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        raise OffshelfError(f"no method {method!r}: {', '.join(METHODS)}.{hint}")
    run, progress = run or RunSettings(), progress or Silent()
    model, backbone = open_model(model_path, weights=weights, options=run.engine, progress=progress)
    if model.backbone.precision != "fp32":
        progress.note(f"the model runs in {model.backbone.precision}, the maps are in fp32")
    network_input = input_to_show(image, backbone.input, run.reading.limits)
    return explain_prepared(model, backbone, network_input, label, method)


def explain_prepared(
    model: Model,
    backbone: Backbone,
    network_input: NetworkInput,
    label: str | None = None,
    method: str = "auto",
) -> Explanation:
    """Explain an open model's decision on a prepared image; see :func:`explain`."""
    weights = linear_weights(model.head)
    candidates = maps_before(backbone, model.kind.path, PLACES)
    if not candidates:
        raise OffshelfError(f"{model.kind.layer} of {backbone.spec.name} follows no map")
    probe = Probe(
        backbone, model.kind.tap, [row.path for row, _ in candidates], network_input.pixels
    )
    places = [pair for pair in candidates if pair[0].path in probe.activations]
    scores = decision(model.head, probe.features[None])[0]
    order = np.argsort(-scores, kind="stable").tolist()
    first = order[0] if label is None else _class_number(model.classes, label)
    rival = next(k for k in order if k != first)
    targets = [_target(model.classes[k], float(scores[k]), weights, k) for k in (first, rival)]
    work = model, backbone, probe, places, targets
    exact = _exact(*work) if method != "gradcam" else None
    if exact is None and method == "exact":
        raise OffshelfError(
            f"no exact map: {model.kind.pooling} features of {model.kind.layer} are no sum "
            f"over the cells of a map; use the method gradcam"
        )
    found = exact or _grad_cam(*work)
    if found is None:
        raise OffshelfError(
            f"{network_input.name}: no map of {backbone.spec.name} changes the score of this image"
        )
    row, maps = found
    return Explanation(
        network_input=network_input,
        label=maps[0].name,
        method="exact" if exact else "gradcam",
        layer=_layer_name(row, backbone.spec, probe, places),
        length=attribution.feature_length(model.head, probe.features),
        scores={model.classes[k]: float(scores[k]) for k in order},
        shown=(maps[0], maps[1]),
        model=model,
    )


def _target(
    name: str, score: float, weights: tuple[NDArray[np.float64], NDArray[np.float64]], number: int
) -> tuple[ClassMap, NDArray[np.float64]]:
    weight, bias = weights
    blank = ClassMap(name=name, score=score, bias=float(bias[number]), cells=np.zeros((0, 0)))
    return blank, weight[number]


def _class_number(names: tuple[str, ...], label: str) -> int:
    if label not in names:
        label = composed(label)  # as the classes are named, whatever typed it
    if label not in names:
        hint = did_you_mean(label, names)
        raise OffshelfError(f"the model has no class {label!r}: {', '.join(names)}.{hint}")
    return names.index(label)


def _exact(
    model: Model, backbone: Backbone, probe: Probe, places: Places, targets: Targets
) -> tuple[Layer, list[ClassMap]] | None:
    """Return the exact maps at the first place whose pooling gives the features."""
    length = attribution.feature_length(model.head, probe.features)
    for row, grid in places:
        pooling = model.kind.pooling if row.path == model.kind.path else "avg"
        values = positions(probe.activations[row.path], grid, backbone.spec.channels_last)
        if pooling not in attribution.SUMMED or not _gives(values, pooling, probe.features):
            continue
        maps = []
        for one, weight in targets:
            parts = attribution.summands(values, weight, pooling, length)
            cells = parts[grid.extra :].reshape(grid.side, grid.side)
            elsewhere = float(parts[: grid.extra].sum())
            maps.append(dataclasses.replace(one, cells=cells, elsewhere=elsewhere))
        scale = max(1.0, *(abs(one.score) for one in maps))
        if all(abs(one.residual) <= TOLERANCE * scale for one in maps):
            return row, maps
    return None


def _gives(values: NDArray[np.float32], pooling: str, features: NDArray[np.float32]) -> bool:
    found = attribution.pooled(values, pooling)
    if found.shape != features.shape:
        return False
    return bool(np.abs(found - features).max() <= TOLERANCE * float(np.abs(features).max()))


def _grad_cam(
    model: Model, backbone: Backbone, probe: Probe, places: Places, targets: Targets
) -> tuple[Layer, list[ClassMap]] | None:
    """Return Grad-CAM at the deepest place whose cells reach the features."""
    normalised, last = model.head.normalisation == "l2", backbone.spec.channels_last
    directions = [
        attribution.score_gradient(probe.features, weight, normalised) for _, weight in targets
    ]
    for row, grid in places:
        maps = maps_of(probe.activations[row.path], grid, last)
        gradients = [maps_of(probe.gradient(one, row.path), grid, last) for one in directions]
        if any(one.any() for one in gradients):
            cells = [attribution.grad_cam(maps, one) for one in gradients]
            pairs = zip(targets, cells, strict=True)
            return row, [dataclasses.replace(one, cells=values) for (one, _), values in pairs]
    return None


def _layer_name(row: Layer, spec: BackboneSpec, probe: Probe, places: Places) -> str:
    """Prefer a layer's own name among the places that hold the very same activation."""
    taken = probe.activations
    same = (one for one, _ in places if np.array_equal(taken[one.path], taken[row.path]))
    return next((one.name for one in same if one.name != one.path), layer_label(row, spec))
