"""Activation maps of layers on one image."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.card import Brief
from offshelf.engine.contract import Engine, EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.errors import LayerError, did_you_mean
from offshelf.features.network_input import NetworkInput
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for, describe
from offshelf.jobs.visualise.feature_maps import (
    Choice,
    layer_label,
    maps_of,
    mean_strengths,
    spatial_layers,
)
from offshelf.jobs.visualise.picture_files import input_to_show, write_layers
from offshelf.progress import Progress, Silent
from offshelf.report.pictures.activation_tiles import Caption, Look, map_picture
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Drawn
from offshelf.report.tables.result_rows import Column, Table


@dataclass(frozen=True, eq=False, repr=False)
class LayerMaps(Brief):
    """The activation maps of one layer.

    Attributes:
        name: of the layer.
        path: its module path.
        maps: float32, C x H x W: all channels.
        channels: those that were chosen, in their order.
    """

    name: str
    path: str
    maps: NDArray[np.float32]
    channels: tuple[int, ...]

    @property
    def strengths(self) -> NDArray[np.float64]:
        """Mean absolute activation of every channel, float64, C."""
        return mean_strengths(self.maps)

    def figures(self) -> list[dict[str, int | float]]:
        """Return number, strength, least and largest value of each chosen channel."""
        strengths = self.strengths
        return [
            {
                "channel": channel,
                "strength": float(strengths[channel]),
                "least": float(self.maps[channel].min()),
                "largest": float(self.maps[channel].max()),
            }
            for channel in self.channels
        ]

    def to_json(self) -> dict[str, Any]:
        """Return shape and figures of the chosen channels as JSON values."""
        return {
            "name": self.name,
            "path": self.path,
            "shape": list(self.maps.shape),
            "channels": self.figures(),
        }


@dataclass(frozen=True, eq=False, repr=False)
class MapsResult(Drawn):
    """Activation maps of one image. Prints itself; a notebook shows the first picture.

    Attributes:
        network_input: the network input of the image.
        backbone: network and weights in use.
        layers: one entry per layer, in the order asked for.
        engine: what ran, for example ``torch on cpu``.
    """

    network_input: NetworkInput
    backbone: Backbone
    layers: tuple[LayerMaps, ...]
    engine: str

    def __getitem__(self, layer: str) -> LayerMaps:
        """Return the maps of a layer by name or module path."""
        for one in self.layers:
            if layer in {one.name, one.path}:
                return one
        names = [one.name for one in self.layers]
        raise LayerError(f"no maps of {layer!r}: {', '.join(names)}.{did_you_mean(layer, names)}")

    def picture(self, layer: str | None = None, look: Look | None = None) -> bytes:
        """Return the grid of a layer's chosen maps as PNG or SVG bytes; the first by default."""
        one = self[layer] if layer else self.layers[0]
        count, height, width = one.maps.shape
        size = f"{len(one.channels)} of {count} channels, {width} x {height}"
        text = f"{self.network_input.title}: {size}"
        if not self.backbone.trained:
            text += ", UNTRAINED network"
        return map_picture(
            one.maps[list(one.channels)],
            [str(channel) for channel in one.channels],
            self.network_input.pixels,
            Caption(f"{self.backbone.spec.name}  {one.name}", text),
            look,
        )

    def write(self, out: str | Path | None = None, look: Look | None = None) -> tuple[Path, ...]:
        """Write a picture per layer and return the files.

        Args:
            out: a ``.png`` or ``.svg`` file, whose name is extended by the layer's where
                there are several; a folder; or None for ``IMAGE-LAYER.png`` here.
            look: scale and colours; the form comes from the file's name.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        stem = Path(self.network_input.name).stem
        parts = [one.name if len(self.layers) > 1 else "" for one in self.layers]
        names = [f"{stem}-{one.name}.png" for one in self.layers]

        def draw(number: int, form: str) -> bytes:
            layer = self.layers[number].path
            return self.picture(layer, dataclasses.replace(look or Look(), form=form))

        return write_layers(out, names, parts, draw)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as one JSON document, without the maps themselves."""
        return {
            "image": self.network_input.name,
            **describe(self.backbone),
            "engine": self.engine,
            "layers": [one.to_json() for one in self.layers],
            "out": [],
        }

    def plot(self, layer: str | None = None, look: Look | None = None) -> Picture:
        """Return the grid of a layer's chosen maps; that of the first layer by default."""
        one, look = self[layer] if layer else self.layers[0], look or Look()

        def draw(form: str) -> bytes:
            return self.picture(one.path, dataclasses.replace(look, form=form))

        return Picture(f"{self.network_input.title}: {one.name}", draw)

    def pictures(self) -> list[Picture]:
        """Return a picture of each layer."""
        return [self.plot(one.path) for one in self.layers]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the network, and how many channels each layer has."""
        yield "network", f"{self.backbone.spec.name} ({self.engine}){self.backbone.changed}"
        for one in self.layers:
            count, height, width = one.maps.shape
            strongest = np.argsort(-one.strengths, kind="stable")[:5]
            yield (
                one.name,
                f"{count} channels of {width} x {height}, {len(one.channels)} chosen; "
                f"strongest {', '.join(str(channel) for channel in strongest)}",
            )

    def blocks(self) -> Iterator[Block]:
        """Yield a line for the image, and one for each layer."""
        (_, network), *layers = self.facts()
        yield f"{self.network_input.name} in {network}"
        for name, text in layers:
            yield f"{name}: {text}"

    def data_table(self) -> Table:
        """Return the figures of each chosen channel of each layer."""
        columns = (
            Column("layer"),
            Column("channel", "integer"),
            *(Column(name, "number") for name in ("strength", "least", "largest")),
        )
        cells = ((one.name, *row.values()) for one in self.layers for row in one.figures())
        return Table("Channels", columns, tuple(cells))


def activation_maps(
    image: Any,
    layers: Sequence[str],
    *,
    features: FeatureSettings | None = None,
    choice: Choice | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> MapsResult:
    """Return what layers compute on one image, all in one pass.

    Args:
        image: a path, a PIL image or a uint8 array.
        layers: names or module paths of layers whose activation is a map.
        features: backbone, weights and preprocessing; its layer and pooling are not used.
        choice: which channels are shown.
        run: engine and limits; the engine ``auto`` is torch here, which starts sooner.
        progress: receives notes and downloads.

    Raises:
        DataError: the image cannot be used.
        LayerError: a layer is unknown, no map, or beyond the weights; a channel is out of
            range.

    >>> image = np.zeros((32, 32, 3), np.uint8)
    >>> activation_maps(image, ["stage1"])["stage1"].maps.shape
    (16, 112, 112)
    """
    run, choice = run or RunSettings(), choice or Choice()
    backbone = backbone_for(features, run, progress or Silent())
    places = spatial_layers(backbone, layers, choice)
    network_input = input_to_show(image, backbone.input, run.reading.limits)
    taps = [Tap(row.path) for row, _ in places]
    with contextlib.closing(open_engine(backbone, taps, for_one_image(run.engine))) as engine:
        outputs = engine.run(network_input.pixels[None].copy())
        ran = described(engine)
    last = backbone.spec.channels_last
    found = []
    for tap, (row, grid) in zip(taps, places, strict=True):
        maps = maps_of(outputs[tap][0], grid, last)
        shown = choice.of(mean_strengths(maps))
        found.append(LayerMaps(layer_label(row, backbone.spec), row.path, maps, shown))
    return MapsResult(network_input, backbone, tuple(found), ran)


def for_one_image(options: EngineOptions) -> EngineOptions:
    """Return *options* for a single picture: torch where the engine is left open.

    Another engine would first convert and compile the network for these layers.
    """
    name = "torch" if options.engine == "auto" and options.precision == "fp32" else options.engine
    return dataclasses.replace(options, engine=name, batch_size=options.batch_size or 1)


def described(engine: Engine) -> str:
    """Return engine and device, for example ``torch on cpu``."""
    return f"{engine.name} on {engine.device}"
