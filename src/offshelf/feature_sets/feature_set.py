"""A feature set: the layers whose features are side by side or multiplied, and mirror images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.errors import OffshelfError, check_choice
from offshelf.feature_sets.notation import L2, PLAIN, NamedPart, PartNormalisation, spoken, written
from offshelf.features.feature_kind import FeatureKind
from offshelf.heads.preparation.prepare import Preparation, apply
from offshelf.heads.preparation.reduction import PRODUCT_DIMENSION, product_of

Matrix = NDArray[np.float32]
NO_FLIPS, TRAINING, PREDICTION, BOTH = FLIPS = ("none", "training", "prediction", "both")


@dataclass(frozen=True)
class FeaturePart:
    """The features of one layer.

    Attributes:
        backbone: the network, with its weights and preprocessing.
        kind: layer and pooling.
        normalisation: of each row before parts are joined: ``l2``, ``sqrt`` (the root of every
            value with its sign, then l2) or ``none``.
    """

    backbone: Backbone
    kind: FeatureKind
    normalisation: PartNormalisation = PLAIN

    @property
    def named(self) -> NamedPart:
        """The part as it is written."""
        size, own = self.backbone.input.size, self.backbone.file.spec.input.size
        return NamedPart(
            backbone=self.backbone.spec.name,
            size=None if size == own else size,
            layer=self.kind.layer,
            pooling=self.kind.pooling,
            normalisation=self.normalisation,
        )


@dataclass(frozen=True)
class Joining:
    """How the features of several layers become one row.

    Attributes:
        normalisations: of each part.
        product: whether the parts are multiplied, see :func:`.product_of`, instead of standing
            side by side.
        seed: of the product.
    """

    normalisations: tuple[PartNormalisation, ...]
    product: bool = False
    seed: int = 0

    def join(self, parts: Sequence[Matrix]) -> Matrix:
        """Return the rows N x D of *parts*, each N x D_i; no row depends on another.

        >>> one, two = np.array([[3, 4]], np.float32), np.array([[0, 2]], np.float32)
        >>> Joining(("l2", "l2")).join([one, two]).round(1).tolist()
        [[0.6000000238418579, 0.800000011920929, 0.0, 1.0]]
        """
        units = [
            part if own == PLAIN else apply(Preparation(own, "none", {}), part)
            for own, part in zip(self.normalisations, parts, strict=True)
        ]
        if self.product:
            return product_of(units, self.seed)
        return units[0] if len(units) == 1 else np.concatenate(units, axis=1)

    def dimension(self, widths: Sequence[int]) -> int:
        """Return D of parts that have these numbers of columns.

        >>> Joining(("l2", "l2")).dimension([3, 4]), Joining(("l2",) * 2, True).dimension([3, 4])
        (7, 2048)
        """
        return PRODUCT_DIMENSION if self.product else sum(widths)


@dataclass(frozen=True)
class FeatureSet:
    """Layers of one or several backbones.

    Attributes:
        parts: at least one; those of one backbone cost one pass over the images.
        product: whether the parts are multiplied instead of standing side by side.
        flips: where mirror images are used: ``none``; ``training`` trains on each image and its
            mirror image; ``prediction`` averages the scores of both; or ``both``.
        seed: of the product.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> from offshelf.features.feature_kind import feature_kinds
    >>> backbone = open_backbone("efficientnet_lite0")
    >>> kinds = feature_kinds(backbone, ["penultimate", "stage6"])
    >>> print(FeatureSet(tuple(FeaturePart(backbone, kind, "l2") for kind in kinds)))
    efficientnet_lite0:penultimate+stage6
    """

    parts: tuple[FeaturePart, ...]
    product: bool = False
    flips: str = NO_FLIPS
    seed: int = 0

    def __str__(self) -> str:
        return written([part.named for part in self.parts], self.product)

    @property
    def backbone(self) -> Backbone:
        """The first network."""
        return self.parts[0].backbone

    @property
    def kind(self) -> FeatureKind:
        """The features of the first part."""
        return self.parts[0].kind

    @property
    def backbones(self) -> tuple[Backbone, ...]:
        """The networks, each once."""
        return tuple(dict.fromkeys(part.backbone for part in self.parts))

    @property
    def mirrored_parts(self) -> tuple[FeaturePart, ...]:
        """The same parts over the mirror images."""
        return tuple(
            dataclasses.replace(part, backbone=mirrored(part.backbone)) for part in self.parts
        )

    @property
    def trains_mirrors(self) -> bool:
        """Whether mirror images are trained on."""
        return self.flips in (TRAINING, BOTH)

    @property
    def averages(self) -> bool:
        """Whether the scores of an image and its mirror image are averaged."""
        return self.flips in (PREDICTION, BOTH)

    def without_flips(self) -> FeatureSet:
        """Return the same without mirror images."""
        return dataclasses.replace(self, flips=NO_FLIPS)

    @property
    def trained(self) -> bool:
        """False where a network has random weights."""
        return all(backbone.trained for backbone in self.backbones)

    @property
    def joining(self) -> Joining:
        """How the parts become one row."""
        own = tuple(part.normalisation for part in self.parts)
        return Joining(own, self.product, self.seed)

    def kinds_of(self, backbone: Backbone) -> tuple[FeatureKind, ...]:
        """Return what one pass of *backbone* takes, each once."""
        found = (part.kind for part in self.parts if part.backbone == backbone)
        return tuple(dict.fromkeys(found))

    @property
    def title(self) -> str:
        """What it is, for a person: networks, layers and poolings."""
        return spoken([part.named for part in self.parts], self.product)

    @property
    def changed(self) -> str:
        """What is not as it belongs to the weights, and where mirror images are used; or ""."""
        # The title names sizes.
        found = "".join(dict.fromkeys(one.changed_but_size for one in self.backbones))
        flips = "" if self.flips == NO_FLIPS else f"; mirror images: {self.flips}"
        return f"{found}{flips}"

    def _words(self, field: str) -> list[str]:
        return list(dict.fromkeys(getattr(part.kind, field) for part in self.parts))

    def describe(self) -> dict[str, Any]:
        """Return what a result says of its features, as JSON values."""
        return {
            "features": str(self),
            "layer": " + ".join(self._words("layer")),
            "pooling": " + ".join(self._words("pooling")),
            "flips": self.flips,
        }


def mirrored(backbone: Backbone) -> Backbone:
    """Return *backbone* over the mirror images."""
    return dataclasses.replace(backbone, input=dataclasses.replace(backbone.input, mirrored=True))


def check_flips(word: str) -> str:
    """Return where mirror images are used, in today's words.

    Raises:
        OffshelfError: there is no such word.

    >>> check_flips("yes")
    'prediction'
    """
    word = {"no": NO_FLIPS, "yes": PREDICTION}.get(word, word)
    check_choice("flips", word, FLIPS, OffshelfError)
    return word


def usual_normalisation(parts: int) -> PartNormalisation:
    """Return how each of so many parts is normalised unless said otherwise."""
    return L2 if parts > 1 else PLAIN
