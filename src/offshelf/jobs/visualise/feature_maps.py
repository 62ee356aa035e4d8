"""Feature maps: which layers have one, its geometry, its strongest cells, the channels shown.

A map is C x H x W with H = W > 1, since every network here is given a square. Networks
with the channels last, and the tokens of transformers (T x C), are brought to that form;
tokens without a place, such as the class token, come first and are kept apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import INPUT_SUFFIX, Layer, all_layers, named_layers, resolve
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.errors import LayerError, OffshelfError, did_you_mean

MAX_EXTRA_TOKENS = 8
SORTS = ("index", "strength")
DEFAULT_LIMIT = 64
MAX_CHANNELS = 1024
_RANGE = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?")


@dataclass(frozen=True)
class Choice:
    """Which channels are shown.

    Attributes:
        channels: these; None for all, of which at most *limit* are taken.
        sort: ``index``: by number, or in the order of *channels*; ``strength``: the
            strongest first.
        limit: 1 to 1024.

    Raises:
        OffshelfError: *sort* is unknown.

    >>> Choice(sort="strength", limit=2).of([1.0, 5.0, 2.0])
    (1, 2)
    """

    channels: tuple[int, ...] | None = None
    sort: str = "index"
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            hint = did_you_mean(self.sort, SORTS)
            raise OffshelfError(f"no order {self.sort!r}: {' or '.join(SORTS)}.{hint}")

    def check(self, count: int, layer: str) -> None:
        """Raise LayerError if a layer of *count* channels lacks one of these."""
        if self.channels is None:
            return
        _check_count(len(self.channels))
        for channel in self.channels:
            if not 0 <= channel < count:
                raise LayerError(f"{layer} has the channels 0 to {count - 1}: no channel {channel}")

    def of(self, strengths: Sequence[float] | NDArray[np.float64]) -> tuple[int, ...]:
        """Return the channels to show of a layer whose channels have these *strengths*."""
        given = list(range(len(strengths)) if self.channels is None else self.channels)
        if self.sort == "strength":
            given.sort(key=lambda channel: -float(strengths[channel]))
        return tuple(given if self.channels is not None else given[: min(self.limit, MAX_CHANNELS)])


@dataclass(frozen=True)
class Grid:
    """How an activation lies over the image.

    Attributes:
        channels: C.
        side: H and W, in cells.
        extra: tokens before the cells that belong to no place.
    """

    channels: int
    side: int
    extra: int = 0


def grid_of(shape: tuple[int, ...], channels_last: bool = False) -> Grid | None:
    """Return how an activation of *shape* (one image) lies over it, None for no map.

    >>> grid_of((512, 7, 7)), grid_of((7, 7, 768), channels_last=True)
    (Grid(channels=512, side=7, extra=0), Grid(channels=768, side=7, extra=0))
    >>> grid_of((197, 768)), grid_of((4096,)), grid_of((2048, 1, 1))
    (Grid(channels=768, side=14, extra=1), None, None)
    """
    if len(shape) == 3:
        channels, height, width = (shape[2], *shape[:2]) if channels_last else shape
        return Grid(channels, height) if height == width > 1 else None
    if len(shape) != 2:
        return None
    for extra in range(MAX_EXTRA_TOKENS + 1):
        side = math.isqrt(max(0, shape[0] - extra))
        if side > 1 and side * side == shape[0] - extra:
            return Grid(shape[1], side, extra)
    return None


def positions(
    activation: NDArray[np.float32], grid: Grid, channels_last: bool = False
) -> NDArray[np.float32]:
    """Return *activation* as C x P: a column per token or cell, row by row.

    >>> positions(np.arange(8).reshape(2, 2, 2), Grid(2, 2)).tolist()
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    if activation.ndim == 2:
        return activation.T
    maps = np.moveaxis(activation, -1, 0) if channels_last else activation
    return maps.reshape(grid.channels, -1)


def maps_of(
    activation: NDArray[np.float32], grid: Grid, channels_last: bool = False
) -> NDArray[np.float32]:
    """Return *activation* as C x H x W, without the tokens that belong to no place."""
    cells = positions(activation, grid, channels_last)[:, grid.extra :]
    return cells.reshape(grid.channels, grid.side, grid.side)


