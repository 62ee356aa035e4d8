"""Comparison of the counted parameters with those that publisher and weights file state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from offshelf.backbones.construct.architectures import skeleton
from offshelf.backbones.parameter_table.parameters import LayerRow
from offshelf.backbones.specification.spec import BackboneSpec, WeightsSpec
from offshelf.backbones.weights_file import identify, places
from offshelf.backbones.weights_file.locate import WeightsFile, read_tensors
from offshelf.errors import WeightsError

TORCHVISION_SOURCE = "torchvision's description of the weights (num_params)"
TIMM_SOURCE = "timm's results table (param_count, millions)"
# https://github.com/huggingface/pytorch-image-models/tree/main/results, the file
# benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv: millions of parameters, two decimals.
TIMM_MILLIONS = {
    "tf_efficientnet_lite0": 4.65,
    "tf_efficientnet_lite1": 5.42,
    "tf_efficientnet_lite2": 6.09,
    "vit_small_patch14_dinov2": 22.06,
    "vit_small_patch14_reg4_dinov2": 22.06,
    "vit_base_patch14_dinov2": 86.58,
    "vit_base_patch16_clip_quickgelu_224": 86.19,
    "vit_small_patch16_224": 22.05,
    "convnext_tiny": 28.59,
    "mobilenetv4_conv_small": 3.77,
}


@dataclass(frozen=True)
class Agreement:
    """One comparison of the counted parameters.

    Attributes:
        source: who states a figure.
        stated: the figure, as precise as it is stated.
        counted: parameters of the part of the network that the figure is about.
        precision: of the stated figure: 1 is exact.
        problem: why there is no figure, or "".
    """

    source: str
    stated: int
    counted: int
    precision: int = 1
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the counted figure is the stated one, as far as that is precise.

        >>> Agreement("a table", 4_650_000, 4_652_008, precision=10_000).agrees
        True
        """
        return not self.problem and 2 * abs(self.counted - self.stated) <= self.precision


def agreements(
    spec: BackboneSpec, rows: Iterable[LayerRow], cache_dir: str | Path | None = None
) -> tuple[Agreement, ...]:
    """Compare *rows*, counted at the network's own input size, with what others state.

    Args:
        spec: the backbone.
        rows: of :func:`offshelf.backbones.parameter_table.parameters.layer_rows`.
        cache_dir: root of offshelf's own folders, searched for weights files.
    """
    rows = tuple(rows)
    total = sum(row.parameters for row in rows)
    return (*_published(spec, total), *_files(spec, rows, cache_dir))


def _published(spec: BackboneSpec, counted: int) -> Iterator[Agreement]:
    millions = TIMM_MILLIONS.get(spec.architecture.partition(".")[0])
    if spec.source == "torchvision" and spec.parameters:
        yield Agreement(TORCHVISION_SOURCE, spec.parameters, counted)
    elif spec.source == "timm" and millions:
        yield Agreement(TIMM_SOURCE, round(millions * 1e6), counted, precision=10_000)


def _files(
    spec: BackboneSpec, rows: tuple[LayerRow, ...], cache_dir: str | Path | None
) -> Iterator[Agreement]:
    for weights in identify.known(spec, cache_dir):
        for place in places.find(spec, weights, cache_dir):
            counted = sum(
                row.parameters
                for row in rows
                if not weights.covers or row.path.partition(".")[0] in weights.covers
            )
            part = f", {' and '.join(weights.covers)} only" if weights.covers else ""
            source = f"weights file {place.path.name}{part}"
            try:
                yield Agreement(source, _held(spec, weights, place.path), counted)
            except WeightsError as error:
                yield Agreement(source, 0, counted, problem=str(error))


def _held(spec: BackboneSpec, weights: WeightsSpec, path: Path) -> int:
    """Return how many parameters a file holds; running statistics are none."""
    tensors = read_tensors(WeightsFile(weights, path, "", "file"))
    module = skeleton(spec, image_size=weights.input.size)
    sizes = [math.prod(tensor.shape) for tensor in tensors.values()]
    names = list(module.state_dict()) if weights.by_order else list(tensors)
    if len(names) != len(sizes):
        raise WeightsError(f"{path}: {len(sizes)} tensors where the network has {len(names)}")
    parameters = {name for name, _ in module.named_parameters()}
    covered = {name for name in names if not weights.covers or name.split(".")[0] in weights.covers}
    held = zip(names, sizes, strict=True)
    return sum(size for name, size in held if name in parameters & covered)
