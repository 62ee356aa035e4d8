"""Exact maps: the layer whose pooled cells are a model's features, and what each cell adds.

Which layer that is belongs to the network, so it is found once, from noise, by the torch reference,
and kept. The maps themselves need one pass of an engine, and no torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import Layer
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import installed, open_engine
from offshelf.engine.torch_engine.gradients import Probe
from offshelf.errors import OffshelfError
from offshelf.heads.head import FittedHead
from offshelf.jobs.setup.settings import RunSettings
from offshelf.jobs.setup.trained_results import Arrays, Form, Kept, kept
from offshelf.jobs.visualise import attribution
from offshelf.jobs.visualise.attribution import ClassMap
from offshelf.jobs.visualise.feature_maps import Grid, layer_label, maps_before, positions
from offshelf.model_file.model import Model

# Raised with every change of how the place is found.
VERSION = 2
TOLERANCE = 1e-4
# Networks end in a few layers that change no place; transformers in a block of them.
PLACES = 48
Places = list[tuple[Layer, Grid]]
# Classes whose maps have no cells yet, and their weights.
Targets = list[tuple[ClassMap, NDArray[np.float64]]]


@dataclass(frozen=True, kw_only=True)
class ExactPlace:
    """A layer whose pooled cells are the features.

    Attributes:
        path: its module path.
        name: what to call it.
        pooling: ``avg``, ``max``, ``flatten`` or a pyramid.
        grid: how it lies over the image.
    """

    path: str
    name: str
    pooling: str
    grid: Grid


@dataclass(frozen=True)
class Sight:
    """What an engine gives for one image: its features, float32, D, and the map at the place."""

    features: NDArray[np.float32]
    activation: NDArray[np.float32]


class ExactView:
    """The features of images, and the map that they are pooled from.

    Args:
        model: the model, with *backbone* as its network.
        backbone: network, weights and preprocessing.
        run: the engine and the cache.

    Attributes:
        place: None where no map is known whose pooling gives the features.
    """

    def __init__(self, model: Model, backbone: Backbone, run: RunSettings) -> None:
        self._tap, self.place = model.kind.tap, exact_place(model, backbone, run)
        self._last = backbone.spec.channels_last
        if self.place is not None:
            self._map = Tap(self.place.path)
            self._engine = open_engine(backbone, [self._tap, self._map], _options(run))

    def see(self, pixels: NDArray[np.uint8]) -> Sight:
        """Return what the engine gives for a network input, uint8, S x S x 3."""
        found = self._engine.run(pixels[None])
        return Sight(found[self._tap][0].ravel(), found[self._map][0])

    def maps(self, sight: Sight, head: FittedHead, targets: Targets) -> list[ClassMap] | None:
        """Return the maps of *targets*, None where their cells do not add up to the scores."""
        place = self.place
        if place is None:
            return None
        values = positions(sight.activation, place.grid, self._last)
        if not gives(values, place.pooling, sight.features):
            return None
        length = attribution.feature_length(head, sight.features)
        maps = []
        for one, weight in targets:
            parts = attribution.summands(values, weight, place.pooling, length)
            cells = parts[place.grid.extra :].reshape(place.grid.side, place.grid.side)
            elsewhere = float(parts[: place.grid.extra].sum())
            maps.append(dataclasses.replace(one, cells=cells, elsewhere=elsewhere))
        scale = max(1.0, *(abs(one.score) for one in maps))
        return maps if all(abs(one.residual) <= TOLERANCE * scale for one in maps) else None

    def close(self) -> None:
        """Release the engine."""
        with contextlib.suppress(AttributeError):
            self._engine.close()


def _options(run: RunSettings) -> EngineOptions:
    return dataclasses.replace(run.engine.in_fp32(), device="cpu", images=None)


def exact_place(model: Model, backbone: Backbone, run: RunSettings) -> ExactPlace | None:
    """Return where the features come from as a sum over cells, None where from nowhere.

    Raises:
        OffshelfError: the features follow no map at all.
    """
    found = _kept(model, backbone, run).take(lambda: _found(model, backbone))
    return found[0] if found else None


def _kept(model: Model, backbone: Backbone, run: RunSettings) -> Kept[tuple[ExactPlace, ...]]:
    key = {
        "exact place": [VERSION, model.kind.path, model.kind.pooling],
        "backbone": backbone.identity(),
        "libraries": [installed(name) for name in ("timm", "torchvision")],
    }

    def pack(found: tuple[ExactPlace, ...]) -> tuple[Arrays, Any]:
        return {}, [dataclasses.asdict(one) for one in found]

    def unpack(_: Arrays, document: Any) -> tuple[ExactPlace, ...]:
        return tuple(ExactPlace(**{**one, "grid": Grid(**one["grid"])}) for one in document)

    return kept(run, key, Form(pack, unpack))


def candidates(model: Model, backbone: Backbone) -> Places:
    """Return the maps at or before the layer of the features, the last first.

    Raises:
        OffshelfError: there is none.
    """
    found = list(maps_before(backbone, model.kind.path, PLACES))
    if not found:
        raise OffshelfError(f"{model.kind.layer} of {backbone.spec.name} follows no map")
    return found


def _found(model: Model, backbone: Backbone) -> tuple[ExactPlace, ...]:
    """Return the first place whose pooling gives the features, from noise."""
    size = backbone.input.size
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    places = candidates(model, backbone)
    probe = Probe(backbone, model.kind.tap, [row.path for row, _ in places], noise)
    places = [pair for pair in places if pair[0].path in probe.activations]
    for row, grid in places:
        pooling = model.kind.pooling if row.path == model.kind.path else "avg"
        values = positions(probe.activations[row.path], grid, backbone.spec.channels_last)
        if attribution.is_summed(pooling) and gives(values, pooling, probe.features):
            name = layer_name(row, backbone, probe, places)
            return (ExactPlace(path=row.path, name=name, pooling=pooling, grid=grid),)
    return ()


def gives(values: NDArray[np.float32], pooling: str, features: NDArray[np.float32]) -> bool:
    """Return whether *pooling* makes *features* of *values*, C x P."""
    found = attribution.pooled(values, pooling)
    if found.shape != features.shape:
        return False
    return bool(np.abs(found - features).max() <= TOLERANCE * float(np.abs(features).max()))


def layer_name(row: Layer, backbone: Backbone, probe: Probe, places: Places) -> str:
    """Prefer a layer's own name among the places that hold the very same activation."""
    taken = probe.activations
    same = (one for one, _ in places if np.array_equal(taken[one.path], taken[row.path]))
    return next((one.name for one in same if one.name != one.path), layer_label(row, backbone.spec))
