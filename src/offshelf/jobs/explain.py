"""Heat maps over the network's input that explain a decision.

Where the score is a sum over the cells of a map, the heat map is exact: every cell shows what it
adds, and the cells add up to the score without its bias. That holds for linear heads on ``avg``,
``max``, ``flatten`` and ``pyramid`` features of a spatial layer, and on the vector that a network
pools itself. All else gets Grad-CAM, which shows where and does not add up.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import Layer
from offshelf.data.folders.class_names import composed, same_class_key
from offshelf.data.tables.image_table import list_images
from offshelf.engine.torch_engine.gradients import Probe
from offshelf.errors import DataError, ImageError, OffshelfError, did_you_mean
from offshelf.features.network_input import NetworkInput
from offshelf.heads.kinds.linear import linear_weights
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.visualise import attribution
from offshelf.jobs.visualise.attribution import ClassMap
from offshelf.jobs.visualise.exact_maps import (
    ExactView,
    Places,
    Targets,
    candidates,
    layer_name,
)
from offshelf.jobs.visualise.explanation import Explanation, Explanations
from offshelf.jobs.visualise.feature_maps import maps_of
from offshelf.jobs.visualise.picture_files import input_to_show
from offshelf.model_file.model import Model
from offshelf.opened_model import open_model
from offshelf.prediction import Prediction, answered
from offshelf.progress import Progress, Silent, note_all
from offshelf.report.labels import ordered
from offshelf.text import shown, spelled

METHODS = ("auto", "exact", "gradcam")
# The class that was asked for, if any, and the true one, "" where it is not known.
Wanted = tuple[int | None, str]


def explain(
    model_path: str | Path,
    image: Any,
    *,
    label: str | None = None,
    method: str = "auto",
    true: str | None = None,
    weights: str | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Say which parts of an image speak for the model's decision and against its rival.

    Args:
        model_path: a ``.offshelf`` file.
        image: a path, a PIL image or a uint8 array.
        label: the class to explain; None for the predicted one. The rival is the class
            with the largest score of the others; of a wrong answer it is the image's own class.
        method: ``auto`` takes ``exact`` where the score is a sum over cells, else
            ``gradcam``.
        true: the image's own class; None for that of its folder, where the folder has the name
            of a class.
        weights: the weights file, when it is in none of the usual places.
        run: limits, cache folder, and the engine of exact maps, in fp32 on the CPU; Grad-CAM
            comes from the torch reference.
        progress: receives notes and downloads.

    Raises:
        DataError: the image cannot be used.
        ModelFileError: the model file is damaged or no model file.
        OffshelfError: an unknown class or method, or a method that does not apply.
        WeightsError: the weights of the model are not on this machine.
    """
    run, progress = run or RunSettings(), progress or Silent()
    model, backbone = _opened(model_path, method, weights, run, progress)
    network_input = input_to_show(image, backbone.input, run.reading.limits)
    true = true_class(image, model.classes, true)
    with contextlib.closing(Explainer(model, backbone, run)) as explainer:
        found = explainer.explain(network_input, label, method, true)
    return dataclasses.replace(found, path=Path(model_path))


