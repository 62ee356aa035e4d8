"""Search for the images, and the places in them, that activate channels most.

One pass over the images keeps only the best few activations of every channel, so memory does
not grow with the images; they are opened again when the picture is drawn. The extraction's
loop is another: it keeps whole rows, in stores that processes share.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import Layer
from offshelf.data.decoding.limits import Facts
from offshelf.data.tables.image_table import list_images
from offshelf.engine.contract import Tap
from offshelf.engine.selection import open_engine
from offshelf.errors import DataError, LayerError, did_you_mean
from offshelf.features.network_input import network_input
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import ReadOptions, read_ahead
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for, describe
from offshelf.jobs.visualise.activation_maps import described
from offshelf.jobs.visualise.channel_peaks import Peak, TopImages
from offshelf.jobs.visualise.feature_maps import (
    Choice,
    Grid,
    StrongestCells,
    layer_label,
    maps_of,
    spatial_layers,
)
from offshelf.jobs.visualise.picture_files import write_layers
from offshelf.progress import Progress, Silent, note_all, notifying
from offshelf.report.pictures.activation_tiles import Caption, crop_picture
from offshelf.report.pictures.mosaic import number
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Drawn
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import spelled

DEFAULT_TOP, MAX_TOP = 8, 16
DEFAULT_CHANNELS = 16
CROP_SIDE = 96


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TopResult(Drawn):
    """What channels respond to most in a set of images. Prints itself.

    Attributes:
        backbone: network and weights in use.
        layers: one entry per layer.
        engine: what ran.
        failures: path, status and reason of images that cannot be used.
        reading: bounds under which images are opened again for their crops.
    """

    backbone: Backbone
    layers: tuple[TopImages, ...]
    engine: str
    failures: tuple[Mapping[str, str], ...]
    reading: ReadOptions

    @property
    def used(self) -> int:
        """Images that were looked at; repeated ones count once."""
        return len(self.layers[0].paths)

    def __getitem__(self, layer: str) -> TopImages:
        """Return the best images of a layer by name or module path."""
        for one in self.layers:
            if layer in {one.name, one.path}:
                return one
        names = [one.name for one in self.layers]
        raise LayerError(f"nothing of {layer!r}: {', '.join(names)}.{did_you_mean(layer, names)}")

    def with_channels(self, channels: Mapping[str, tuple[int, ...]]) -> TopResult:
        """Return the same search with other channels chosen, by the layers' module paths."""
        layers = (dataclasses.replace(one, channels=channels[one.path]) for one in self.layers)
        return dataclasses.replace(self, layers=tuple(layers))

    def picture(self, layer: str | None = None, form: str = "png") -> bytes:
        """Return a row of crops per channel of a layer as PNG or SVG bytes.

        Crops are of what the network saw; an image that is gone leaves a grey square.
        """
        found = self[layer] if layer else self.layers[0]
        opened: dict[str, NDArray[np.uint8]] = {}
        rows = [
            (
                str(channel),
                [(self._crop(peak, opened), number(peak.value)) for peak in found.peaks(channel)],
            )
            for channel in found.channels
        ]
        count = f"{len(rows)} of {len(found.best.values)} channels"
        text = f"{count}, the strongest of {self.used:,} images first; the number is the activation"
        if not self.backbone.trained:
            text += "; UNTRAINED network"
        title = f"{self.backbone.spec.name}  {found.name}: what excites a channel most"
        return crop_picture(rows, CROP_SIDE, Caption(title, text), form)

    def write(self, out: str | Path | None = None, part: str = "") -> tuple[Path, ...]:
        """Write a picture per layer and return the files.

        Args:
            out: as of :meth:`.MapsResult.write`; None for ``BACKBONE-LAYER-top.png`` here.
            part: extends the name of *out* in any case.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        several, backbone = len(self.layers) > 1, self.backbone.spec.name
        parts = ["-".join(filter(None, [one.name if several else "", part])) for one in self.layers]
        names = [f"{backbone}-{one.name}-top.png" for one in self.layers]
        paths = [one.path for one in self.layers]
        return write_layers(out, names, parts, lambda place, form: self.picture(paths[place], form))

    def to_json(self) -> dict[str, Any]:
        """Return images, cells and boxes as one JSON document."""
        return {
            **describe(self.backbone),
            "engine": self.engine,
            "n_ok": self.used,
            "n_failed": len(self.failures),
            "failures": [dict(row) for row in self.failures],
            "layers": [one.to_json() for one in self.layers],
            "out": [],
        }

    def _crop(self, peak: Peak, opened: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        left, top, right, bottom = peak.box
        if peak.path not in opened:
            # To keep one is enough: neighbours in a row rarely repeat.
            opened.clear()
            try:
                found = network_input(peak.path, self.backbone.input, self.reading.limits)
                opened[peak.path] = found.pixels
            except DataError:
                return np.full((bottom - top, right - left, 3), 128, np.uint8)
        return opened[peak.path][top:bottom, left:right]

    def plot(self, layer: str | None = None) -> Picture:
        """Return a row of crops per channel of a layer; of the first layer by default."""
        one = self[layer] if layer else self.layers[0]
        title = f"{self.backbone.spec.name} {one.name}: what excites a channel most"
        return Picture(title, lambda form: self.picture(one.path, form))

    def pictures(self) -> list[Picture]:
        """Return a picture of each layer."""
        return [self.plot(one.path) for one in self.layers]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images there are, and the strongest of each channel."""
        yield f"{self.used:,} images", f"in {self.backbone.spec.name} ({self.engine})"
        for layer in self.layers:
            for channel in layer.channels:
                peaks = layer.peaks(channel)
                best = f"{number(peaks[0].value)} in {peaks[0].path}" if peaks else "never active"
                yield f"{layer.name} channel {channel}", best

    def blocks(self) -> Iterator[Block]:
        """Yield a line for the images, and one for each channel."""
        first, *channels = self.facts()
        yield " ".join(first)
        for name, text in channels:
            yield f"{name}: {text}"

    def data_table(self) -> Table:
        """Return a row for each of the best images of each channel."""
        columns = (
            *(Column("layer"), Column("channel", "integer"), Column("rank", "integer")),
            *(Column("path"), Column("value", "number")),
            *(Column(name, "integer") for name in ("row", "column")),
        )
        cells = (
            (layer.name, channel, rank, spelled(one.path), one.value, one.row, one.column)
            for layer in self.layers
            for channel in layer.channels
            for rank, one in enumerate(layer.peaks(channel), 1)
        )
        return Table("Top images", columns, tuple(cells))


