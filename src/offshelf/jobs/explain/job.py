"""Where a decision comes from: heat maps over what the network saw.

Where the score is a sum over the cells of a map the heat map is exact: every cell shows
what it adds, and the cells add up to the score without its bias. That holds for linear
heads on ``avg``, ``max`` and ``flatten`` features of a spatial layer, and on the vector
that a network pools itself. Everything else gets Grad-CAM, which says where and no sum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.data.folders.class_names import composed
from offshelf.engine.torch_engine.gradients import Probe
from offshelf.errors import OffshelfError, did_you_mean
from offshelf.heads.fitting.fit_head import decision
from offshelf.heads.kinds.flat_weights import linear_weights
from offshelf.jobs.explain import attribution
from offshelf.jobs.explain.attribution import ClassMap
from offshelf.jobs.explain.result import Explanation
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.visualise.feature_maps import Grid, maps_before, maps_of, person_name, positions
from offshelf.jobs.visualise.picture_files import Seen, see
from offshelf.model_file.model import Model
from offshelf.prediction import open_model
from offshelf.progress import Progress, Silent

METHODS = ("auto", "exact", "gradcam")
TOLERANCE = 1e-4
# Networks end in a few layers that change no place; transformers in a block of them.
PLACES = 48


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
        progress: is told of anything worth knowing.

    Raises:
        DataError: the image cannot be used.
        ModelFileError: the model file is not what it should be.
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
    seen = see(image, backbone.input, run.reading.limits)
    return explain_seen(model, backbone, seen, label, method)


def explain_seen(
    model: Model, backbone: Backbone, seen: Seen, label: str | None = None, method: str = "auto"
) -> Explanation:
    """Explain an open model's decision on a prepared image; see :func:`explain`."""
    weights = linear_weights(model.head)
    candidates = maps_before(backbone, model.kind.path, PLACES)
    if not candidates:
        raise OffshelfError(f"{model.kind.layer} of {backbone.spec.name} follows no map")
    probe = Probe(backbone, model.kind.tap, [row.path for row, _ in candidates], seen.pixels)
    passed = [pair for pair in candidates if pair[0].path in probe.activations]
    work = _Work(model, backbone, probe, seen, weights)
    chosen = work.classes(label)
    found = work.exact(passed, chosen) if method != "gradcam" else None
    if found is None and method == "exact":
        raise OffshelfError(
            f"no exact map: {model.kind.pooling} features of {model.kind.layer} are no sum "
            f"over the cells of a map; use the method gradcam"
        )
    return found or work.grad_cam(passed, chosen)


class _Work:
    """One image's features and scores, and the two ways to a map."""

    def __init__(
        self,
        model: Model,
        backbone: Backbone,
        probe: Probe,
        seen: Seen,
        weights: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        self.weight, self.bias = weights
        self.model, self.probe, self.seen = model, probe, seen
        self.spec = backbone.spec
        self.head = model.head
        self.length = attribution.feature_length(self.head, probe.features)
        self.scores = decision(self.head, probe.features[None])[0]

    def classes(self, label: str | None) -> tuple[int, int]:
        """Return the numbers of the class to explain and of its rival."""
        names = self.model.classes
        if label is not None and label not in names:
            label = composed(label)  # as the classes are named, whatever typed it
        if label is not None and label not in names:
            hint = did_you_mean(label, names)
            raise OffshelfError(f"the model has no class {label!r}: {', '.join(names)}.{hint}")
        order = np.argsort(-self.scores, kind="stable").tolist()
        first = names.index(label) if label is not None else order[0]
        return first, next(k for k in order if k != first)

    def exact(self, places: list[tuple[Any, Grid]], chosen: tuple[int, int]) -> Explanation | None:
        """Return the exact maps at the first place whose pooling gives the features."""
        for row, grid in places:
            own = row.path == self.model.kind.path
            pooling = self.model.kind.pooling if own else "avg"
            values = positions(self.probe.activations[row.path], grid, self.spec.channels_last)
            if pooling in attribution.SUMMED and self._gives(values, pooling):
                maps = [self._summed(k, values, grid, pooling) for k in chosen]
                scale = max(1.0, *(abs(one.score) for one in maps))
                if all(abs(one.residual) <= TOLERANCE * scale for one in maps):
                    return self._explanation("exact", self._named(row, places), maps)
        return None

    def grad_cam(self, places: list[tuple[Any, Grid]], chosen: tuple[int, int]) -> Explanation:
        """Return Grad-CAM at the deepest place whose cells reach the features."""
        directions = [
            attribution.score_gradient(
                self.probe.features, self.weight[k], self.head.normalisation == "l2"
            )
            for k in chosen
        ]
        last = self.spec.channels_last
        for row, grid in places:
            maps = maps_of(self.probe.activations[row.path], grid, last)
            found = [self.probe.gradient(one, row.path) for one in directions]
            gradients = [maps_of(one, grid, last) for one in found]
            if any(one.any() for one in gradients):
                cells = [attribution.grad_cam(maps, one) for one in gradients]
                shown = [self._class_map(k, one) for k, one in zip(chosen, cells, strict=True)]
                return self._explanation("gradcam", self._named(row, places), shown)
        raise OffshelfError(
            f"{self.seen.name}: no map of {self.spec.name} changes the score of this image"
        )

    def _gives(self, values: NDArray[np.float32], pooling: str) -> bool:
        features = self.probe.features
        found = attribution.pooled(values, pooling)
        if found.shape != features.shape:
            return False
        largest = float(np.abs(features).max())
        return bool(np.abs(found - features).max() <= TOLERANCE * largest)

    def _summed(
        self, number: int, values: NDArray[np.float32], grid: Grid, pooling: str
    ) -> ClassMap:
        parts = attribution.summands(values, self.weight[number], pooling, self.length)
        cells = parts[grid.extra :].reshape(grid.side, grid.side)
        return self._class_map(number, cells, float(parts[: grid.extra].sum()))

    def _class_map(
        self, number: int, cells: NDArray[np.float64], elsewhere: float = 0.0
    ) -> ClassMap:
        name, bias = self.model.classes[number], float(self.bias[number])
        return ClassMap(name, float(self.scores[number]), bias, cells, elsewhere)

    def _named(self, row: Any, places: list[tuple[Any, Grid]]) -> str:
        """Prefer a person's name among the places that hold the very same activation."""
        taken = self.probe.activations
        same = (one for one, _ in places if np.array_equal(taken[one.path], taken[row.path]))
        return next((one.name for one in same if one.name != one.path), person_name(row, self.spec))

    def _explanation(self, method: str, layer: str, maps: list[ClassMap]) -> Explanation:
        names = self.model.classes
        order = np.argsort(-self.scores, kind="stable")
        scores = {names[k]: float(self.scores[k]) for k in order}
        return Explanation(
            self.seen,
            maps[0].name,
            method,
            layer,
            self.length,
            scores,
            (maps[0], maps[1]),
            self.model,
        )
