"""First-layer filters: the weights of the file, chosen, drawn, written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.weights_file.locate import read_tensors
from offshelf.errors import BackboneError, LayerError
from offshelf.jobs.setup.settings import FeatureSettings
from offshelf.jobs.visualise.feature_maps import Choice
from offshelf.jobs.visualise.first_filters import FiltersResult, first_filters


@pytest.fixture(scope="module")
def result() -> FiltersResult:
    return first_filters()


def test_filters_are_the_weights_of_the_file(result: FiltersResult) -> None:
    tensors = read_tensors(open_backbone("efficientnet_lite0").file)
    expected = next(one for one in tensors.values() if one.dim() == 4).numpy()
    assert np.array_equal(result.weights, expected)
    assert result.path == "conv_stem"


def test_the_strongest_filters_come_first() -> None:
    found = first_filters(choice=Choice(sort="strength", limit=4))
    strengths = found.strengths
    assert found.channels == tuple(np.argsort(-strengths, kind="stable")[:4].tolist())


def test_the_result_prints_itself_and_is_json(result: FiltersResult) -> None:
    assert str(result) == (
        "efficientnet_lite0 conv_stem: 32 filters of 3 x 3 over red, green and blue, 32 chosen"
    )
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert np.array(document["filters"][5]["weights"]).shape == (3, 3, 3)
    assert result._repr_png_()[1:4] == b"PNG"


def test_a_picture_is_written(result: FiltersResult, tmp_path: Path) -> None:
    assert result.write(tmp_path).name == "efficientnet_lite0-filters.png"
    assert result.write(tmp_path / "f.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (64, 3, 7, 7)),
        ("alexnet", (64, 3, 11, 11)),
        ("timm/vit_tiny_patch16_224", (192, 3, 16, 16)),
    ],
)
def test_every_kind_of_network_has_first_filters(name: str, shape: tuple[int, ...]) -> None:
    found = first_filters(FeatureSettings(name, weights="random"))
    assert found.weights.shape == shape
    assert not found.backbone.trained


def test_a_filter_out_of_range_is_one_line() -> None:
    with pytest.raises(LayerError) as error:
        first_filters(choice=Choice((32,)))
    assert str(error.value) == "conv_stem has the channels 0 to 31: no channel 32"


def test_a_network_without_a_convolution_over_colour_is_one_line() -> None:
    features = FeatureSettings("timm/mixer_s16_224", weights="random")
    assert first_filters(features).weights.shape[1] == 3
    with pytest.raises(BackboneError) as error:
        first_filters(FeatureSettings("timm/levit_conv_128s.x", weights="random"))
    assert "\n" not in str(error.value)
