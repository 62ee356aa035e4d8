"""Receptive fields against the truth: where the gradient of one position is not zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.parameter_table.module_walk import drafts_of
from offshelf.backbones.parameter_table.parameters import layer_rows

SIDE = 96


class Around(nn.Module):
    """A residual block with two unequal branches."""

    def __init__(self, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(4, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1))
        self.short = nn.Conv2d(4, 4, 1, 2)
        self.join = join
        self.out = nn.ReLU()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.out(self.join(self.long(maps), self.short(maps)))


class Padded(nn.Conv2d):
    """Pads on one side only, as ports of TensorFlow networks do."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(maps, (0, 1, 0, 1)))


STEM = nn.Conv2d(3, 4, 3, 1, 1)
NETS = {
    "vgg": [STEM, nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)],
    "strides": [nn.Conv2d(3, 4, 11, 4, 2), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 5, padding=2)],
    "unequal sides": [STEM, nn.Conv2d(4, 4, (1, 7)), nn.AvgPool2d((3, 2), stride=(2, 1))],
    "dilation": [STEM, nn.Conv2d(4, 4, 3, dilation=3), nn.MaxPool2d(3, 1, dilation=2)],
    "one-sided padding": [Padded(3, 4, 3, 2), Padded(4, 4, 3, 2)],
    "sum of branches": [STEM, Around(torch.add), nn.Conv2d(4, 4, 3)],
    "join of branches": [STEM, Around(lambda a, b: torch.cat([a, b], 1)), nn.Conv2d(8, 4, 3)],
    "normalised": [STEM, nn.BatchNorm2d(4), nn.Hardswish(), nn.Conv2d(4, 4, 3)],
    "adaptive": [STEM, nn.AdaptiveAvgPool2d(SIDE // 4), nn.Conv2d(4, 4, 3)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_the_field_is_where_the_gradient_is(name: str):
    network = nn.Sequential(*NETS[name]).eval()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    image = torch.rand(1, 3, SIDE, SIDE, requires_grad=True)
    fields = {draft.path: draft.receptive_field for draft in drafts_of(network, SIDE, {})}
    assert fields[str(len(network) - 1)] == support(network, image)


def support(network: nn.Module, image: torch.Tensor) -> tuple[int, int]:
    # A maximum passes gradient from one position only, whichever it is; the softer average
    # has the same window.
    for part in network.modules():
        if isinstance(part, nn.MaxPool2d):
            part.forward = _mean_of(part)  # type: ignore[method-assign]
    maps = network(image)
    middle = maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, image)
    seen = gradient[0].abs().sum(0) > 0
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def _mean_of(pool: nn.MaxPool2d) -> Callable[[torch.Tensor], torch.Tensor]:
    side, dilation = pool.kernel_size, pool.dilation

    def forward(maps: torch.Tensor) -> torch.Tensor:
        kernel = torch.ones(maps.shape[1], 1, side, side, dtype=maps.dtype)
        options = {"stride": pool.stride, "padding": pool.padding, "dilation": dilation}
        return nn.functional.conv2d(maps, kernel, groups=maps.shape[1], **options)

    return forward


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        # Stated by Araujo, Norris and Sim (Distill, 2019); ResNet-18's was measured.
        ("alexnet", "pool5", 195),
        ("vgg16", "pool5", 212),
        ("resnet18", "layer4.1.conv2", 435),
    ],
)
def test_fields_of_known_networks(name: str, layer: str, size: int):
    rows = {row.name: row for row in layer_rows(get_spec(name), 224)}
    assert rows[layer].receptive_field == (size, size)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("vgg16", "fc6"), ("resnet18", "penultimate"), ("vit_b_16", "encoder.ln"), ("swin_t", "norm")],
)
def test_behind_a_mean_a_flattening_or_attention_there_is_none(name: str, layer: str):
    rows = {row.path: row for row in layer_rows(get_spec(name), 224)}
    rows |= {row.name: row for row in rows.values()}
    assert rows[layer].receptive_field is None


def test_branches_of_different_steps_have_no_common_field():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 3, 3, 1, 1)
            self.halved = nn.Conv2d(3, 3, 2, 2)
            self.out = nn.ReLU()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            maps = self.stem(image)
            return self.out(maps[:, :, :16, :16] + self.halved(maps))

    fields = {draft.path: draft.receptive_field for draft in drafts_of(Mixed(), 32, {})}
    assert fields == {"stem": (3, 3), "halved": (4, 4), "out": None}