def spatial_layers(
    backbone: Backbone, layers: Sequence[str], choice: Choice
) -> list[tuple[Layer, Grid]]:
    """Return the layers of these names, each once, and how each lies over the image.

    Raises:
        LayerError: there is no such layer, it is not spatial, or the weights do not
            reach it; it lacks a channel that was chosen; or no layer is named.
    """
    found = [_spatial_layer(backbone, layer) for layer in dict.fromkeys(layers)]
    if not found:
        raise LayerError("no layer was asked for")
    for row, grid in found:
        choice.check(grid.channels, row.name)
    return found


def _spatial_layer(backbone: Backbone, layer: str) -> tuple[Layer, Grid]:
    spec, size = backbone.spec, backbone.input.size
    row = resolve(spec, layer, size)
    grid = grid_of(row.shape, spec.channels_last)
    if grid is None:
        shape = " x ".join(str(side) for side in row.shape)
        raise LayerError(
            f"{spec.name}: {layer} puts out {shape} values, which is no map over the image; "
            f"spatial layers: {_examples(spec, size)}; 'offshelf layers {spec.name}' lists them"
        )
    backbone.require(row.path)
    return row, grid


def maps_before(backbone: Backbone, path: str, limit: int) -> tuple[tuple[Layer, Grid], ...]:
    """Return at most *limit* layers with a map that finish at or before *path*, last first."""
    rows = all_layers(backbone.spec, backbone.input.size)
    last = next(number for number, row in enumerate(rows) if row.path == path)
    found = (
        (row, grid)
        for row in reversed(rows[: last + 1])
        if (grid := grid_of(row.shape, backbone.spec.channels_last)) is not None
    )
    return tuple(pair for pair, _ in zip(found, range(limit), strict=False))


def layer_label(row: Layer, spec: BackboneSpec) -> str:
    """Return what to call a layer: its own name, else the layer whose output it is given.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> spec = get_spec("efficientnet_lite0")
    >>> layer_label(resolve(spec, "global_pool:in", 224), spec)
    'input of penultimate'
    """
    if not row.path.endswith(INPUT_SUFFIX) or row.name != row.path:
        return row.name
    names = {path: name for name, path in spec.layers}
    path = row.path.removesuffix(INPUT_SUFFIX)
    return f"input of {names.get(path, path)}"


def _examples(spec: BackboneSpec, size: int) -> str:
    names = [r.name for r in named_layers(spec, size) if grid_of(r.shape, spec.channels_last)]
    return f"{names[0]} to {names[-1]}" if names else "none has a name"


class StrongestCells:
    """The *top* largest activations of each of C channels.

    ``values`` (float64, C x top) are -inf where no image is left; ``means`` are those of the
    maps, ``images`` (int64) and ``cells`` (int64, counted row by row) say where each is.
    Many networks cut activations off (ReLU6): among equal values the larger mean of the
    map goes first, then the earlier image.
    """

    def __init__(self, channels: int, top: int) -> None:
        self.values = np.full((channels, top), -np.inf)
        self.means = np.full((channels, top), -np.inf)
        self.images = np.zeros((channels, top), np.int64)
        self.cells = np.zeros((channels, top), np.int64)

    @property
    def strengths(self) -> NDArray[np.float64]:
        """The largest activation of every channel, float64, C; 0 where no image is left."""
        return np.where(np.isfinite(self.values[:, 0]), self.values[:, 0], 0.0)

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


def parse_channels(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as ``0,3,10-20``, each once, in its order.

    Raises:
        LayerError: the text is no such list, or names more than 1024 channels.

    >>> parse_channels("0, 3, 10-12, 3")
    (0, 3, 10, 11, 12)
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise LayerError(f"channels {text!r}: {part.strip()!r} is no number or range as 10-20")
        numbers.update(dict.fromkeys(range(first, min(last, first + MAX_CHANNELS) + 1)))
        _check_count(len(numbers))
    return tuple(numbers)


def mean_strengths(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean absolute value of every channel, float64, C, of C x ... values."""
    axes = tuple(range(1, values.ndim))
    return np.asarray(np.abs(values).mean(axis=axes, dtype=np.float64))


def _check_count(count: int) -> None:
    if count > MAX_CHANNELS:
        raise LayerError(f"{count} channels or more: one picture shows at most {MAX_CHANNELS}")
    if count == 0:
        raise LayerError("no channel was asked for")
