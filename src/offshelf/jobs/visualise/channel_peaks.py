"""The strongest activations of the channels of a layer, and the images that they are in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from offshelf.card import Brief
from offshelf.jobs.visualise.feature_maps import StrongestCells, crop_box
from offshelf.text import spelled


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The largest activation of a channel in one image.

    Attributes:
        path: of the image.
        value: the activation.
        row: of the cell, from 0; *column* likewise.
        box: left, top, right, bottom of the crop, in pixels of the network's input.
    """

    path: str
    value: float
    row: int
    column: int
    box: tuple[int, int, int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self) | {"path": spelled(self.path), "box": list(self.box)}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TopImages(Brief):
    """The best images for the channels of one layer.

    Attributes:
        name: of the layer.
        path: its module path.
        side: of its map, in cells.
        size: of the network's input, in pixels.
        best: the strongest cells of every channel.
        paths: the images.
        channels: those that were chosen, in their order.
    """

    name: str
    path: str
    side: int
    size: int
    best: StrongestCells
    paths: tuple[str, ...]
    channels: tuple[int, ...] = ()

    def peaks(self, channel: int) -> tuple[Peak, ...]:
        """Return the best images of a channel; none for one that no image excites."""
        best, peaks = self.best, []
        for column in np.flatnonzero(np.isfinite(best.values[channel])).tolist():
            row, across = divmod(int(best.cells[channel, column]), self.side)
            peaks.append(
                Peak(
                    path=self.paths[int(best.images[channel, column])],
                    value=float(best.values[channel, column]),
                    row=row,
                    column=across,
                    box=crop_box(row, across, self.side, self.size),
                )
            )
        return tuple(peaks)

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
