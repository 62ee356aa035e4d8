"""A scikit-learn transformer from images to features: paths, PIL images or uint8 arrays.

Features come from the store on the second call, so cross-validation and grid search run the
network once per image. An image that cannot be used ends the call with an error that names the
first: a row cannot be left out where row i belongs to label i.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.engine.contract import EngineOptions
from offshelf.errors import EngineError
from offshelf.feature_sets.feature_set import NO_FLIPS, FeatureSet
from offshelf.feature_sets.opening import named_set, opened_set
from offshelf.feature_sets.set_extraction import extract_set
from offshelf.features.extraction import Extraction, as_sources, extract, refuse_failures
from offshelf.features.feature_kind import DEFAULT_LAYER, DEFAULT_POOLING, FeatureKind
from offshelf.features.image_list import items_of
from offshelf.heads.fitting.mirror_images import Images

DEFAULT_BACKBONE = "efficientnet_lite0"


PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of images.

    Attributes:
        images: the features, and those of mirror images where they were asked for.
        digests: the sha256 of each image.
    """

    images: Images
    digests: tuple[bytes, ...]

    @property
    def matrix(self) -> NDArray[np.float32]:
        """Float32, N x D."""
        return self.images.rows


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Frozen features of images as a scikit-learn transformer.

    Args:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layer: a layer name or a module path.
        pooling: ``flatten``, ``avg``, ``max``, ``gem``, ``pyramid`` or ``pyramid:N``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        resize: ``squash``, ``crop``, ``letterbox``, or None for the weights' own.
        engine: ``auto``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        cache_dir: the root of offshelf's own folders.
        grey: ``replicate``, ``luma`` or ``summed``, or None for ``replicate``.
        precision: ``fp32``, or ``bf16`` or ``fp16`` where the hardware has them.
        features: a feature set in place of *layer*: layers of one or several backbones side by
            side, such as ``penultimate+stage6/pyramid``, or with ``*`` their product.
        input_size: side of the input in pixels, or None for the weights' own.

    Attributes:
        features_: the feature set, with its networks, weights and preprocessing.
        n_features_out_: columns of the matrix.

    >>> import numpy as np
    >>> images = np.zeros((2, 32, 32, 3), np.uint8)
    >>> FeatureExtractor().fit_transform(images).shape
    (2, 1280)
    """

    def __init__(  # noqa: PLR0913
        self,
        backbone: str = DEFAULT_BACKBONE,
        layer: str = DEFAULT_LAYER,
        pooling: str = DEFAULT_POOLING,
        weights: str | None = None,
        resize: str | None = None,
        engine: str = "auto",
        device: str = "auto",
        cache_dir: str | Path | None = None,
        *,
        grey: str | None = None,
        precision: str = "fp32",
        features: str | None = None,
        input_size: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.weights = weights
        self.resize = resize
        self.engine = engine
        self.device = device
        self.cache_dir = cache_dir
        self.grey = grey
        self.precision = precision
        self.features = features
        self.input_size = input_size

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the network and its weights; nothing is learned from the images.

        Args:
            X: not used.
            y: not used.

        Raises:
            OffshelfError: a name is unknown, or the weights are not here.
        """
        if self.precision not in PRECISIONS:
            raise EngineError(
                f"precision {self.precision!r}: {', '.join(PRECISIONS)}; int8 is calibrated by "
                "offshelf.fit"
            )
        self._columns: int | None = None
        named = named_set(self.features, self.backbone, self.layer, self.weights)
        self.features_: FeatureSet = opened_set(
            named, self._open, pooling=self.pooling, flips=NO_FLIPS, size=self.input_size, seed=0
        )
        return self

    def _open(self, name: str, size: int | None) -> Backbone:
        return open_backbone(
            name,
            weights=self.weights,
            resize=self.resize,
            grey=self.grey,
            size=size,
            cache_dir=self.cache_dir,
        )

    @property
    def backbone_(self) -> Backbone:
        """The first network, with its weights and preprocessing."""
        return self.features_.backbone

    @property
    def kind_(self) -> FeatureKind:
        """Layer and pooling of the first part."""
        return self.features_.kind

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return the features of *X*, float32, N x D.

        Args:
            X: N paths, PIL images, or uint8 arrays (H x W, H x W x 1, 3 or 4), or one
                uint8 array of N images.

        Raises:
            DataError: an image cannot be used; the message names the first.
        """
        check_is_fitted(self, "features_")
        return self.extracted(items_of(X)).matrix

    def extracted(self, items: Sequence[Any], flips: str = NO_FLIPS) -> ImageFeatures:
        """Return the features of single images, and the sha256 of each; see :meth:`transform`.

        Where *flips* is not ``none``, also those of the mirror images.
        """
        wanted, sources = dataclasses.replace(self.features_, flips=flips), as_sources(items)

        def run(backbone: Backbone, kinds: tuple[FeatureKind, ...]) -> Extraction:
            return extract(sources, backbone, kinds, self.engine_options)

        found = extract_set(wanted, run)
        refuse_failures(found)
        rows = range(len(sources))
        matrix = found.read(rows)
        mirrors = None if flips == NO_FLIPS else found.read_mirrored(rows)
        images = Images(matrix, mirrors, wanted.trains_mirrors, wanted.averages)
        # Else the network is looked at, which takes a second.
        self._columns = matrix.shape[1]
        return ImageFeatures(images, tuple(row.digest for row in found.rows))

    @property
    def n_features_out_(self) -> int:
        """Columns of the matrix."""
        check_is_fitted(self, "features_")
        if (known := vars(self).get("_columns")) is not None:
            return int(known)
        return self.features_.joining.dimension(self._widths())

    def _widths(self) -> list[int]:
        """Return the columns of each part."""
        return [
            part.kind.dimension(
                part.backbone.require(part.kind.path).shape, part.backbone.spec.channels_last
            )
            for part in self.features_.parts
        ]

    @property
    def engine_options(self) -> EngineOptions:
        """Engine, device, precision and cache folder."""
        return EngineOptions(
            self.engine, self.device, precision=self.precision, cache_dir=self.cache_dir
        )

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return ``LAYER_POOLING_0`` ... for every column, of a product ``product_0`` ..."""
        check_is_fitted(self, "features_")
        parts = self.features_.parts
        if self.features_.product or len(parts) == 1:
            stem = "product" if self.features_.product else self.kind_.column
            names = [f"{stem}_{i}" for i in range(self.n_features_out_)]
            return np.array(names, object)
        several = len(self.features_.backbones) > 1
        stems = [
            f"{part.backbone.spec.name}_{part.kind.column}" if several else part.kind.column
            for part in parts
        ]
        columns = zip(stems, self._widths(), strict=True)
        return np.array([f"{stem}_{i}" for stem, width in columns for i in range(width)], object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
