"""Filters of the first convolution, as pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.architectures import load_module
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for, describe
from offshelf.jobs.visualise.feature_maps import Choice, mean_strengths
from offshelf.jobs.visualise.picture_files import picture_path, safe, write_picture
from offshelf.progress import Progress, Silent
from offshelf.report.pictures.activation_tiles import Caption, Look, filter_picture
from offshelf.report.pictures.canvas import form_of
from offshelf.report.pictures.picture import Picture
from offshelf.report.result import Block, Drawn
from offshelf.report.tables.result_rows import Column, Table


@dataclass(frozen=True, eq=False, repr=False)
class FiltersResult(Drawn):
    """First-layer filters. Prints itself; a notebook shows the picture.

    Attributes:
        backbone: network and weights in use.
        path: module path of the first convolution.
        weights: float32, N x 3 x k x k: red, green and blue weights of all N filters.
        channels: those that were chosen, in their order.
    """

    backbone: Backbone
    path: str
    weights: NDArray[np.float32]
    channels: tuple[int, ...]

    @property
    def strengths(self) -> NDArray[np.float64]:
        """Mean absolute weight of every filter, float64, N."""
        return mean_strengths(self.weights)

    def picture(self, look: Look | None = None) -> bytes:
        """Return the chosen filters as PNG or SVG bytes."""
        count, _, height, width = self.weights.shape
        shown = f"{len(self.channels)} of {count} filters, {width} x {height}"
        text = f"{shown}; mid-grey is a weight of zero, the colour says which colours count"
        untrained = "" if self.backbone.trained else "  UNTRAINED"
        return filter_picture(
            self.weights[list(self.channels)],
            [str(channel) for channel in self.channels],
            Caption(f"{self.backbone.spec.name}  {self.path}{untrained}", text),
            look,
        )

    def write(self, out: str | Path | None = None, look: Look | None = None) -> Path:
        """Write the picture and return the file: *out*, or ``BACKBONE-filters.png`` here.

        Raises:
            OffshelfError: the name or the folder cannot be used.
        """
        path = picture_path(out, f"{safe(self.backbone.spec.name)}-filters.png")
        look = dataclasses.replace(look or Look(), form=form_of(path))
        return write_picture(path, self.picture(look))

    def to_json(self) -> dict[str, Any]:
        """Return the chosen filters with their weights as one JSON document."""
        strengths = self.strengths
        return {
            **describe(self.backbone),
            "path": self.path,
            "shape": list(self.weights.shape),
            "filters": [
                {
                    "channel": channel,
                    "strength": float(strengths[channel]),
                    "weights": self.weights[channel].tolist(),
                }
                for channel in self.channels
            ],
            "out": None,
        }

    def plot(self, look: Look | None = None) -> Picture:
        """Return the chosen filters as a picture."""
        look = look or Look()

        def draw(form: str) -> bytes:
            return self.picture(dataclasses.replace(look, form=form))

        return Picture(self._convolution(), draw)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many filters there are."""
        count, _, height, width = self.weights.shape
        yield (
            self._convolution(),
            f"{count} filters of {width} x {height} over "
            f"red, green and blue, {len(self.channels)} chosen",
        )

    def blocks(self) -> Iterator[Block]:
        """Yield the facts on one line."""
        for name, text in self.facts():
            yield f"{name}: {text}"

    def data_table(self) -> Table:
        """Return the strength of each chosen filter."""
        strengths = self.strengths
        columns = (Column("channel", "integer"), Column("strength", "number"))
        cells = ((channel, float(strengths[channel])) for channel in self.channels)
        return Table("Filters", columns, tuple(cells))

    def _convolution(self) -> str:
        return f"{self.backbone.spec.name} {self.path}"


def first_filters(
    features: FeatureSettings | None = None,
    *,
    choice: Choice | None = None,
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> FiltersResult:
    """Return the filters of the first convolution.

    Args:
        features: backbone and weights.
        choice: which filters are shown; their strength is the mean absolute weight.
        run: the cache folder.
        progress: receives notes and downloads.

    Raises:
        BackboneError: the network begins with no convolution over red, green and blue.
        LayerError: a channel is out of range.

    >>> first_filters().weights.shape
    (32, 3, 3, 3)
    """
    from offshelf.engine.torch_engine.tapped_network import first_convolution

    choice = choice or Choice()
    backbone = backbone_for(features, run or RunSettings(), progress or Silent())
    network = load_module(backbone.spec, backbone.file)
    path, convolution = first_convolution(network, backbone.spec.name)
    weights: NDArray[np.float32] = convolution.weight.detach().numpy().astype(np.float32)
    choice.check(len(weights), path)
    return FiltersResult(backbone, path, weights, choice.of(mean_strengths(weights)))
