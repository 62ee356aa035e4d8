"""The parameter table: golden rows, totals that re-add, published figures, other counters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from offshelf.backbones.catalogue.names import get_spec, names
from offshelf.backbones.construct.architectures import skeleton
from offshelf.backbones.construct.torch_context import import_torchvision
from offshelf.backbones.parameter_table.module_groups import function_of, group_of
from offshelf.backbones.parameter_table.module_walk import drafts_of
from offshelf.backbones.parameter_table.parameters import (
    TIMM_MILLIONS,
    LayerRow,
    ParameterCheck,
    agreements,
    layer_rows,
    row_of,
    totals_of,
)
from offshelf.errors import BackboneError

VGG16 = """
conv1_1 3 64 1792 86704128
conv1_2 64 64 36928 1849688064
pool1 64 64 0 0
conv2_1 64 128 73856 924844032
conv2_2 128 128 147584 1849688064
pool2 128 128 0 0
conv3_1 128 256 295168 924844032
conv3_2 256 256 590080 1849688064
conv3_3 256 256 590080 1849688064
pool3 256 256 0 0
conv4_1 256 512 1180160 924844032
conv4_2 512 512 2359808 1849688064
conv4_3 512 512 2359808 1849688064
pool4 512 512 0 0
conv5_1 512 512 2359808 462422016
conv5_2 512 512 2359808 462422016
conv5_3 512 512 2359808 462422016
pool5 512 512 0 0
fc6 25088 4096 102764544 102760448
fc7 4096 4096 16781312 16777216
fc8 4096 1000 4097000 4096000
"""


COUNTED = """
efficientnet_lite0 alexnet resnet50 convnext_tiny swin_t vit_b_16 densenet121
shufflenet_v2_x1_0 dinov2_vits14 clip_vitb16 regnet_y_400mf
"""


# The others are slow.
QUICK = {"efficientnet_lite0", "alexnet", "resnet18", "vit_s_16"}


def own_rows(name: str) -> tuple[LayerRow, ...]:
    spec = get_spec(name)
    return layer_rows(spec, spec.weights[0].input.size)


def rows_of(module: nn.Module, size: int = 32) -> dict[str, LayerRow]:
    return {draft.path: row_of(draft) for draft in drafts_of(module.eval(), size, {})}


def test_the_rows_of_vgg16_are_these():
    rows = [r for r in own_rows("vgg16") if r.group in {"convolution", "pooling", "linear"}]
    table = [f"{r.name} {r.inputs} {r.outputs} {r.parameters} {r.macs}" for r in rows]
    assert table == VGG16.strip().splitlines()
    assert rows[0].function == "convolution 3 x 3, padding 1"
    assert rows[2].function == "max pooling 2 x 2, stride 2"
    assert rows[2].shape == (64, 112, 112)
    assert rows[-1].shape == (1000,)


def test_vgg16s_adaptive_pooling_counts_only_where_it_does_something():
    assert "avgpool" not in [row.path for row in own_rows("vgg16")]
    larger = {row.path: row for row in layer_rows(get_spec("vgg16"), 448)}
    assert larger["avgpool"].shape == (512, 7, 7)
    assert larger["avgpool"].function == "adaptive average pooling to 7 x 7"


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names()],
)
def test_totals_re_add_and_are_the_published_ones(name: str):
    spec, rows = get_spec(name), own_rows(name)
    *parts, total = totals_of(rows)
    assert total.parameters == sum(row.parameters for row in rows) == spec.parameters
    for figure in ("rows", "parameters", "macs", "values"):
        assert sum(getattr(part, figure) for part in parts) == getattr(total, figure)
    published = agreements(spec, rows)[0]
    assert published.agrees, published
    assert published.precision == (1 if spec.source == "torchvision" else 10_000)
    if spec.source == "torchvision":
        published_macs = import_torchvision().models.get_model_weights(spec.architecture)
        meta = published_macs[spec.weights[0].tag.upper()].meta
        # Billions to three decimals; torchvision calls them operations.
        assert total.macs / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED.split())
def test_an_independent_counter_agrees(name: str):
    spec = get_spec(name)
    size = spec.weights[0].input.size
    module = skeleton(spec, image_size=size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(2, 3, size, size, device="meta"))
    total = totals_of(own_rows(name))[-1]
    # Two operations for each multiply-accumulate, two images.
    assert counter.get_total_flops() == 4 * total.macs
    assert sum(p.numel() for p in module.parameters()) == total.parameters


def test_every_timm_figure_is_about_a_catalogued_network():
    timm = [get_spec(name) for name in names() if get_spec(name).source == "timm"]
    assert {spec.architecture.partition(".")[0] for spec in timm} == set(TIMM_MILLIONS)


@pytest.mark.parametrize("name", ["vit_b_16", "vit_s_16"])
def test_a_transformers_attention_and_free_parameters_are_rows(name: str):
    rows = own_rows(name)
    free = [row for row in rows if row.group == "other"]
    width, tokens = (768, 197) if name == "vit_b_16" else (384, 197)
    assert sorted(row.parameters for row in free) == [width, width * tokens]
    attention = [row for row in rows if row.group == "attention"]
    assert len(attention) == 12
    # Four projections with bias; each token meets each token twice.
    assert {row.parameters for row in attention} == {4 * width * width + 4 * width}
    products = 2 * tokens * tokens * width
    assert {row.macs for row in attention} == {4 * tokens * width * width + products}


class Tied(nn.Module):
    """Uses one layer twice and another layer's weight in a third place."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.twice = nn.Conv2d(8, 8, 1)
        self.tied = nn.Conv2d(8, 8, 1)
        self.tied.weight = self.twice.weight
        self.direct = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
        self.spare = nn.Linear(5, 7)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.first(image) + self.token
        maps = self.tied(self.twice(self.twice(maps)))
        return nn.functional.linear(maps.mean((2, 3)), self.direct[0].weight)


