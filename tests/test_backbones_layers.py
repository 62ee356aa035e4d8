"""Layers by name and by path: shapes, calls, what weights must reach them, clean hooks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from offshelf.backbones import named_layers as layers
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.construct.architectures import load_module
from offshelf.backbones.named_layers import Layer, all_layers, known_path, named_layers, resolve
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.backbones.weights_file.locate import locate
from offshelf.errors import LayerError, WeightsError

VGG16_POOLS = {
    "pool1": (64, 112, 112),
    "pool2": (128, 56, 56),
    "pool3": (256, 28, 28),
    "pool4": (512, 14, 14),
    "pool5": (512, 7, 7),
}


@pytest.mark.parametrize(
    ("backbone", "name", "path", "shape"),
    [
        ("vgg16", "conv1_1", "features.0", (64, 224, 224)),
        ("vgg16", "relu5_3", "features.29", (512, 14, 14)),
        ("vgg16", "fc6", "classifier.0", (4096,)),
        ("vgg16", "relu7", "classifier.4", (4096,)),
        ("vgg16", "penultimate", "classifier.4", (4096,)),
        ("vgg16", "logits", "classifier.6", (1000,)),
        ("alexnet", "pool5", "features.12", (256, 6, 6)),
        ("resnet18", "relu1", "relu", (64, 112, 112)),
        ("resnet18", "penultimate", "avgpool", (512, 1, 1)),
        ("efficientnet_lite0", "penultimate", "global_pool", (1280,)),
        ("vit_b_16", "penultimate", "heads.head:in", (768,)),
        ("vit_b_16", "block12", "encoder.layers.encoder_layer_11", (197, 768)),
        ("swin_t", "stage1", "features.1", (56, 56, 96)),
    ],
)
def test_a_name_and_its_path_are_the_same_layer(
    backbone: str, name: str, path: str, shape: tuple[int, ...]
):
    spec = get_spec(backbone)
    assert known_path(spec, name) == path
    by_name, by_path = resolve(spec, name, 224), resolve(spec, path, 224)
    assert by_name == by_path
    assert (by_name.path, by_name.shape) == (path, shape)


@pytest.mark.parametrize(("name", "shape"), VGG16_POOLS.items())
def test_the_pools_of_vgg16(name: str, shape: tuple[int, ...]):
    row = resolve(get_spec("vgg16"), name, 224)
    assert (row.kind, row.shape, row.calls) == ("MaxPool2d", shape, 1)
    assert row.needs == {"features"}


@pytest.mark.parametrize(
    ("backbone", "path", "shape", "needs"),
    [
        ("vgg16", "features.0:in", (3, 224, 224), set()),
        ("vgg16", "features.1:in", (64, 224, 224), {"features"}),
        ("vgg16", "classifier.0:in", (25088,), {"features"}),
        ("vgg16", "classifier.3:in", (4096,), {"features", "classifier"}),
        ("resnet18", "fc:in", (512,), None),
    ],
)
def test_the_input_of_a_module_is_a_layer(
    backbone: str, path: str, shape: tuple[int, ...], needs: set[str] | None
):
    row = resolve(get_spec(backbone), path, 224)
    assert (row.path, row.shape) == (path, shape)
    assert needs is None or row.needs == needs


def test_shapes_follow_the_size_of_the_input():
    spec = get_spec("resnet18")
    assert resolve(spec, "stage4", 224).shape == (512, 7, 7)
    assert resolve(spec, "stage4", 96).shape == (512, 3, 3)


def test_a_module_that_runs_more_than_once_says_so():
    spec = get_spec("resnet18")
    calls = {row.path: row.calls for row in all_layers(spec, 64)}
    assert calls["layer1.0.relu"] == 2
    assert calls["layer1.0.relu:in"] == 2
    assert calls["relu"] == 1


def test_layers_come_in_the_order_in_which_they_finish():
    paths = [row.path for row in all_layers(get_spec("alexnet"), 224)]
    assert len(paths) == len(set(paths))
    order = ["features.0:in", "features.0", "features.12", "features", "avgpool", "classifier.6"]
    places = [paths.index(path) for path in order]
    assert places == sorted(places)
    # What contains everything else finishes last.
    assert paths[-1] == "classifier"


def test_an_uncatalogued_network_has_its_ends_named():
    spec = get_spec("timm/test_resnet")
    assert spec.layers == ()
    assert known_path(spec, "penultimate") is None
    assert [(row.name, row.path) for row in named_layers(spec, 160)] == [
        ("penultimate", "fc:in"),
        ("logits", "fc"),
    ]
    assert resolve(spec, "penultimate", 160).path == "fc:in"
    assert resolve(spec, "logits", 160).shape == (1000,)


def test_a_torchvision_network_without_a_configuration_ends_in_its_last_linear_layer():
    spec = get_spec("torchvision/mnasnet0_5")
    assert resolve(spec, "penultimate", 224).path == "classifier.1:in"
    assert resolve(spec, "logits", 224).path == "classifier.1"


def test_a_network_without_linear_layers_has_no_named_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "skeleton", lambda *_, **__: nn.Sequential(nn.Conv2d(3, 4, 3)))
    spec = BackboneSpec("convolution", "timm", "convolution", ())
    assert named_layers(spec, 8) == ()
    with pytest.raises(LayerError, match=r"^convolution: no layer 'penultimate'"):
        resolve(spec, "penultimate", 8)


def test_named_layers_keep_both_names_of_one_path():
    rows = {row.name: row for row in named_layers(get_spec("vgg16"), 224)}
    assert rows["relu7"].path == rows["penultimate"].path == "classifier.4"
    assert next(iter(rows)) == "conv1_1"
    assert list(rows)[-2:] == ["penultimate", "logits"]


@pytest.mark.parametrize(
    ("backbone", "word", "message"),
    [
        (
            "vgg16",
            "relu_7",
            "vgg16: no layer 'relu_7'. Did you mean 'relu7' or 'relu5_3' or 'relu5_2'?"
            " 'offshelf layers vgg16' lists them",
        ),
        (
            "vgg16",
            "Pool5",
            "vgg16: no layer 'Pool5'. Did you mean 'pool5'",
        ),
        (
            "vgg16",
            "zebra",
            "vgg16: no layer 'zebra'. 'offshelf layers vgg16' lists them",
        ),
        ("vgg16", "features.31", "vgg16: no layer 'features.31'. Did you mean 'features.3"),
        ("vgg16", "", "vgg16: no layer ''. 'offshelf layers vgg16' lists them"),
        ("timm/test_resnet", "penultimat", "Did you mean 'penultimate'?"),
    ],
)
def test_unknown_layers(backbone: str, word: str, message: str):
    with pytest.raises(LayerError) as caught:
        resolve(get_spec(backbone), word, 160)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- hooks --------------------------------------------------------------------


class Twice(nn.Module):
    """Runs its one part twice, and can fail after it."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.part = nn.Linear(8, 8)
        self.fails = fails

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        once = self.part(images.mean(1))
        if self.fails:
            raise RuntimeError("the network failed")
        return self.part(once + 1)