def explain_images(
    model_path: str | Path,
    images: Sequence[str | Path],
    *,
    label: str | None = None,
    method: str = "auto",
    true: str | None = None,
    weights: str | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> Explanations:
    """Explain a model's decisions on image files and folders; see :func:`explain`.

    An image that cannot be used is a failure with its reason, and the others go on.
    """
    run, progress = run or RunSettings(), progress or Silent()
    table = list_images(images)
    note_all(progress, table.warnings)
    model, backbone = _opened(model_path, method, weights, run, progress)
    true_class(None, model.classes, true)
    found, failures = [], []
    progress.start("explanations", len(table))
    with contextlib.closing(Explainer(model, backbone, run)) as explainer:
        for path in table.paths:
            try:
                network_input = input_to_show(path, backbone.input, run.reading.limits)
                own = true_class(path, model.classes, true)
                one = explainer.explain(network_input, label, method, own)
                found.append(dataclasses.replace(one, path=Path(model_path)))
            except DataError as error:
                failures.append(_failure(path, error))
            progress.advance()
    progress.finish()
    return Explanations(explanations=tuple(found), failures=tuple(failures), path=Path(model_path))


def _failure(path: str, error: DataError) -> dict[str, str]:
    status, reason = "too_small", str(error)
    if isinstance(error, ImageError):
        status, reason = error.status, error.reason
    reason = reason.removeprefix(f"{shown(path)}: ")
    return {"path": spelled(path), "status": status, "reason": reason}


def _opened(
    model_path: str | Path, method: str, weights: str | None, run: RunSettings, progress: Progress
) -> tuple[Model, Backbone]:
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        raise OffshelfError(f"no method {method!r}: {', '.join(METHODS)}.{hint}")
    model, features = open_model(model_path, weights=weights, options=run.engine, progress=progress)
    if model.backbone.precision != "fp32":
        progress.note(f"the model runs in {model.backbone.precision}, the maps are in fp32")
    return model, features.backbone


def true_class(image: Any, classes: tuple[str, ...], true: str | None = None) -> str:
    """Return the class that an image is said to be of, else that of its folder, else "".

    Raises:
        OffshelfError: the model has no class *true*.

    >>> true_class("photos/cat/1.jpg", ("cat", "dog")), true_class("photos/1.jpg", ("cat", "dog"))
    ('cat', '')
    """
    if true is not None:
        return classes[_class_number(classes, true)]
    if not isinstance(image, str | Path):
        return ""
    folder = composed(Path(image).absolute().parent.name)
    alike = [name for name in classes if same_class_key(name) == same_class_key(folder)]
    if folder in classes:
        return folder
    return alike[0] if len(alike) == 1 else ""


@dataclass(frozen=True, eq=False)
class _Question:
    """The features of an image, the answer, and the two classes whose maps are wanted."""

    features: NDArray[np.float32]
    answer: Prediction
    targets: Targets
    true: str


class Explainer:
    """An open model that explains one image after the other; see :func:`explain`.

    Raises:
        OffshelfError: its head is not linear.
    """

    def __init__(self, model: Model, backbone: Backbone, run: RunSettings) -> None:
        self._model, self._backbone, self._run = model, backbone, run
        self._weights = linear_weights(model.head)
        self._view: ExactView | None = None

    def explain(
        self,
        network_input: NetworkInput,
        label: str | None = None,
        method: str = "auto",
        true: str = "",
    ) -> Explanation:
        """Explain the decision on one image of the class *true*, "" where that is not known."""
        number = None if label is None else _class_number(self._model.classes, label)
        asked = number, true
        found = self._exact(network_input, asked) if method != "gradcam" else None
        if found is None and method == "exact":
            kind = self._model.kind
            raise OffshelfError(
                f"no exact map: {kind.pooling} features of {kind.layer} are no sum "
                f"over the cells of a map; use the method gradcam"
            )
        return found or self._grad_cam(network_input, asked)

    def close(self) -> None:
        """Release the engine."""
        if self._view is not None:
            self._view.close()

    def _exact(self, network_input: NetworkInput, wanted: Wanted) -> Explanation | None:
        if self._view is None:
            self._view = ExactView(self._model, self._backbone, self._run)
        if self._view.place is None:
            return None
        sight = self._view.see(network_input.pixels)
        asked = self._question(network_input, sight.features, wanted)
        maps = self._view.maps(sight, self._model.head, asked.targets)
        if maps is None:
            return None
        return self._answer(network_input, asked, "exact", self._view.place.name, maps)

    def _grad_cam(self, network_input: NetworkInput, wanted: Wanted) -> Explanation:
        model, backbone = self._model, self._backbone
        places = candidates(model, backbone)
        paths = [row.path for row, _ in places]
        probe = Probe(backbone, model.kind.tap, paths, network_input.pixels)
        places = [pair for pair in places if pair[0].path in probe.activations]
        asked = self._question(network_input, probe.features, wanted)
        found = _gradient_maps(model, backbone, probe, places, asked.targets)
        if found is None:
            raise OffshelfError(
                f"{network_input.name}: no map of {backbone.spec.name} changes the score of "
                "this image"
            )
        row, maps = found
        name = layer_name(row, backbone, probe, places)
        return self._answer(network_input, asked, "gradcam", name, maps)

    def _question(
        self, network_input: NetworkInput, features: NDArray[np.float32], wanted: Wanted
    ) -> _Question:
        classes, (number, true) = self._model.classes, wanted
        (given,) = answered(self._model, features[None])
        answer = Prediction(path=network_input.name, status="ok", reason="", **given)
        order = [classes.index(name) for name in ordered(answer)]
        first = order[0] if number is None else number
        rival = next(k for k in order if k != first)
        if number is None and true not in ("", classes[first]):
            rival = classes.index(true)
        targets = [
            _target(classes[k], answer.scores[classes[k]], self._weights, k) for k in (first, rival)
        ]
        return _Question(features, answer, targets, true)

    def _answer(
        self,
        network_input: NetworkInput,
        asked: _Question,
        method: str,
        layer: str,
        maps: list[ClassMap],
    ) -> Explanation:
        return Explanation(
            network_input=network_input,
            label=maps[0].name,
            method=method,
            layer=layer,
            length=attribution.feature_length(self._model.head, asked.features),
            answer=asked.answer,
            true=asked.true,
            shown=(maps[0], maps[1]),
            model=self._model,
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


def _gradient_maps(
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
