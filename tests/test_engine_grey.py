"""Grey into RGB: three policies, and that the summed one is the same network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.specification.preprocess import prepare
from offshelf.backbones.specification.spec import InputSpec
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.engine.torch_engine.tapped_network import (
    SummedConvolution,
    first_convolution,
    sum_over_colour,
)
from offshelf.errors import BackboneError

TORCH = EngineOptions(engine="torch", device="cpu")
SCALE = torch.tensor([0.017, 0.0175, 0.0174]).view(1, 3, 1, 1)
SHIFT = torch.tensor([-2.1, -0.5, 1.8]).view(1, 3, 1, 1)


def picture(seed: int = 0, side: int = 224) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def greyed(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., :1], 3, axis=2)


def activation(name: str, grey: str, pixels: np.ndarray, tap: Tap, weights: str | None = None):
    backbone = open_backbone(name, weights=weights, grey=grey)
    engine = open_engine(backbone, [tap], TORCH)
    return engine.run(prepare(pixels, backbone.input)[None])[tap]


def same_padding() -> nn.Conv2d:
    from offshelf.backbones.construct.torch_context import import_torchvision

    import_torchvision()
    from timm.layers import Conv2dSame

    return Conv2dSame(3, 5, 3, stride=2)


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Conv2d(3, 5, 3),
        lambda: nn.Conv2d(3, 5, 3, padding=1),
        lambda: nn.Conv2d(3, 5, 7, stride=2, padding=3, bias=False),
        lambda: nn.Conv2d(3, 5, 3, padding=4, dilation=2),
        lambda: nn.Conv2d(3, 5, 5, padding="same"),
        lambda: nn.Conv2d(3, 5, 4, stride=4),
        same_padding,
    ],
)
def test_a_summed_convolution_is_the_same_at_every_position(build) -> None:
    torch.manual_seed(0)
    convolution = build().requires_grad_(False)
    grey = torch.randint(0, 256, (2, 1, 17, 17)).float()
    expected = convolution(grey.expand(2, 3, 17, 17) * SCALE + SHIFT)
    found = SummedConvolution(convolution, SCALE, SHIFT, 17)(grey)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_one_shift_for_all_positions_would_be_wrong_at_the_border() -> None:
    black = SummedConvolution(nn.Conv2d(3, 5, 3, padding=1), SCALE, SHIFT, 9).black
    assert float((black - black[..., 4:5, 4:5]).abs()[..., 1:-1, 1:-1].max()) < 1e-5
    assert float((black - black[..., 4:5, 4:5]).abs()[..., 0, :].max()) > 0.01


def test_a_summed_convolution_reads_a_third() -> None:
    convolution = nn.Conv2d(3, 5, 3)
    summed = SummedConvolution(convolution, SCALE, SHIFT, 9)
    assert summed.grey.weight.numel() * 3 == convolution.weight.numel()
    assert convolution.weight.shape == (5, 3, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights", "path"),
    [
        ("efficientnet_lite0", None, "conv_stem"),
        ("efficientnet_lite0", None, "global_pool"),
        ("resnet18", "random", "conv1"),
        ("resnet18", "random", "avgpool"),
    ],
)
def test_policies_agree_on_grey_images(name: str, weights: str | None, path: str) -> None:
    image, tap = greyed(picture()), Tap(path)
    replicate = activation(name, "replicate", image, tap, weights)
    summed = activation(name, "summed", image, tap, weights)
    assert np.abs(summed - replicate).max() <= 1e-4 * np.abs(replicate).max()
    assert np.array_equal(activation(name, "luma", image, tap, weights), replicate)


@pytest.mark.real
@pytest.mark.parametrize("path", ["features.0", "features.1", "features.30"])
def test_policies_agree_on_vgg16(shared: Path, path: str) -> None:
    weights = str(shared / "weights" / "vgg16_features.safetensors")
    image, tap = greyed(picture()), Tap(path)
    replicate = activation("vgg16", "replicate", image, tap, weights)
    summed = activation("vgg16", "summed", image, tap, weights)
    assert np.abs(summed - replicate).max() <= 1e-4 * np.abs(replicate).max()


@pytest.mark.slow
def test_summed_gives_the_features_of_luma_for_colour_and_not_those_of_colour() -> None:
    image, tap = picture(), Tap("global_pool")
    luma = activation("efficientnet_lite0", "luma", image, tap)
    summed = activation("efficientnet_lite0", "summed", image, tap)
    colour = activation("efficientnet_lite0", "replicate", image, tap)
    assert np.abs(summed - luma).max() <= 1e-4 * np.abs(luma).max()
    assert np.abs(colour - luma).max() > 0.05 * np.abs(luma).max()


@pytest.mark.parametrize("channels", ["luma", "summed"])
def test_colour_is_removed_and_every_grey_stays_what_it_is(channels: str) -> None:
    spec = InputSpec(size=16, channels=channels)  # type: ignore[arg-type]
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert np.array_equal(prepare(ramp, spec), ramp)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert np.unique(prepare(red, spec)).tolist() == [76]


def test_letterbox_is_filled_with_grey_too() -> None:
    spec = InputSpec(size=16, resize="letterbox", channels="luma")
    pixels = prepare(np.zeros((8, 16, 3), np.uint8), spec)
    assert np.unique(pixels[0]).tolist() == [117]
    assert (pixels == pixels[..., :1]).all()


def test_the_default_policy_leaves_keys_as_they_were() -> None:
    plain = InputSpec(size=224)
    assert "channels" not in plain.to_json()
    assert InputSpec.from_json(plain.to_json()) == plain
    luma = dataclasses.replace(plain, channels="luma")
    assert InputSpec.from_json(luma.to_json()) == luma
    assert luma.to_json()["channels"] == "luma"


@pytest.mark.parametrize("change", [{"channels": "sepia"}, {"resize": "zoom"}])
def test_a_document_with_unknown_preprocessing_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown preprocessing"):
        InputSpec.from_json(InputSpec(size=224).to_json() | change)


def test_an_unknown_policy_is_one_line() -> None:
    with pytest.raises(BackboneError) as error:
        open_backbone("efficientnet_lite0", grey="sumed")
    assert str(error.value) == (
        "no channel policy 'sumed': replicate, summed, luma. Did you mean 'summed'?"
    )


@pytest.mark.parametrize(
    "network",
    [nn.Linear(3, 2), nn.Conv2d(4, 2, 3), nn.Conv2d(3, 6, 3, groups=3)],
    ids=["no convolution", "four channels", "groups"],
)
def test_a_network_without_a_convolution_over_colour_is_refused(network: nn.Module) -> None:
    with pytest.raises(BackboneError) as error:
        sum_over_colour(nn.Sequential(network), "odd", SCALE, SHIFT, 8)
    assert str(error.value) == (
        "odd: no first convolution over red, green and blue: use --grey luma instead of summed"
    )


def test_the_first_convolution_has_a_path() -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1)), nn.Conv2d(2, 2, 1))
    assert first_convolution(network, "x")[0] == "0.0"
