"""Layer names of the catalogued networks, in order of depth.

VGG and AlexNet keep the names of the literature (``conv1_1`` ... ``fc8``); the others
have ``stem``, ``stage1`` ... or ``block1`` ..., and all end in ``penultimate`` (the
vector before the last linear layer) and ``logits``. A path may end in ``:in`` for the module's
input, where no module's output is the vector itself.
"""

from __future__ import annotations

from collections.abc import Sequence

Layers = tuple[tuple[str, str], ...]

_VGG_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_ALEXNET_CONVOLUTIONS = (
    "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"
)
# The classifiers of VGG and AlexNet differ only in where their dropouts stand.
_VGG_CLASSIFIER = (0, 1, 3, 4, 6)
_ALEXNET_CLASSIFIER = (1, 2, 4, 5, 6)

# Index in `features` of the last block of each stage, then of the last convolution.
_INVERTED_RESIDUALS = {
    "mobilenet_v2": (1, 3, 6, 10, 13, 16, 17, 18),
    "mobilenet_v3_small": (1, 3, 6, 8, 11, 12),
    "mobilenet_v3_large": (1, 3, 6, 10, 12, 15, 16),
    "efficientnet_b": (1, 2, 3, 4, 5, 6, 7, 8),
    "efficientnet_v2_s": (1, 2, 3, 4, 5, 6, 7),
}


def layers_of(source: str, architecture: str) -> Layers:
    """Return the named layers of a catalogued architecture.

    Args:
        source: ``torchvision`` or ``timm``.
        architecture: the builder's name, for timm without or with the training's tag.

    Raises:
        KeyError: the architecture belongs to no catalogued family.

    >>> layers_of("torchvision", "vgg16")[-2:]
    (('penultimate', 'classifier.4'), ('logits', 'classifier.6'))
    """
    families = _TIMM if source == "timm" else _TORCHVISION
    for prefix, family in families:
        if architecture.startswith(prefix):
            return family(architecture)
    raise KeyError(f"{source}/{architecture}")


def _vgg(name: str) -> Layers:
    kind, _, norm = name.partition("_")
    rows: list[str] = []
    for block, count in enumerate(_VGG_CONVOLUTIONS[kind], start=1):
        for number in range(1, count + 1):
            parts = ("conv", "bn", "relu") if norm else ("conv", "relu")
            rows += [f"{part}{block}_{number}" for part in parts]
        rows.append(f"pool{block}")
    return _numbered(rows) + _fully_connected(_VGG_CLASSIFIER)


def _alexnet(_: str) -> Layers:
    return _numbered(_ALEXNET_CONVOLUTIONS.split()) + _fully_connected(_ALEXNET_CLASSIFIER)


def _numbered(names: Sequence[str]) -> Layers:
    return tuple((name, f"features.{index}") for index, name in enumerate(names))


def _fully_connected(indices: Sequence[int]) -> Layers:
    paths = [f"classifier.{index}" for index in indices]
    named = zip(("fc6", "relu6", "fc7", "relu7", "fc8"), paths, strict=True)
    return (*named, *_ends(paths[3], paths[4]))


def _ends(penultimate: str, logits: str) -> Layers:
    return ("penultimate", penultimate), ("logits", logits)


def _stages(paths: Sequence[str], word: str = "stage") -> Layers:
    return tuple((f"{word}{number}", path) for number, path in enumerate(paths, start=1))


def _resnet(_: str) -> Layers:
    stem = ("conv1", "conv1"), ("relu1", "relu"), ("pool1", "maxpool")
    stages = _stages([f"layer{number}" for number in range(1, 5)])
    return (*stem, *stages, *_ends("avgpool", "fc"))


def _regnet(_: str) -> Layers:
    stages = _stages([f"trunk_output.block{number}" for number in range(1, 5)])
    return (("stem", "stem"), *stages, *_ends("avgpool", "fc"))