def top_images(
    sources: Sequence[str | Path],
    layers: Sequence[str],
    *,
    features: FeatureSettings | None = None,
    choice: Choice | None = None,
    top: int = DEFAULT_TOP,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> TopResult:
    """Find the images, and the places in them, that excite channels most.

    Args:
        sources: images, and folders that are searched for images. Files with the same
            bytes count once.
        layers: names or module paths of layers whose activation is a map.
        features: backbone, weights and preprocessing.
        choice: which channels are shown; their strength is the largest activation.
        top: images per channel, 1 to 16.
        run: engine, limits, cache folder; the precision is fp32, bf16 or fp16.
        progress: receives how many images are done.

    Raises:
        DataError: a source holds no images, or none of them can be used.
        LayerError: a layer is unknown, no map, or beyond the weights; a channel is out of
            range.
    """
    run, progress = run or RunSettings(), progress or Silent()
    choice = choice or Choice(limit=DEFAULT_CHANNELS)
    if not 1 <= top <= MAX_TOP:
        raise DataError(f"top {top}: 1 to {MAX_TOP} images per channel")
    table = list_images(sources)
    note_all(progress, table.warnings)
    backbone = backbone_for(features, run, progress)
    places = spatial_layers(backbone, layers, choice)
    found = _search(table.paths, backbone, places, top, run, progress)
    channels = {one.path: choice.of(one.best.strengths) for one in found.layers}
    return found.with_channels(channels)


def _search(
    paths: Sequence[str],
    backbone: Backbone,
    places: Sequence[tuple[Layer, Grid]],
    top: int,
    run: RunSettings,
    progress: Progress,
) -> TopResult:
    """Return the strongest cells in the images of *paths*; no channel is chosen yet."""
    taps = [Tap(row.path) for row, _ in places]
    best = [StrongestCells(grid.channels, top) for _, grid in places]
    taken, failures = list[str](), list[dict[str, str]]()
    images = _images(paths, backbone, run.reading, failures, progress)
    precision = run.engine.precision if run.engine.precision in {"bf16", "fp16"} else "fp32"
    options = dataclasses.replace(run.engine, precision=precision, images=len(paths))
    progress.start("images", len(paths))
    try:
        with notifying(progress), closing(open_engine(backbone, taps, options)) as engine:
            for numbers, outputs in engine.stream(_batches(images, engine.batch_size, taken)):
                for (_, grid), tap, cells in zip(places, taps, best, strict=True):
                    for image, activation in zip(numbers, outputs[tap], strict=True):
                        maps = maps_of(activation, grid, backbone.spec.channels_last)
                        cells.add(image, maps.reshape(grid.channels, -1))
    finally:
        progress.finish()
    if not taken:
        first = failures[0]
        raise DataError(f"none of the images can be used; {first['path']}: {first['reason']}")
    layers = (
        TopImages(
            name=layer_label(row, backbone.spec),
            path=row.path,
            side=grid.side,
            size=backbone.input.size,
            best=cells,
            paths=tuple(taken),
        )
        for (row, grid), cells in zip(places, best, strict=True)
    )
    return TopResult(
        backbone=backbone,
        layers=tuple(layers),
        engine=described(engine),
        failures=tuple(failures),
        reading=run.reading,
    )


def _images(
    paths: Sequence[str],
    backbone: Backbone,
    reading: ReadOptions,
    failures: list[dict[str, str]],
    progress: Progress,
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield path and pixels of each image that can be used, those with the same bytes once."""
    seen: dict[bytes, Facts] = {}
    for item in read_ahead(paths, seen.get, backbone.input, reading, Stopwatch()):
        progress.advance()
        if item.status != "ok":
            path = spelled(item.path)
            failures.append({"path": path, "status": item.status, "reason": item.reason})
        elif item.pixels is not None and item.facts is not None and item.digest not in seen:
            seen[item.digest] = item.facts
            yield item.path, item.pixels


def _batches(
    images: Iterator[tuple[str, NDArray[np.uint8]]], size: int, taken: list[str]
) -> Iterator[tuple[range, NDArray[np.uint8]]]:
    """Yield numbers and pixels of at most *size* images; their paths are put into *taken*."""
    while group := list(itertools.islice(images, size)):
        numbers = range(len(taken), len(taken) + len(group))
        taken.extend(path for path, _ in group)
        yield numbers, np.stack([pixels for _, pixels in group])
