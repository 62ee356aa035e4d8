"""Search for the images, and the places in them, that activate channels most.

One pass over the images. Of every channel only the largest activation of each image is
looked at, and only the best few are remembered as numbers; the images themselves are
opened again when the picture is drawn. So memory is one batch of activations, however
many images there are.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import Layer
from offshelf.data.decoding.limits import Facts
from offshelf.data.tables.image_table import list_images
from offshelf.engine.contract import Engine, EngineOptions, Tap
from offshelf.engine.selection.select import open_engine
from offshelf.errors import DataError, LayerError
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import Digested, read_ahead
from offshelf.jobs.setup.opening import backbone_for
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.jobs.visualise.activation_maps import Choice, described
from offshelf.jobs.visualise.feature_maps import (
    Grid,
    check_channels,
    chosen,
    layer_label,
    maps_of,
    spatial_layer,
)
from offshelf.jobs.visualise.top_images import TopImages, TopResult
from offshelf.progress import Progress, Silent, notifying
from offshelf.text import spelled

DEFAULT_TOP, MAX_TOP = 8, 16
DEFAULT_CHANNELS = 16


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
        run: engine, limits, cache folder. Precision is fp32 unless bf16 or fp16 is asked
            for.
        progress: is told how many images are done.

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
    for warning in table.warnings:
        progress.note(warning)
    backbone = backbone_for(features or FeatureSettings(), run, progress)
    places = [spatial_layer(backbone, layer) for layer in dict.fromkeys(layers)]
    if not places:
        raise LayerError("no layer was asked for")
    for row, grid in places:
        if choice.channels is not None:
            check_channels(choice.channels, grid.channels, row.name)
    search = _Search(backbone, places, top)
    search.run(table.paths, run, progress)
    return search.result(choice, run)


class _Search:
    """One pass over the images with a short list of the best per channel."""

    def __init__(self, backbone: Backbone, places: Sequence[tuple[Layer, Grid]], top: int) -> None:
        self.backbone, self.places = backbone, list(places)
        self.ran, self.used = "", 0
        self.failures: list[dict[str, str]] = []
        self._paths: list[str] = []
        self._seen: dict[bytes, Facts] = {}
        self._best = [_Best(grid.channels, top) for _, grid in places]

    def run(self, paths: Sequence[str], run: RunSettings, progress: Progress) -> None:
        """Work through *paths*.

        Raises:
            DataError: no image could be used.
        """
        taps = [Tap(row.path) for row, _ in self.places]
        reading, seen = run.reading, self._seen
        ahead = read_ahead(paths, seen.get, self.backbone.input, reading, Stopwatch())
        options = _exactly(run.engine, len(paths))
        progress.start("images", len(paths))
        try:
            with (
                notifying(progress),
                contextlib.closing(open_engine(self.backbone, taps, options)) as engine,
            ):
                self.ran = described(engine)
                for numbers, outputs in engine.stream(self._batches(ahead, engine, progress)):
                    for place, tap in enumerate(taps):
                        self._note(place, numbers, outputs[tap])
        finally:
            progress.finish()
        if not self.used:
            first = self.failures[0]
            raise DataError(f"none of the images can be used; {first['path']}: {first['reason']}")

    def result(self, choice: Choice, run: RunSettings) -> TopResult:
        """Return what was found, with the chosen channels."""
        return TopResult(
            backbone=self.backbone,
            layers=tuple(self._layer(number, choice) for number in range(len(self.places))),
            engine=self.ran,
            used=self.used,
            failures=tuple(self.failures),
            reading=run.reading,
        )

    def _layer(self, number: int, choice: Choice) -> TopImages:
        """Return the best of layer *number* with the chosen channels."""
        (row, grid), best = self.places[number], self._best[number]
        strengths = np.where(np.isfinite(best.values[:, 0]), best.values[:, 0], 0.0)
        return TopImages(
            name=layer_label(row, self.backbone.spec),
            path=row.path,
            side=grid.side,
            size=self.backbone.input.size,
            values=best.values,
            images=best.images,
            cells=best.cells,
            paths=tuple(self._paths),
            channels=chosen(strengths, choice.channels, choice.sort, choice.limit),
        )

    def _batches(
        self, ahead: Iterator[Digested], engine: Engine, progress: Progress
    ) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
        group: list[Digested] = []
        for item in ahead:
            progress.advance()
            if item.pixels is None or item.facts is None or item.digest in self._seen:
                if item.status != "ok":
                    path = spelled(item.path)
                    row = {"path": path, "status": item.status, "reason": item.reason}
                    self.failures.append(row)
                continue
            self._seen[item.digest] = item.facts
            group.append(item)
            if len(group) == engine.batch_size:
                yield self._stacked(group)
                group = []
        if group:
            yield self._stacked(group)

    def _stacked(self, group: list[Digested]) -> tuple[list[int], NDArray[np.uint8]]:
        numbers = list(range(len(self._paths), len(self._paths) + len(group)))
        self._paths.extend(item.path for item in group)
        self.used += len(group)
        return numbers, np.stack([item.pixels for item in group if item.pixels is not None])

    def _note(self, place: int, numbers: list[int], values: NDArray[np.float32]) -> None:
        _, grid = self.places[place]
        for number, activation in zip(numbers, values, strict=True):
            maps = maps_of(activation, grid, self.backbone.spec.channels_last)
            self._best[place].add(number, maps.reshape(grid.channels, -1))


class _Best:
    """The *top* largest values of every channel, with image and cell.

    Many networks cut activations off (ReLU6): among equal values the larger mean of the
    map goes first, then the earlier image.
    """

    def __init__(self, channels: int, top: int) -> None:
        self.values = np.full((channels, top), -np.inf)
        self.means = np.full((channels, top), -np.inf)
        self.images = np.zeros((channels, top), np.int64)
        self.cells = np.zeros((channels, top), np.int64)

    def add(self, image: int, cells: NDArray[np.float32]) -> None:
        """Take the largest cell of every channel (C x P), unless all its cells are equal."""
        values, means = cells.max(axis=1).astype(np.float64), cells.mean(axis=1, dtype=np.float64)
        last, last_mean = self.values[:, -1], self.means[:, -1]
        larger = (values > last) | ((values == last) & (means > last_mean))
        rows = np.flatnonzero(larger & (values > cells.min(axis=1)))
        self.values[rows, -1], self.means[rows, -1] = values[rows], means[rows]
        self.images[rows, -1] = image
        self.cells[rows, -1] = cells[rows].argmax(axis=1)
        order = np.lexsort((-self.means[rows], -self.values[rows]), axis=1)
        for array in (self.values, self.means, self.images, self.cells):
            array[rows] = np.take_along_axis(array[rows], order, axis=1)


def _exactly(options: EngineOptions, images: int) -> EngineOptions:
    precision = options.precision if options.precision in {"bf16", "fp16"} else "fp32"
    return dataclasses.replace(options, precision=precision, images=images)
