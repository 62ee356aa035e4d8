"""Feature sets (views): a layer of a backbone, or several side by side or multiplied."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from offshelf.backbones.backbone import ALL
from offshelf.engine.contract import check_pooling
from offshelf.errors import LayerError, OffshelfError
from offshelf.feature_sets.feature_set import NO_FLIPS, check_flips
from offshelf.feature_sets.notation import (
    L2,
    MAX_PARTS,
    PLAIN,
    NamedPart,
    NamedSet,
    PartNormalisation,
    read_features,
    written,
)
from offshelf.jobs.compare.grid import NetworkAxes


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to run one network over all images.

    Attributes:
        backbone: its name.
        weights: ``trained`` or ``random``.
        resize: the mode, None for the weights' own.
        scaling: ``weights`` or ``none``.
        grey: ``replicate``, ``luma`` or ``summed``.
        precision: of the network.
        mirrored: over the mirror images.
        size: side of the input in pixels, None for that of the weights.
    """

    backbone: str
    weights: str = "trained"
    resize: str | None = None
    scaling: str = "weights"
    grey: str = "replicate"
    precision: str = "fp32"
    mirrored: bool = False
    size: int | None = None

    @property
    def name(self) -> str:
        """The backbone, with its size where that is not the weights' own."""
        return self.backbone if self.size is None else f"{self.backbone}@{self.size}"

    @property
    def plain(self) -> Source:
        """The same over the images themselves."""
        return dataclasses.replace(self, mirrored=False)


@dataclass(frozen=True)
class Part:
    """The features of one layer, and how each row is normalised where there are several."""

    source: Source
    layer: str
    pooling: str
    normalisation: PartNormalisation = PLAIN

    @property
    def mirror(self) -> Part:
        """The same of the mirror images."""
        return dataclasses.replace(self, source=dataclasses.replace(self.source, mirrored=True))


@dataclass(frozen=True)
class View:
    """Parts side by side or multiplied, each of Euclidean norm 1 unless it says otherwise.

    Attributes:
        parts: at least one.
        flips: where mirror images are used: ``none``, ``training``, ``prediction`` or ``both``.
        product: whether the parts are multiplied.

    >>> part = Part(Source(backbone="vgg16"), "pool5", "avg")
    >>> View((part, dataclasses.replace(part, layer="pool4"))).layer
    'pool5 + pool4'
    """

    parts: tuple[Part, ...]
    flips: str = NO_FLIPS
    product: bool = False

    @property
    def backbone(self) -> str:
        """The names of the backbones, each once."""
        return _joined(part.source.backbone for part in self.parts)

    @property
    def of_several_backbones(self) -> bool:
        """Whether the parts come from different backbones."""
        return len({part.source.name for part in self.parts}) > 1

    @property
    def layer(self) -> str:
        """The layers; of several backbones with their names."""
        named = self.of_several_backbones
        names = [f"{p.source.name}:{p.layer}" if named else p.layer for p in self.parts]
        return (" * " if self.product else " + ").join(names)

    @property
    def pooling(self) -> str:
        """The poolings, each once."""
        return _joined(part.pooling for part in self.parts)

    @property
    def resize(self) -> str:
        """The resize modes, each once."""
        return _joined(part.source.resize or "default" for part in self.parts)

    @property
    def size(self) -> str:
        """The sides of the inputs, each once."""
        return _joined(str(part.source.size or "default") for part in self.parts)

    @property
    def weights(self) -> str:
        """Trained or random."""
        return _joined(part.source.weights for part in self.parts)

    @property
    def scaling(self) -> str:
        """Of pixels: that of the weights, or none."""
        return _joined(part.source.scaling for part in self.parts)

    @property
    def grey(self) -> str:
        """What becomes of colour."""
        return _joined(part.source.grey for part in self.parts)

    @property
    def precision(self) -> str:
        """Of the networks."""
        return _joined(part.source.precision for part in self.parts)

    @property
    def needs(self) -> tuple[Part, ...]:
        """Every part that has to be extracted."""
        mirrors = tuple(part.mirror for part in self.parts) if self.flips != NO_FLIPS else ()
        return (*self.parts, *mirrors)

    @property
    def text(self) -> str:
        """The features as ``fit --features`` takes them."""
        named = [
            NamedPart(
                backbone=part.source.backbone,
                size=part.source.size,
                layer=part.layer,
                pooling=part.pooling,
                normalisation=part.normalisation,
            )
            for part in self.parts
        ]
        return written(named, self.product)


