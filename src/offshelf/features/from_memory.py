"""Features of images that are paths, PIL images or arrays, through the same store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError
from offshelf.features.extraction import extract
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.reader import Picture


def extract_images(
    images: Sequence[Any],
    backbone: Backbone,
    kind: FeatureKind,
    options: EngineOptions | None = None,
) -> NDArray[np.float32]:
    """Return the features of images in memory or on disk, float32, N x D.

    A file's rows are those of ``offshelf extract``. An image in memory is addressed by
    its pixels, so the second call finds it in the store, too.

    Args:
        images: N paths, PIL images or uint8 arrays.
        backbone: network, weights and preprocessing.
        kind: layer and pooling.
        options: the engine and its settings.

    Raises:
        DataError: an image cannot be used; the message names the first.
    """
    if not len(images):
        raise DataError("no images: an empty list has no features")
    sources = [
        str(image) if isinstance(image, str | Path) else Picture(f"image {number}", image)
        for number, image in enumerate(images)
    ]
    extraction = extract(sources, backbone, [kind], options)
    if extraction.failures:
        first = extraction.failures[0]
        raise DataError(
            f"{first.path}: {first.status}, {first.reason} "
            f"({len(extraction.failures)} of {len(images)} images cannot be used)"
        )
    return extraction.matrix(kind, range(len(images)))
