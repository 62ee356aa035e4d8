"""A kind of features: a layer of a backbone and its pooling."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.data.decoding.colour import RGB
from offshelf.data.decoding.limits import DECODING, DEFAULT_LIMITS
from offshelf.engine.contract import EngineOptions, Tap, check_pooling, pyramid_cells
from offshelf.engine.selection import installed, numeric_environment
from offshelf.errors import LayerError

DEFAULT_LAYER = "penultimate"
DEFAULT_POOLING = "avg"
DECODERS = ("pillow", "simplejpeg")
WHITE = DEFAULT_LIMITS.background


def pooled_dimension(shape: tuple[int, ...], channels_last: bool = False) -> int:
    """Return the number of features after ``avg``, ``max`` or ``gem``.

    >>> pooled_dimension((512, 7, 7)), pooled_dimension((197, 768)), pooled_dimension((4096,))
    (512, 768, 4096)
    """
    if len(shape) == 3:
        return shape[2] if channels_last else shape[0]
    if len(shape) == 2:
        return shape[1]
    return math.prod(shape)


@dataclass(frozen=True)
class FeatureKind:
    """One kind of features.

    Attributes:
        layer: the layer as it was asked for, for people.
        path: its module path.
        pooling: ``flatten``, ``avg``, ``max``, ``gem``, ``pyramid`` or ``pyramid:N``.
    """

    layer: str
    path: str
    pooling: str

    @property
    def tap(self) -> Tap:
        """The place in the network where these features come out."""
        return Tap(self.path, self.pooling)

    @property
    def column(self) -> str:
        """The name of these features in a table.

        >>> FeatureKind("pool5", "features.30", "avg").column
        'pool5_avg'
        """
        return f"{self.layer}_{self.pooling.replace(':', '')}"

    def dimension(self, shape: tuple[int, ...], channels_last: bool = False) -> int:
        """Return the number of features of a layer of this *shape*.

        >>> FeatureKind("stage7", "blocks.6", "pyramid").dimension((320, 7, 7))
        1600
        """
        if self.pooling == "flatten":
            return math.prod(shape)
        cells = pyramid_cells(self.pooling) if len(shape) > 1 else 0
        grids = sum(side**2 for side in range(1, cells + 1)) if cells else 1
        return pooled_dimension(shape, channels_last) * grids

    def identity(
        self,
        backbone: Backbone,
        options: EngineOptions,
        background: RGB = WHITE,
        beside: Iterable[FeatureKind] = (),
    ) -> dict[str, Any]:
        """Return everything that decides the numbers: the key of the store.

        Args:
            backbone: network, weights and preprocessing.
            options: engine, device and precision.
            background: what shows through transparent pixels.
            beside: the other features of the same pass.

        Raises:
            EngineError: the engine, device or precision is not available.
        """
        return {
            **backbone.identity(),
            **numeric_environment(options, [self.tap, *(kind.tap for kind in beside)]),
            "layer": self.path,
            "pooling": self.pooling,
            "precision": options.precision_key,
            "decoding": decoding_identity(background),
        }


def decoding_identity(background: RGB = WHITE) -> dict[str, Any]:
    """Return everything that decides the pixels of a file."""
    return {
        "version": DECODING,
        "background": list(background),
        **{package: installed(package) for package in DECODERS},
    }


def feature_kinds(
    backbone: Backbone,
    layers: Iterable[str] = (DEFAULT_LAYER,),
    poolings: Iterable[str] = (DEFAULT_POOLING,),
) -> tuple[FeatureKind, ...]:
    """Return every layer with every pooling, each once.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> [kind.column for kind in feature_kinds(open_backbone("efficientnet_lite0"))]
    ['penultimate_avg']
    """
    pooling_words = [check_pooling(word) for word in poolings]
    kinds = tuple(
        dict.fromkeys(
            FeatureKind(layer, backbone.path_of(layer), pooling)
            for layer in layers
            for pooling in pooling_words
        )
    )
    if not kinds:
        raise LayerError("no layer was asked for")
    return kinds