def test_shared_tied_free_direct_and_unused_parameters_are_counted_once():
    module = Tied()
    drafts = drafts_of(module, 16, {})
    assert sum(draft.parameters for draft in drafts) == sum(p.numel() for p in module.parameters())
    table = [(d.path, d.parameters, d.shared_with, d.group) for d in drafts]
    assert sorted(table) == sorted(
        [
            ("token", 8, "", "other"),
            ("", 0, "", "other"),
            ("first", 224, "", "convolution"),
            ("twice", 72, "", "convolution"),
            ("twice", 0, "twice", "convolution"),
            ("tied", 8, "twice", "convolution"),
            ("direct.0", 36, "", "other"),
            ("spare", 42, "", "other"),
        ]
    )
    functions = {draft.path: draft.function for draft in drafts}
    assert functions["direct.0"] == functions["spare"] == "not run by itself"
    assert functions[""] == "matrix products of Tied"


@pytest.mark.slow
def test_a_block_around_an_attention_is_no_attention():
    rows = layer_rows(get_spec("torchvision/maxvit_t"), 224)
    assert len([row for row in rows if row.group == "attention"]) == 22
    assert len([row for row in rows if row.group == "linear"]) > 40
    assert sum(row.parameters for row in rows) == 30919624


def test_multiply_accumulates_of_one_layer_of_each_kind():
    layers = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), stride=2, groups=1),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.LazyLinear(10),
    )
    layers(torch.zeros(1, 3, 32, 32))
    rows = list(rows_of(layers).values())
    expected = [15 * 14 * 8 * 3 * 3 * 5, 13 * 12 * 8 * 9, 13 * 12 * 8 * 4 * 2 * 2, 26 * 24 * 4 * 10]
    assert [row.macs for row in rows] == expected
    assert rows[1].function == "depthwise convolution 3 x 3"
    assert rows[2].function == "transposed convolution 2 x 2, stride 2"


@pytest.mark.parametrize(
    ("layer", "group", "function"),
    [
        (
            nn.Conv2d(8, 8, (1, 7), padding=(0, 3)),
            "convolution",
            "convolution 1 x 7, padding 0 x 3",
        ),
        (nn.Conv2d(8, 8, 3, dilation=2), "convolution", "convolution 3 x 3, dilation 2"),
        (nn.Conv2d(8, 8, 3, groups=2), "convolution", "convolution 3 x 3, 2 groups"),
        (nn.Conv2d(8, 8, 3, padding="same"), "convolution", "convolution 3 x 3, padding same"),
        (nn.AvgPool2d(2), "pooling", "average pooling 2 x 2, stride 2"),
        (nn.AdaptiveMaxPool2d(1), "pooling", "adaptive max pooling to 1 x 1"),
        (nn.Linear(3, 4, bias=False), "linear", "linear, no bias"),
        (nn.BatchNorm2d(4), "normalisation", "batch normalisation"),
        (nn.LayerNorm(4), "normalisation", "layer normalisation"),
        (nn.GroupNorm(2, 4), "normalisation", "GroupNorm"),
        (nn.GELU(), "activation", "GELU"),
        (nn.Dropout(0.25), "dropout", "dropout, 25 %"),
        (nn.MultiheadAttention(8, 2), "attention", "attention, 2 heads"),
        (nn.Flatten(), "other", "Flatten"),
    ],
)
def test_layers_have_a_group_and_a_function(layer: nn.Module, group: str, function: str):
    assert (group_of(layer), function_of(layer)) == (group, function)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vgg16", 16, "vgg16: does not take images of 16 x 16 pixels: "),
        ("vit_b_16", 256, "vit_b_16: does not take images of 256 x 256 pixels: "),
    ],
)
def test_a_size_that_does_not_fit_is_one_line(name: str, size: int, message: str):
    with pytest.raises(BackboneError) as caught:
        layer_rows(get_spec(name), size)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(" (its own size is 224)")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "counted", "precision", "agrees"),
    [
        (138357544, 138357544, 1, True),
        (138357544, 138357545, 1, False),
        (4_650_000, 4_654_999, 10_000, True),
        (4_650_000, 4_655_001, 10_000, False),
    ],
)
def test_agreement_is_as_precise_as_the_figure(
    stated: int, counted: int, precision: int, agrees: bool
):
    assert ParameterCheck("a paper", stated, counted, precision).agrees is agrees


def test_the_installed_weights_hold_as_many_parameters():
    found = agreements(get_spec("efficientnet_lite0"), own_rows("efficientnet_lite0"))
    assert [(one.stated, one.agrees) for one in found if "weights file" in one.source] == [
        (4652008, True)
    ]
