"""Result of a search for the images that activate channels most."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.errors import DataError, LayerError, did_you_mean
from offshelf.features.network_input import network_input
from offshelf.features.reader import ReadOptions
from offshelf.jobs.setup.opening import describe
from offshelf.jobs.visualise.picture_files import picture_path, write_picture
from offshelf.report.pictures.activation_tiles import Caption, crop_picture
from offshelf.report.pictures.canvas import form_of
from offshelf.report.pictures.mosaic import number
from offshelf.text import spelled

CROP_SIDE = 96


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The largest activation of a channel in one image.

    Attributes:
        path: of the image.
        value: the activation.
        row: of the cell, from 0.
        column: of the cell, from 0.
        box: left, top, right, bottom of the crop, in pixels of the network's input.
    """

    path: str
    value: float
    row: int
    column: int
    box: tuple[int, int, int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "path": spelled(self.path),
            "value": self.value,
            "row": self.row,
            "column": self.column,
            "box": list(self.box),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class TopImages:
    """The best images for the channels of one layer.

    Attributes:
        name: of the layer.
        path: its module path.
        side: of its map, in cells.
        size: of the network's input, in pixels.
        values: float64, C x top: the largest activations, -inf where no image is left.
        images: int64, C x top: which of *paths* they are in.
        cells: int64, C x top: the cell, counted row by row.
        paths: the images.
        channels: those that were chosen, in their order.
    """

    name: str
    path: str
    side: int
    size: int
    values: NDArray[np.float64]
    images: NDArray[np.int64]
    cells: NDArray[np.int64]
    paths: tuple[str, ...]
    channels: tuple[int, ...]

    def peaks(self, channel: int) -> tuple[Peak, ...]:
        """Return the best images of a channel; none for one that no image excites."""
        columns = np.flatnonzero(np.isfinite(self.values[channel])).tolist()
        return tuple(self._peak(channel, column) for column in columns)

    def to_json(self) -> dict[str, Any]:
        """Return the chosen channels with their images as JSON values."""
        return {
            "name": self.name,
            "path": self.path,
            "channels": [
                {"channel": one, "images": [peak.to_json() for peak in self.peaks(one)]}
                for one in self.channels
            ],
        }

    def _peak(self, channel: int, column: int) -> Peak:
        row, across = divmod(int(self.cells[channel, column]), self.side)
        return Peak(
            path=self.paths[int(self.images[channel, column])],
            value=float(self.values[channel, column]),
            row=row,
            column=across,
            box=crop_box(row, across, self.side, self.size),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TopResult:
    """What channels respond to most in a set of images. Prints itself.

    Attributes:
        backbone: network and weights in use.
        layers: one entry per layer.
        engine: what ran.
        used: images that were looked at; repeated ones count once.
        failures: path, status and reason of the others.
        reading: the bounds under which images are opened again for their crops.
    """

    backbone: Backbone
    layers: tuple[TopImages, ...]
    engine: str
    used: int
    failures: tuple[Mapping[str, str], ...]
    reading: ReadOptions

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

        A crop is cut from what the network saw. An image that can no longer be opened
        leaves a grey square.
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
        text = (
            f"{len(rows)} of {len(found.values)} channels, the strongest of {self.used:,} images "
            "first; the number is the activation"
        )
        if not self.backbone.trained:
            text += "; UNTRAINED network"
        title = f"{self.backbone.spec.name}  {found.name}: what excites a channel most"
        return crop_picture(rows, CROP_SIDE, Caption(title, text), form)

    def write(self, out: str | Path | None = None, part: str = "") -> tuple[Path, ...]:
        """Write a picture per layer and return the files.

        Args:
            out: a ``.png`` or ``.svg`` file, whose name is extended by the layer's where
                there are several; a folder; or None for ``BACKBONE-LAYER-top.png`` here.
            part: extends the name of *out* in any case.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        several, name = len(self.layers) > 1, self.backbone.spec.name
        parts = ["-".join(filter(None, [one.name if several else "", part])) for one in self.layers]
        paths = [
            picture_path(out, f"{name}-{one.name}-top.png", extension)
            for one, extension in zip(self.layers, parts, strict=True)
        ]
        forms = [form_of(path) for path in paths]
        for one, path, form in zip(self.layers, paths, forms, strict=True):
            write_picture(path, self.picture(one.path, form))
        return tuple(paths)

    def to_json(self) -> dict[str, Any]:
        """Return images, cells and boxes as one JSON document."""
        return {
            **describe(self.backbone),
            "engine": self.engine,
            "n_ok": self.used,
            "n_failed": len(self.failures),
            "failures": [dict(row) for row in self.failures],
            "layers": [one.to_json() for one in self.layers],
        }

    def _crop(self, peak: Peak, opened: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        left, top, right, bottom = peak.box
        if peak.path not in opened:
            # One at a time is enough to remember: neighbours in a row rarely repeat.
            opened.clear()
            try:
                found = network_input(peak.path, self.backbone.input, self.reading.limits)
                opened[peak.path] = found.pixels
            except DataError:
                return np.full((bottom - top, right - left, 3), 128, np.uint8)
        return opened[peak.path][top:bottom, left:right]

    def _repr_png_(self) -> bytes:
        return self.picture()

    def __str__(self) -> str:
        lines = [f"{self.used:,} images in {self.backbone.spec.name} ({self.engine})"]
        for layer in self.layers:
            for channel in layer.channels:
                peaks = layer.peaks(channel)
                best = f"{number(peaks[0].value)} in {peaks[0].path}" if peaks else "never active"
                lines.append(f"{layer.name} channel {channel}: {best}")
        return "\n".join(lines)


def crop_box(row: int, column: int, side: int, size: int) -> tuple[int, int, int, int]:
    """Return the part of the input that is shown for a cell: left, top, right, bottom.

    A square around the middle of the cell, four cells wide, at least an eighth and at
    most half of the input, moved inside where it would stick out. This is the heart of
    what the cell sees; its whole receptive field is often the whole image.

    >>> crop_box(0, 13, 14, 224), crop_box(7, 7, 14, 224)
    ((160, 0, 224, 64), (88, 88, 152, 152))
    """
    step = size / side
    width = round(min(max(4 * step, size / 8), size / 2))
    left, top = (
        min(max(round((place + 0.5) * step - width / 2), 0), size - width)
        for place in (column, row)
    )
    return left, top, left + width, top + width
