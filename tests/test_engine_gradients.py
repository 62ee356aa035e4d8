"""The way back from features to maps: right numbers, at any place, without side effects."""

from __future__ import annotations

import numpy as np
import pytest

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.construct.architectures import load_module
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.engine.torch_engine.gradients import Probe


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone("efficientnet_lite0")


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8)


def test_features_and_activations_are_the_engine_s(backbone: Backbone) -> None:
    tap, place = Tap("global_pool", "avg"), "blocks.4"
    probe = Probe(backbone, tap, [place], picture())
    engine = open_engine(backbone, [tap, Tap(place)], EngineOptions(engine="torch", batch_size=1))
    expected = engine.run(picture()[None])
    assert np.array_equal(probe.features, expected[tap][0])
    assert np.array_equal(probe.activations[place], expected[Tap(place)][0])


def test_the_gradient_through_an_average_is_shared_evenly(backbone: Backbone) -> None:
    probe = Probe(backbone, Tap("bn2", "avg"), ["bn2"], picture())
    direction = np.random.default_rng(1).normal(size=1280)
    found = probe.gradient(direction, "bn2")
    assert found.shape == (1280, 7, 7)
    assert np.abs(found - direction[:, None, None] / 49).max() < 1e-6


def test_the_gradient_is_that_of_the_layers_in_between() -> None:
    import torch

    random, place = open_backbone("resnet18", weights="random"), "layer4.1:in"
    probe = Probe(random, Tap("avgpool", "flatten"), [place], picture())
    direction = np.random.default_rng(1).normal(size=512)
    network = load_module(random.spec, random.file)
    start = torch.from_numpy(probe.activations[place][None]).requires_grad_()
    end = network.avgpool(network.layer4[1](start)).flatten()
    (expected,) = torch.autograd.grad(end @ torch.from_numpy(direction).float(), start)
    assert np.abs(end.detach().numpy() - probe.features).max() < 1e-4
    largest = float(expected.abs().max())
    found = probe.gradient(direction, place)
    assert np.abs(found - expected[0].numpy()).max() < 1e-4 * largest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "timm/vit_tiny_patch16_224"])
def test_networks_that_write_into_their_input_keep_their_features(name: str) -> None:
    random = open_backbone(name, weights="random")
    path = random.path_of("penultimate")
    places = {"resnet18": "layer4.1.bn2", "densenet121": "features"}
    place = places.get(name, "blocks.11.norm1")
    probe = Probe(random, Tap(path, "avg"), [place], picture())
    tap = Tap(path, "avg")
    engine = open_engine(random, [tap], EngineOptions(engine="torch", batch_size=1))
    assert np.abs(probe.features - engine.run(picture()[None])[tap][0]).max() < 1e-5
    gradient = probe.gradient(np.ones(len(probe.features)), place)
    assert gradient.shape == probe.activations[place].shape
    assert np.isfinite(gradient).all()


def test_a_place_behind_the_features_is_missing(backbone: Backbone) -> None:
    probe = Probe(backbone, Tap("blocks.1", "avg"), ["blocks.1", "blocks.3"], picture())
    assert list(probe.activations) == ["blocks.1"]


def test_a_place_that_changes_nothing_has_a_gradient_of_zeros() -> None:
    vit = open_backbone("timm/vit_tiny_patch16_224", weights="random")
    probe = Probe(vit, Tap("head:in", "avg"), ["norm", "blocks.11.norm1"], picture())
    # Not the same for all: what a norm gives has the same sum whatever goes in.
    direction = np.random.default_rng(1).normal(size=len(probe.features))
    assert not probe.gradient(direction, "norm")[1:].any()
    assert probe.gradient(direction, "norm")[0].any()
    assert probe.gradient(direction, "blocks.11.norm1")[1:].any()
