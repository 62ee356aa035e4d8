"""A scikit-learn transformer from images to features: paths, PIL images or uint8 arrays.

Features come from the store on the second call, so cross-validation and grid search run the
network once per image. An image that cannot be used ends the call with an error that names the
first: a row cannot be left out where row i belongs to label i.
"""

from __future__ import annotations

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
from offshelf.features.extraction import extraction_of_images
from offshelf.features.feature_kind import (
    DEFAULT_LAYER,
    DEFAULT_POOLING,
    FeatureKind,
    feature_kinds,
)
from offshelf.features.image_list import items_of

DEFAULT_BACKBONE = "efficientnet_lite0"


PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of images.

    Attributes:
        matrix: float32, N x D.
        digests: the sha256 of each image.
    """

    matrix: NDArray[np.float32]
    digests: tuple[bytes, ...]


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

    Attributes:
        backbone_: the network with its weights and preprocessing.
        kind_: layer and pooling.
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
        self.backbone_: Backbone = open_backbone(
            self.backbone,
            weights=self.weights,
            resize=self.resize,
            grey=self.grey,
            cache_dir=self.cache_dir,
        )
        self.kind_: FeatureKind = feature_kinds(self.backbone_, [self.layer], [self.pooling])[0]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return the features of *X*, float32, N x D.

        Args:
            X: N paths, PIL images, or uint8 arrays (H x W, H x W x 1, 3 or 4), or one
                uint8 array of N images.

        Raises:
            DataError: an image cannot be used; the message names the first.
        """
        check_is_fitted(self, "backbone_")
        return self.extracted(items_of(X)).matrix

    def extracted(self, items: Sequence[Any]) -> ImageFeatures:
        """Return the features of single images, and the sha256 of each; see :meth:`transform`."""
        found = extraction_of_images(items, self.backbone_, self.kind_, self.engine_options)
        matrix = found.matrix(self.kind_, range(len(items)))
        # Else the network is looked at, which takes a second.
        self._columns = matrix.shape[1]
        return ImageFeatures(matrix, tuple(row.digest for row in found.rows))

    @property
    def n_features_out_(self) -> int:
        """Columns of the matrix."""
        check_is_fitted(self, "backbone_")
        if (known := vars(self).get("_columns")) is not None:
            return int(known)
        shape = self.backbone_.require(self.kind_.path).shape
        return self.kind_.dimension(shape, self.backbone_.spec.channels_last)

    @property
    def engine_options(self) -> EngineOptions:
        """Engine, device, precision and cache folder."""
        return EngineOptions(
            self.engine, self.device, precision=self.precision, cache_dir=self.cache_dir
        )

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return ``LAYER_POOLING_0`` ... for every column."""
        names = [f"{self.kind_.column}_{i}" for i in range(self.n_features_out_)]
        return np.array(names, object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
