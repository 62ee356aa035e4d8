"""Opening of feature sets: from names to networks with weights."""

from __future__ import annotations

from collections.abc import Callable

from offshelf.backbones.backbone import ALL, DEEPEST, Backbone, chosen_layers
from offshelf.engine.contract import check_pooling
from offshelf.errors import OffshelfError
from offshelf.feature_sets.feature_set import (
    FeaturePart,
    FeatureSet,
    check_flips,
    usual_normalisation,
)
from offshelf.feature_sets.notation import NamedPart, NamedSet, read_features
from offshelf.features.feature_kind import DEFAULT_LAYER, feature_kinds
from offshelf.text import shown

# Opens a network by its name, for inputs of a size in pixels, None for that of its weights.
Open = Callable[[str, int | None], Backbone]


def named_set(features: str | None, backbone: str, layer: str, weights: str | None) -> NamedSet:
    """Return the features that *features* names, or one *layer* of *backbone*.

    Args:
        features: see :mod:`.notation`; None for one layer.
        backbone: of parts that name none.
        layer: taken without *features*.
        weights: as for :func:`.open_backbone`; one file is of no use to several networks.

    Raises:
        OffshelfError: the text cannot be read, or the arguments contradict each other.
    """
    if features is None:
        return NamedSet((NamedPart(backbone=backbone, layer=layer),))
    if layer != DEFAULT_LAYER:
        raise OffshelfError(
            f"features {features!r} and layer {layer!r}: features name their layers; "
            "leave one of the two out"
        )
    named = read_features(features, backbone)
    several = len({part.backbone for part in named.parts}) > 1
    if several and weights not in (None, "random"):
        raise OffshelfError(
            f"features of several networks, and one weights file, {shown(str(weights))}: "
            "'offshelf weights add FILE --backbone NAME' keeps the file where it is found"
        )
    return named


def opened_set(
    named: NamedSet, open_one: Open, *, pooling: str, flips: str, size: int | None, seed: int
) -> FeatureSet:
    """Return the features with their networks, each opened once.

    Args:
        named: what was written.
        open_one: opens a network.
        pooling: of parts without one.
        flips: ``none``, or where mirror images are used.
        size: of the inputs of networks without one; None for those of the weights.
        seed: of a product.

    Raises:
        LayerError: a network has no such layer, or there is no such pooling.
        OffshelfError: what *open_one* raises; an unknown word for flips.
    """
    flips, pooling = check_flips(flips), check_pooling(pooling)
    opened: dict[tuple[str, int | None], Backbone] = {}
    found = []
    for one in named.parts:
        key = one.backbone, one.size or size
        if key not in opened:
            opened[key] = open_one(*key)
        backbone, words = opened[key], [one.layer]
        if one.layer in (ALL, DEEPEST):
            words = [*chosen_layers(backbone, (one.layer,))]
        for kind in feature_kinds(backbone, words, [one.pooling or pooling]):
            found.append((backbone, kind, one.normalisation))
    own = usual_normalisation(len(found))
    parts = tuple(FeaturePart(backbone, kind, word or own) for backbone, kind, word in found)
    if len({(part.backbone, part.kind.path, part.kind.pooling) for part in parts}) < len(parts):
        raise OffshelfError("the features name a layer twice")
    return FeatureSet(parts, named.product, flips, seed if named.product else 0)
