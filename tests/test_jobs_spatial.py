"""Which activations are maps over the image, and how they are laid out."""

from __future__ import annotations

import numpy as np
import pytest

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.named_layers import resolve
from offshelf.errors import LayerError
from offshelf.jobs.visualise.feature_maps import (
    Choice,
    Grid,
    grid_of,
    layer_label,
    maps_before,
    maps_of,
    positions,
    spatial_layers,
)


@pytest.mark.parametrize(
    ("shape", "last", "expected"),
    [
        ((64, 224, 224), False, Grid(64, 224)),
        ((7, 7, 768), True, Grid(768, 7)),
        ((768, 7, 7), True, None),
        ((197, 768), False, Grid(768, 14, 1)),
        ((196, 768), False, Grid(768, 14, 0)),
        ((201, 384), False, Grid(384, 14, 5)),
        ((12, 197, 64), False, None),
        ((512, 1, 1), False, None),
        ((4096,), False, None),
        ((1, 768), False, None),
        ((), False, None),
        ((2, 3, 4, 4), False, None),
    ],
)
def test_a_map_is_told_by_its_shape(shape, last: bool, expected: Grid | None) -> None:
    assert grid_of(shape, last) == expected


def test_every_order_of_axes_gives_the_same_maps() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    assert np.array_equal(maps_of(maps, Grid(5, 3)), maps)
    assert np.array_equal(maps_of(np.moveaxis(maps, 0, -1), Grid(5, 3), True), maps)
    tokens = np.concatenate([np.full((1, 5), 9.0), maps.reshape(5, 9).T]).astype(np.float32)
    assert np.array_equal(maps_of(tokens, Grid(5, 3, 1)), maps)
    assert positions(tokens, Grid(5, 3, 1)).shape == (5, 10)


def test_positions_stand_as_flattened_features_do() -> None:
    import torch

    from offshelf.engine.torch_engine.tapped_network import pool

    maps = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    flat = pool(torch.from_numpy(maps[None]), "flatten")[0].numpy()
    assert np.array_equal(positions(maps, Grid(5, 3)).ravel(), flat)


@pytest.mark.parametrize(
    ("name", "layer", "text"),
    [
        (
            "efficientnet_lite0",
            "stage33",
            "efficientnet_lite0: no layer 'stage33'. Did you mean 'stage3' or 'stage7' or "
            "'stage6'? 'offshelf layers efficientnet_lite0' lists them",
        ),
        (
            "efficientnet_lite0",
            "penultimate",
            "efficientnet_lite0: penultimate puts out 1280 values, which is no map over the "
            "image; spatial layers: stem to head_conv; 'offshelf layers efficientnet_lite0' "
            "lists them",
        ),
        (
            "resnet18",
            "avgpool",
            "resnet18: avgpool puts out 512 x 1 x 1 values, which is no map over the image; "
            "spatial layers: conv1 to stage4; 'offshelf layers resnet18' lists them",
        ),
    ],
)
def test_a_layer_without_a_map_is_one_line(name: str, layer: str, text: str) -> None:
    weights = None if name == "efficientnet_lite0" else "random"
    with pytest.raises(LayerError) as error:
        spatial_layers(open_backbone(name, weights=weights), [layer], Choice())
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("name", "layer", "first"),
    [
        ("efficientnet_lite0", "penultimate", "global_pool.pool:in"),
        ("efficientnet_lite0", "stage3", "blocks.2"),
        ("resnet18", "penultimate", "avgpool:in"),
        ("vgg16", "relu7", "avgpool"),
        ("vgg16", "pool5", "features.30"),
        ("swin_t", "penultimate", "permute:in"),
    ],
)
def test_the_map_before_a_layer_is_the_last_one(name: str, layer: str, first: str) -> None:
    backbone = open_backbone(name, weights=None if "lite" in name else "random")
    found = maps_before(backbone, backbone.path_of(layer), 5)
    assert found[0][0].path == first
    assert len(found) == 5


def test_a_layer_without_a_name_is_called_by_what_it_feeds() -> None:
    backbone = open_backbone("efficientnet_lite0")
    row = resolve(backbone.spec, "global_pool:in", 224)
    assert layer_label(row, backbone.spec) == "input of penultimate"
    assert layer_label(resolve(backbone.spec, "bn2", 224), backbone.spec) == "head_conv"
    assert layer_label(resolve(backbone.spec, "bn2.act:in", 224), backbone.spec) == (
        "input of bn2.act"
    )
