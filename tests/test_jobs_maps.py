"""Activation maps of one image: the engine's numbers, chosen, drawn, written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.specification.preprocess import prepare
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.errors import DataError, LayerError, OffshelfError
from offshelf.jobs.setup.settings import FeatureSettings
from offshelf.jobs.visualise.activation_maps import (
    MapsResult,
    activation_maps,
    for_one_image,
)
from offshelf.jobs.visualise.feature_maps import Choice
from offshelf.report.pictures.activation_tiles import Look

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def result() -> MapsResult:
    return activation_maps(PIXELS, ["stage1", "bn2", "stage1"])


@pytest.mark.slow
def test_maps_are_what_the_engine_gives(result: MapsResult) -> None:
    backbone = open_backbone("efficientnet_lite0")
    engine = open_engine(backbone, [Tap("blocks.0"), Tap("bn2")], EngineOptions(engine="torch"))
    expected = engine.run(prepare(PIXELS, backbone.input)[None])
    assert [one.name for one in result.layers] == ["stage1", "head_conv"]
    for one in result.layers:
        largest = np.abs(expected[Tap(one.path)]).max()
        assert np.abs(one.maps - expected[Tap(one.path)][0]).max() <= 1e-4 * largest


def test_the_first_64_channels_are_chosen_of_many(result: MapsResult) -> None:
    assert result["stage1"].channels == tuple(range(16))
    assert result["bn2"].channels == tuple(range(64))


@pytest.mark.slow
def test_strength_is_the_mean_absolute_activation() -> None:
    chosen = activation_maps(PIXELS, ["stage1"], choice=Choice(sort="strength", limit=3))
    one = chosen["stage1"]
    expected = np.abs(one.maps).mean(axis=(1, 2))
    assert one.channels == tuple(np.argsort(-expected, kind="stable")[:3].tolist())
    listed = [row["strength"] for row in one.to_json()["channels"]]
    assert listed == sorted(listed, reverse=True)


def test_tokens_of_a_transformer_are_maps() -> None:
    features = FeatureSettings("timm/vit_tiny_patch16_224", weights="random")
    one = activation_maps(PIXELS, ["blocks.3"], features=features).layers[0]
    assert one.maps.shape == (192, 14, 14)


def test_the_result_prints_itself_and_is_json(result: MapsResult) -> None:
    text = str(result).splitlines()
    assert text[0] == "image in efficientnet_lite0 (torch on cpu)"
    assert text[1].startswith("stage1: 16 channels of 112 x 112, 16 chosen; strongest ")
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert [layer["shape"] for layer in document["layers"]] == [[16, 112, 112], [1280, 7, 7]]
    assert document["grey"] == "replicate"
    assert result._repr_png_()[1:4] == b"PNG"


@pytest.mark.slow
def test_one_picture_per_layer_is_written(result: MapsResult, tmp_path: Path) -> None:
    paths = result.write(tmp_path / "maps.svg")
    assert [path.name for path in paths] == ["maps-stage1.svg", "maps-head_conv.svg"]
    assert all(path.read_bytes().startswith(b"<?xml") for path in paths)
    paths = result.write(tmp_path, Look(colours="grey"))
    assert [path.name for path in paths] == ["image-stage1.png", "image-head_conv.png"]
    with Image.open(paths[0]) as picture:
        assert picture.format == "PNG"


def test_a_wrong_name_writes_nothing(result: MapsResult, tmp_path: Path) -> None:
    with pytest.raises(OffshelfError, match=r"maps\.jpg: a picture's name ends in \.png or \.svg"):
        result.write(tmp_path / "maps.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layers", "choice", "text"),
    [
        ([], Choice(), "no layer was asked for"),
        (["penultimate"], Choice(), "efficientnet_lite0: penultimate puts out 1280 values, which"),
        (["stgae1"], Choice(), "efficientnet_lite0: no layer 'stgae1'. Did you mean 'stage1'"),
        (
            ["stage1"],
            Choice((15, 16)),
            "stage1 has the channels 0 to 15: no channel 16",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(layers: list[str], choice: Choice, text: str) -> None:
    with pytest.raises(LayerError) as error:
        activation_maps(PIXELS, layers, choice=choice)
    assert str(error.value).startswith(text)
    assert "\n" not in str(error.value)


@pytest.mark.real
def test_a_layer_beyond_the_weights_is_told_to_be_no_map_first(shared: Path) -> None:
    weights = str(shared / "weights" / "vgg16_features.safetensors")
    with pytest.raises(LayerError, match=r"^vgg16: fc6 puts out 4096 values, which is no map"):
        activation_maps(PIXELS, ["fc6"], features=FeatureSettings("vgg16", weights=weights))


def test_an_image_of_one_pixel_is_one_line() -> None:
    with pytest.raises(DataError, match="image: 1 x 1 pixels: too small to see anything"):
        activation_maps(np.zeros((1, 1, 3), np.uint8), ["stage1"])


def test_a_layer_that_was_not_asked_for_is_one_line(result: MapsResult) -> None:
    with pytest.raises(LayerError) as error:
        _ = result["stage2"]
    assert str(error.value) == ("no maps of 'stage2': stage1, head_conv. Did you mean 'stage1'?")


@pytest.mark.parametrize(
    ("given", "engine", "rows"),
    [
        (EngineOptions(), "torch", 1),
        (EngineOptions(engine="openvino", batch_size=4), "openvino", 4),
        (EngineOptions(precision="int8"), "auto", 1),
    ],
)
def test_one_image_runs_on_torch_unless_told(given: EngineOptions, engine: str, rows: int) -> None:
    assert (for_one_image(given).engine, for_one_image(given).batch_size) == (engine, rows)


@pytest.mark.real
def test_first_maps_of_vgg16_show_edges_colours_and_bright_areas(shared: Path) -> None:
    weights = str(shared / "weights" / "vgg16_features.safetensors")
    found = activation_maps(
        shared / "images" / "cat.jpg",
        ["relu1_1", "relu5_3"],
        features=FeatureSettings("vgg16", weights=weights),
    )
    assert found["relu1_1"].maps.shape == (64, 224, 224)
    assert found["relu5_3"].maps.shape == (512, 14, 14)
    seen = found.network_input.pixels.astype(float)
    bright = seen.mean(axis=2)
    down, across = np.gradient(bright)
    wanted = {
        "bright": bright,
        "edges": np.hypot(down, across),
        "orange": seen[..., 0] - seen[..., 2],
    }
    maps = found["relu1_1"].maps.reshape(64, -1)
    alive = maps[maps.std(axis=1) > 0]
    for name, picture in wanted.items():
        found_best = max(np.corrcoef(one, picture.ravel())[0, 1] for one in alive)
        assert found_best > 0.55, name
