"""Feature maps: which layers have one, its geometry, and the channels that are shown.

A map is C x H x W with H = W > 1, since every network here is given a square. Networks
with the channels last, and the tokens of transformers (T x C), are brought to that form;
tokens that stand for no place, such as the class token, come first and are kept apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import INPUT_SUFFIX, Layer, all_layers, named_layers, resolve
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.errors import LayerError, OffshelfError, did_you_mean

MAX_EXTRA_TOKENS = 8


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


def spatial_layer(backbone: Backbone, layer: str) -> tuple[Layer, Grid]:
    """Return the layer named *layer* and how it lies over the image.

    Raises:
        LayerError: there is no such layer, it is not spatial, or the weights do not
            reach it.
    """
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
    """Return the layers with a map that finish at or before *path*, the last one first.

    Args:
        backbone: the network.
        path: module path of a layer.
        limit: at most so many.
    """
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


SORTS = ("index", "strength")
DEFAULT_LIMIT = 64
MAX_CHANNELS = 1024
_RANGE = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?")


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


def check_sort(sort: str) -> str:
    """Return *sort* if it is ``index`` or ``strength``.

    Raises:
        OffshelfError: it is neither.
    """
    if sort not in SORTS:
        raise OffshelfError(f"no order {sort!r}: {' or '.join(SORTS)}.{did_you_mean(sort, SORTS)}")
    return sort


def check_channels(wanted: Sequence[int], count: int, layer: str) -> None:
    """Check that a layer has the channels.

    Raises:
        LayerError: one of them is out of range, or there are more than 1024.
    """
    _check_count(len(wanted))
    for channel in wanted:
        if not 0 <= channel < count:
            raise LayerError(f"{layer} has the channels 0 to {count - 1}: no channel {channel}")


def chosen(
    strengths: Sequence[float] | NDArray[Any], wanted: Sequence[int] | None, sort: str, limit: int
) -> tuple[int, ...]:
    """Return the channels to show.

    Args:
        strengths: of every channel of the layer.
        wanted: these channels only; None for all, of which at most *limit* are taken.
        sort: ``index``: by number, or as they stand in *wanted*; ``strength``: the
            strongest first.
        limit: at least 1.

    >>> chosen([1.0, 5.0, 2.0], None, "strength", 2)
    (1, 2)
    """
    given = list(wanted) if wanted is not None else list(range(len(strengths)))
    if sort == "strength":
        given.sort(key=lambda channel: -float(strengths[channel]))
    return tuple(given if wanted is not None else given[: min(limit, MAX_CHANNELS)])


def _check_count(count: int) -> None:
    if count > MAX_CHANNELS:
        raise LayerError(f"{count} channels or more: one picture shows at most {MAX_CHANNELS}")
    if count == 0:
        raise LayerError("no channel was asked for")
