"""Settings of a job. The defaults are the recommended choice."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from offshelf.engine.contract import EngineOptions
from offshelf.features.feature_kind import DEFAULT_LAYER, DEFAULT_POOLING
from offshelf.features.reader import ReadOptions

DEFAULT_BACKBONE = "efficientnet_lite0"


@dataclass(frozen=True)
class FeatureSettings:
    """Which features.

    Attributes:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        layer: a layer name or a module path.
        pooling: ``flatten``, ``avg``, ``max`` or ``gem``.
        weights: a file, the tag of a known weights file, ``random``, or None to search.
        resize: ``squash``, ``crop``, ``letterbox``, or None for the weights' own.
        grey: ``replicate``, ``summed`` or ``luma``, or None for ``replicate``.
        decode: ``full``, or ``reduced`` for large JPEG photos; None for ``full``.
        download: whether weights may be fetched when they are nowhere on this machine.

    >>> FeatureSettings("vgg16", layer="pool5").pooling
    'avg'
    """

    backbone: str = DEFAULT_BACKBONE
    _: KW_ONLY
    layer: str = DEFAULT_LAYER
    pooling: str = DEFAULT_POOLING
    weights: str | None = None
    resize: str | None = None
    grey: str | None = None
    decode: str | None = None
    download: bool = True


@dataclass(frozen=True)
class HeadSettings:
    """Which classifier on the features.

    Attributes:
        head: ``svm``, ``logistic``, ``ridge``, ``lda``, ``knn`` or ``knn:NEIGHBOURS``,
            ``centroid``, ``fc`` or ``fc:HIDDEN_UNITS``.
        c: inverse strength of the regularisation, > 0; ``auto`` chooses it by
            cross-validation on the training images.
        normalisation: of each feature row: ``l2``, ``none``, ``standard`` or ``sqrt``.
        reduction: of the dimensions: ``none``, ``pca:N``, ``whiten:N`` or ``random:N``.
        class_weight: ``balanced`` gives every class the same weight, None every image.
    """

    head: str = "svm"
    _: KW_ONLY
    c: float | Literal["auto"] = 1.0
    normalisation: str = "l2"
    reduction: str = "none"
    class_weight: str | None = None


@dataclass(frozen=True)
class RunSettings:
    """How the work is done.

    Attributes:
        engine: engine, device, batch size, cache folder.
        reading: threads that read and decode, bounds on bytes and pixels.
        seed: of every random choice.
        test_size: share of images for the test split where the data has none, in (0, 1).
        samples: test images kept in the model file for its self-test, 0 to 16.
        classes: where folders lie in folders, ``outer`` or ``inner`` says which are the
            classes; "" takes what is certain.
    """

    engine: EngineOptions = field(default_factory=EngineOptions)
    _: KW_ONLY
    reading: ReadOptions = field(default_factory=ReadOptions)
    seed: int = 0
    test_size: float = 0.25
    samples: int = 3
    classes: str = ""