Layers = Callable[[Source, tuple[str, ...]], tuple[str, ...]]


def views_of(axes: NetworkAxes, concat: Sequence[str], layers: Layers) -> tuple[View, ...]:
    """Return the views of the grid, by backbone and depth, then what is concatenated.

    Args:
        axes: what varies.
        concat: ``all`` (the deepest layer of every backbone), or parts joined by ``+`` (side
            by side) or ``*`` (their product), each a backbone and perhaps ``:layer``.
        layers: returns the layers that some words mean in a source.

    Raises:
        LayerError: a backbone lacks a layer.
        OffshelfError: a concatenation cannot be read, or is of one part or too many.
    """
    flips = list(dict.fromkeys(map(check_flips, axes.flips)))
    views = []
    for source in _sources(axes):
        for name in layers(source, axes.layers):
            for pooling, flip in itertools.product(dict.fromkeys(axes.poolings), flips):
                views.append(View((Part(source, name, check_pooling(pooling)),), flip))
    for text in concat:
        named = _read(text, axes)
        for source in _settings(axes):
            parts = tuple(_parts(named, source, axes.poolings[0], layers))
            _check_parts(text, parts)
            views += [View(parts, flip, named.product) for flip in flips]
    return tuple(dict.fromkeys(views))


def _parts(named: NamedSet, setting: Source, pooling: str, layers: Layers) -> Iterator[Part]:
    for one in named.parts:
        size = one.size or setting.size
        source = dataclasses.replace(setting, backbone=one.backbone, size=size)
        for name in layers(source, (one.layer,)):
            own = check_pooling(one.pooling or pooling)
            yield Part(source, name, own, one.normalisation or L2)


def _settings(axes: NetworkAxes) -> list[Source]:
    """Return every setting that is no backbone, with an empty name."""
    product = itertools.product(
        dict.fromkeys(axes.weights),
        dict.fromkeys(axes.resizes),
        dict.fromkeys(axes.scalings),
        dict.fromkeys(axes.greys),
        dict.fromkeys(axes.precisions),
        dict.fromkeys(axes.input_sizes),
    )
    return [
        Source(
            backbone="",
            weights=weights,
            resize=resize,
            scaling=scaling,
            grey=grey,
            precision=precision,
            size=size,
        )
        for weights, resize, scaling, grey, precision, size in product
    ]


def _sources(axes: NetworkAxes) -> list[Source]:
    return [
        dataclasses.replace(setting, backbone=name)
        for name in dict.fromkeys(axes.backbones)
        for setting in _settings(axes)
    ]


def _read(text: str, axes: NetworkAxes) -> NamedSet:
    if text == ALL:
        return NamedSet(tuple(NamedPart(backbone=name) for name in dict.fromkeys(axes.backbones)))
    return read_features(text, axes.backbones[0])


def _check_parts(text: str, parts: tuple[Part, ...]) -> None:
    if len(parts) < 2:
        raise OffshelfError(
            f"the concatenation {text!r} has one part only: name several backbones or layers"
        )
    if len(parts) > MAX_PARTS:
        raise OffshelfError(
            f"the concatenation {text!r} has {len(parts)} parts: at most {MAX_PARTS}"
        )
    if len(set(parts)) < len(parts):
        raise LayerError(f"the concatenation {text!r} names a layer twice")


def _joined(words: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(words))
