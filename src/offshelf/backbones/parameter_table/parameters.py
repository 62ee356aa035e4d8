"""The parameter table of a network, row by row, from one pass without numbers.

The network runs on tensors without memory, so no weights are needed. Each row is one run
of one layer. Every parameter is counted once, in the row that uses it first: the rows'
parameters always add up to those of the network. Attention is one row with its
projections, whichever library wrote it. A parameter that is no layer of its own (class
token, position embedding, layer scale) has a row in the group ``other``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from offshelf.backbones.construct.architectures import skeleton
from offshelf.backbones.parameter_table.module_groups import GROUPS, Group
from offshelf.backbones.parameter_table.module_walk import Draft, drafts_of
from offshelf.backbones.specification.spec import BackboneSpec, WeightsSpec
from offshelf.backbones.weights_file import places
from offshelf.backbones.weights_file.locate import WeightsFile, read_tensors
from offshelf.errors import BackboneError, WeightsError


@dataclass(frozen=True)
class LayerRow:
    """One run of one layer, for one image.

    Attributes:
        name: the layer name, or the module path where there is none.
        path: module path; of a free parameter, the parameter's.
        group: see :data:`offshelf.backbones.parameter_table.module_groups.GROUPS`.
        function: in a few words.
        inputs: input channels or features, None where that means nothing.
        outputs: output channels or features.
        shape: of the output for one image; None for a free parameter.
        parameters: those that no earlier row has counted.
        macs: multiply-accumulates of convolutions and matrix products for one image.
        receptive_field: height and width in pixels, see :mod:`.receptive_fields`.
        shared_with: path of the row that counted this layer's parameters, or "".
    """

    name: str
    path: str
    group: Group
    function: str
    inputs: int | None
    outputs: int | None
    shape: tuple[int, ...] | None
    parameters: int
    macs: int
    receptive_field: tuple[int, int] | None
    shared_with: str

    @property
    def values(self) -> int:
        """Numbers in the output for one image."""
        return math.prod(self.shape) if self.shape is not None else 0


@dataclass(frozen=True)
class Total:
    """Sums over the rows of one group.

    Attributes:
        group: the group, or ``all``.
        rows: how many.
        parameters: of all rows.
        macs: multiply-accumulates for one image.
        values: numbers in all outputs for one image.
    """

    group: str
    rows: int
    parameters: int
    macs: int
    values: int


@functools.lru_cache(maxsize=64)
def layer_rows(spec: BackboneSpec, size: int) -> tuple[LayerRow, ...]:
    """Return every layer of *spec* in the order in which they start.

    Args:
        spec: the backbone.
        size: side of the square input in pixels.

    Raises:
        BackboneError: the network does not take images of that size.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> rows = layer_rows(get_spec("vgg16"), 224)
    >>> rows[0].name, rows[0].parameters, sum(row.parameters for row in rows)
    ('conv1_1', 1792, 138357544)
    """
    names = {path: name for name, path in reversed(spec.layers)}
    try:
        drafts = drafts_of(skeleton(spec, image_size=size), size, names)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BackboneError(
            f"{spec.name}: does not take images of {size} x {size} pixels: {reason}"
            f" (its own size is {spec.weights[0].input.size})"
        ) from error
    return tuple(row_of(draft) for draft in drafts)


def row_of(draft: Draft) -> LayerRow:
    """Return a finished draft as a row."""
    fields = dict(vars(draft))
    del fields["idle"]
    return LayerRow(**fields)


def totals_of(rows: Iterable[LayerRow]) -> tuple[Total, ...]:
    """Return a total for each group that has rows, and last the total of all.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> [(total.group, total.parameters) for total in totals_of(layer_rows(get_spec("vgg16"), 224))]
    [('convolution', 14714688), ('pooling', 0), ('linear', 123642856), ('activation', 0), \
('dropout', 0), ('all', 138357544)]
    """
    rows = tuple(rows)
    members = {group: [row for row in rows if row.group == group] for group in GROUPS}
    totals = [_total(group, members[group]) for group in GROUPS if members[group]]
    return (*totals, _total("all", rows))


def _total(group: str, rows: Iterable[LayerRow]) -> Total:
    rows = tuple(rows)
    return Total(
        group,
        len(rows),
        sum(row.parameters for row in rows),
        sum(row.macs for row in rows),
        sum(row.values for row in rows),
    )


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
class ParameterCheck:
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

        >>> ParameterCheck("a table", 4_650_000, 4_652_008, precision=10_000).agrees
        True
        """
        return not self.problem and 2 * abs(self.counted - self.stated) <= self.precision


def agreements(
    spec: BackboneSpec, rows: Iterable[LayerRow], cache_dir: str | Path | None = None
) -> tuple[ParameterCheck, ...]:
    """Compare *rows*, counted at the network's own input size, with what others state.

    Args:
        spec: the backbone.
        rows: of :func:`offshelf.backbones.parameter_table.parameters.layer_rows`.
        cache_dir: root of offshelf's own folders, searched for weights files.
    """
    rows = tuple(rows)
    total = sum(row.parameters for row in rows)
    return (*_published(spec, total), *_files(spec, rows, cache_dir))


def _published(spec: BackboneSpec, counted: int) -> Iterator[ParameterCheck]:
    millions = TIMM_MILLIONS.get(spec.architecture.partition(".")[0])
    if spec.source == "torchvision" and spec.parameters:
        yield ParameterCheck(TORCHVISION_SOURCE, spec.parameters, counted)
    elif spec.source == "timm" and millions:
        yield ParameterCheck(TIMM_SOURCE, round(millions * 1e6), counted, precision=10_000)


def _files(
    spec: BackboneSpec, rows: tuple[LayerRow, ...], cache_dir: str | Path | None
) -> Iterator[ParameterCheck]:
    for weights in places.known(spec, cache_dir):
        for place in places.find(spec, weights, cache_dir):
            counted = sum(
                row.parameters
                for row in rows
                if not weights.covers or row.path.partition(".")[0] in weights.covers
            )
            part = f", {' and '.join(weights.covers)} only" if weights.covers else ""
            source = f"weights file {place.path.name}{part}"
            try:
                yield ParameterCheck(source, _held(spec, weights, place.path), counted)
            except WeightsError as error:
                yield ParameterCheck(source, 0, counted, problem=str(error))


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