def hooks_on(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The modules that are looked at, the one that runs twice first."""
    modules: list[nn.Module] = []

    def skeleton(spec: BackboneSpec, **_: Any) -> nn.Module:
        with torch.device("meta"):
            modules.append(Twice(fails=spec.name == "fails").eval())
        return modules[-1]

    monkeypatch.setattr(layers, "skeleton", skeleton)
    return modules


def test_hooks_are_gone_after_a_look(built: list[nn.Module]):
    rows = all_layers(BackboneSpec("twice", "timm", "twice", ()), 8)
    assert [(row.path, row.calls, row.shape) for row in rows] == [
        ("part:in", 2, (8, 8)),
        ("part", 2, (8, 8)),
    ]
    assert hooks_on(built[0]) == 0


def test_hooks_are_gone_after_a_failure(built: list[nn.Module]):
    with pytest.raises(RuntimeError, match="the network failed"):
        all_layers(BackboneSpec("fails", "timm", "fails", ()), 8)
    assert hooks_on(built[0]) == 0


def test_hooks_are_gone_from_a_real_network(monkeypatch: pytest.MonkeyPatch):
    seen: list[nn.Module] = []
    build = layers.skeleton

    def skeleton(*arguments: Any, **options: Any) -> nn.Module:
        seen.append(build(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(layers, "skeleton", skeleton)
    all_layers(dataclasses.replace(get_spec("alexnet"), name="once more"), 96)
    assert hooks_on(seen[0]) == 0


# --- weights that end early ---------------------------------------------------


def test_every_layer_is_covered_by_whole_weights():
    backbone = open_backbone("alexnet", weights="random")
    assert backbone.require("fc8").shape == (1000,)
    assert backbone.deepest() == "logits"


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """AlexNet with a file of its five convolutions only, of random numbers."""
    spec = get_spec("alexnet")
    module = load_module(spec, locate(spec, weights="random"))
    path = tmp_path_factory.mktemp("weights") / "convolutions.safetensors"
    save_file({n: t for n, t in module.state_dict().items() if n.startswith("features.")}, path)
    return open_backbone("alexnet", weights=str(path))


@pytest.mark.parametrize("layer", ["penultimate", "stage1"])
def test_weights_of_another_network_cover_no_layer(layer: str, tmp_path: Path):
    path = tmp_path / "vgg.safetensors"
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(WeightsError) as caught:
        open_backbone("resnet18", weights=str(path)).require(layer)
    assert str(caught.value) == (
        f"{path}: does not fit its backbone: it covers no layer of resnet18; "
        "give the file to the backbone that it belongs to"
    )


def test_a_file_without_classifier_covers_the_convolutions(convolutions: Backbone):
    assert convolutions.file.spec.covers == ("features",)
    assert convolutions.trained
    assert convolutions.deepest() == "pool5"
    assert isinstance(convolutions.require("pool5"), Layer)
    # The classifier's own input comes before its numbers are needed.
    assert convolutions.require("classifier.1:in").shape == (9216,)


@pytest.mark.parametrize(
    ("layer", "called"),
    [
        ("fc6", "fc6"),
        ("logits", "fc8"),
        ("penultimate", "relu7"),
        ("classifier.4", "fc7"),
        ("classifier", "classifier"),
    ],
)
def test_a_layer_behind_the_end_of_the_weights_is_refused(
    convolutions: Backbone, layer: str, called: str
):
    with pytest.raises(LayerError) as caught:
        convolutions.require(layer)
    assert str(caught.value) == (
        f"alexnet: {called} needs tensors that convolutions.safetensors does not hold: it covers"
        " the layers up to pool5; bring the full weights, alexnet-owt-7be5be79.pth, with"
        " 'offshelf weights add FILE --backbone alexnet'"
    )


def test_where_no_full_weights_were_published_none_are_named(convolutions: Backbone):
    nameless = dataclasses.replace(convolutions.spec, weights=())
    backbone = dataclasses.replace(convolutions, spec=nameless)
    with pytest.raises(LayerError, match=r"it covers the layers up to pool5$"):
        backbone.require("fc6")


@pytest.mark.real
def test_vgg16_with_its_thirteen_convolutions(shared: Path):
    file = shared / "weights" / "vgg16_features.safetensors"
    backbone = open_backbone("vgg16", weights=str(file))
    assert backbone.require("pool5").shape == (512, 7, 7)
    assert backbone.deepest() == "pool5"
    for layer in ("fc6", "relu7", "penultimate", "logits"):
        with pytest.raises(LayerError) as caught:
            backbone.require(layer)
        text = str(caught.value)
        assert text.startswith("vgg16: ")
        assert text.endswith(
            "needs tensors that vgg16_features.safetensors does not hold: it covers the layers"
            " up to pool5; bring the full weights, vgg16-397923af.pth, with"
            " 'offshelf weights add FILE --backbone vgg16'"
        )


# --- the path of a layer ------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "path"),
    [("pool5", "features.12"), ("features.12", "features.12"), ("fc6:in", None)],
)
def test_path_of(layer: str, path: str | None):
    backbone = open_backbone("alexnet", weights="random")
    if path is not None:
        assert backbone.path_of(layer) == path
        return
    with pytest.raises(LayerError, match="alexnet: no layer 'fc6:in'"):
        backbone.path_of(layer)