def _densenet(_: str) -> Layers:
    stem = ("conv1", "features.conv0"), ("relu1", "features.relu0"), ("pool1", "features.pool0")
    stages = _stages([f"features.denseblock{number}" for number in range(1, 5)])
    return (*stem, *stages, *_ends("classifier:in", "classifier"))


def _squeezenet(_: str) -> Layers:
    fires = [f"features.{index}" for index in (3, 4, 6, 7, 9, 10, 11, 12)]
    named = tuple((f"fire{number}", path) for number, path in enumerate(fires, start=2))
    return (("stem", "features.2"), *named, *_ends("features", "classifier.3"))


def _shufflenet(_: str) -> Layers:
    stages = tuple((f"stage{number}", f"stage{number}") for number in (2, 3, 4))
    return (("stem", "maxpool"), *stages, ("head_conv", "conv5"), *_ends("fc:in", "fc"))


def _inverted_residuals(name: str) -> Layers:
    key = next(key for key in _INVERTED_RESIDUALS if name.startswith(key))
    *stages, head = [f"features.{index}" for index in _INVERTED_RESIDUALS[key]]
    ends = {
        "mobilenet_v2": _ends("classifier.1:in", "classifier.1"),
        "mobilenet_v3_small": _ends("classifier.1", "classifier.3"),
        "mobilenet_v3_large": _ends("classifier.1", "classifier.3"),
    }.get(key, _ends("avgpool", "classifier.1"))
    return (("stem", "features.0"), *_stages(stages), ("head_conv", head), *ends)


def _convnext(_: str) -> Layers:
    stages = _stages([f"features.{index}" for index in (1, 3, 5, 7)])
    return (("stem", "features.0"), *stages, *_ends("classifier.1", "classifier.2"))


def _swin(_: str) -> Layers:
    stages = _stages([f"features.{index}" for index in (1, 3, 5, 7)])
    return (("stem", "features.0"), *stages, ("norm", "norm"), *_ends("flatten", "head"))


def _vit(_: str) -> Layers:
    blocks = _stages([f"encoder.layers.encoder_layer_{n}" for n in range(12)], "block")
    norm = ("norm", "encoder.ln")
    return (("stem", "conv_proj"), *blocks, norm, *_ends("heads.head:in", "heads.head"))


def _timm_efficientnet(_: str) -> Layers:
    stages = _stages([f"blocks.{index}" for index in range(7)])
    head = ("head_conv", "bn2")
    return (("stem", "bn1"), *stages, head, *_ends("global_pool", "classifier"))


def _timm_vit(_: str) -> Layers:
    blocks = _stages([f"blocks.{index}" for index in range(12)], "block")
    return (("stem", "patch_embed"), *blocks, ("norm", "norm"), *_ends("head:in", "head"))


def _timm_convnext(_: str) -> Layers:
    stages = _stages([f"stages.{index}" for index in range(4)])
    return (("stem", "stem"), *stages, *_ends("head.fc:in", "head.fc"))


def _timm_mobilenet(_: str) -> Layers:
    stages = _stages([f"blocks.{index}" for index in range(5)])
    pool = ("pool", "global_pool")
    return (("stem", "bn1"), *stages, pool, *_ends("flatten", "classifier"))


_TORCHVISION = (
    ("alexnet", _alexnet),
    ("vgg", _vgg),
    ("resnet", _resnet),
    ("resnext", _resnet),
    ("wide_resnet", _resnet),
    ("regnet", _regnet),
    ("densenet", _densenet),
    ("squeezenet1_1", _squeezenet),
    ("shufflenet", _shufflenet),
    ("mobilenet", _inverted_residuals),
    ("efficientnet", _inverted_residuals),
    ("convnext", _convnext),
    ("swin_t", _swin),
    ("vit_b_16", _vit),
)
_TIMM = (
    ("tf_efficientnet_lite", _timm_efficientnet),
    ("vit_", _timm_vit),
    ("convnext", _timm_convnext),
    ("mobilenetv4", _timm_mobilenet),
)
