"""Networks with their weights in place, and weights files that do not fit, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from offshelf.backbones.catalogue.names import get_spec, names
from offshelf.backbones.construct.architectures import load_module, skeleton
from offshelf.backbones.named_layers import named_layers, resolve
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.backbones.weights_file.locate import WeightsFile, locate
from offshelf.errors import BackboneError, WeightsError

Tensors = dict[str, torch.Tensor]
TINY = "timm/test_resnet"


def random_tensors(name: str) -> Tensors:
    spec = get_spec(name)
    module = load_module(spec, locate(spec, weights="random"))
    return {key: value.clone() for key, value in module.state_dict().items()}


def weights_of(name: str, tensors: Tensors, path: Path) -> WeightsFile:
    save_file(tensors, path)
    return locate(get_spec(name), weights=str(path))


@pytest.fixture(scope="module")
def tiny() -> Tensors:
    """The tensors of a network of half a million parameters, changed from the random ones."""
    draw = torch.Generator().manual_seed(1)
    return {
        name: tensor + 0.1 * torch.rand(tensor.shape, generator=draw)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in random_tensors(TINY).items()
    }


# --- skeletons ----------------------------------------------------------------


@pytest.mark.slow
def test_the_named_layers_of_every_catalogued_network_run_once():
    for spec in map(get_spec, names()):
        rows = named_layers(spec, spec.weights[0].input.size)
        assert {row.calls for row in rows} == {1}, spec.name
        assert {row.path for row in rows} == set(dict(spec.layers).values()), spec.name


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_catalogued_network_has_a_skeleton(name: str):
    spec = get_spec(name)
    module = skeleton(spec, image_size=spec.weights[0].input.size)
    tensors = [*module.parameters(), *module.buffers()]
    assert all(tensor.is_meta for tensor in tensors)
    assert sum(p.numel() for p in module.parameters()) == spec.parameters


@pytest.mark.slow
def test_a_network_that_computes_while_it_is_built_has_layers_too():
    # RegNet finds its widths with tensors, which have no numbers in a skeleton.
    assert resolve(get_spec("regnet_y_400mf"), "penultimate", 224).shape == (440, 1, 1)


@pytest.mark.slow
def test_a_transformers_skeleton_fits_the_size_of_the_input():
    spec = get_spec("timm/test_vit")
    positions = [
        skeleton(spec, image_size=size).get_parameter("pos_embed").shape[1] for size in (160, 320)
    ]
    assert positions == [101, 401]


def test_timms_own_words_reach_the_reader():
    spec = BackboneSpec("timm/nothing", "timm", "nothing", ())
    with pytest.raises(BackboneError, match=r"^timm/nothing: timm cannot build it: "):
        skeleton(spec)


# --- a loaded network ---------------------------------------------------------


def test_a_loaded_network_is_frozen_and_never_trains(tiny: Tensors, tmp_path: Path):
    spec = get_spec(TINY)
    module = load_module(spec, weights_of(TINY, tiny, tmp_path / "tiny.safetensors"))
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(getattr(part, "inplace", False) for part in module.modules())
    assert not any(tensor.is_meta for tensor in module.state_dict().values())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, tiny[name]), name


@pytest.mark.parametrize("name", ["resnet18", "alexnet", "mobilenet_v3_small", "densenet121"])
def test_no_activation_works_in_place(name: str):
    module = load_module(get_spec(name), locate(get_spec(name), weights="random"))
    assert not any(getattr(part, "inplace", False) for part in module.modules())
    assert not any(part.training for part in module.modules())


def test_random_weights_are_the_same_every_time_and_leave_torchs_seed_alone():
    spec = get_spec(TINY)
    file = locate(spec, weights="random")
    torch.manual_seed(5)
    first = load_module(spec, file).state_dict()
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), after)
    second = load_module(spec, file).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_maxvit", "timm/test_vit_relpos", "timm/test_coatnet"])
def test_numbers_that_a_network_computes_for_itself_are_there(name: str, tmp_path: Path):
    """Some networks keep tables outside their weights; an empty one would give nonsense."""
    spec = dataclasses.replace(get_spec("timm/test_vit"), name=name, architecture=name[5:])
    own = load_module(spec, locate(spec, weights="random"))
    tensors = {key: value.clone() for key, value in own.state_dict().items()}
    save_file(tensors, tmp_path / "own.safetensors")
    file = locate(spec, weights=str(tmp_path / "own.safetensors"))
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(load_module(spec, file)(images), own(images))


def test_tensors_in_the_networks_order_need_no_names(tiny: Tensors, tmp_path: Path):
    renamed = {f"{number:03}": tensor for number, tensor in enumerate(tiny.values())}
    path = tmp_path / "ordered.pth"
    torch.save(renamed, path)
    file = locate(get_spec(TINY), weights=str(path))
    ordered = dataclasses.replace(file, spec=dataclasses.replace(file.spec, by_order=True))
    loaded = load_module(get_spec(TINY), ordered).state_dict()
    assert all(torch.equal(loaded[name], tiny[name]) for name in tiny)


def test_too_few_tensors_in_the_networks_order(tiny: Tensors, tmp_path: Path):
    renamed = {f"{number:03}": tensor for number, tensor in enumerate(tiny.values())}
    del renamed["000"]
    path = tmp_path / "ordered.pth"
    torch.save(renamed, path)
    file = locate(get_spec(TINY), weights=str(path))
    ordered = dataclasses.replace(file, spec=dataclasses.replace(file.spec, by_order=True))
    with pytest.raises(WeightsError) as caught:
        load_module(get_spec(TINY), ordered)
    assert str(caught.value) == (
        f"{file.path}: {len(tiny) - 1} tensors where the network has {len(tiny)}"
    )


def test_counters_of_training_may_be_missing(tiny: Tensors, tmp_path: Path):
    bare = {name: t for name, t in tiny.items() if not name.endswith("num_batches_tracked")}
    assert len(bare) < len(tiny)
    file = weights_of(TINY, bare, tmp_path / "bare.safetensors")
    whole = weights_of(TINY, tiny, tmp_path / "whole.safetensors")
    images = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        outputs = [load_module(get_spec(TINY), one)(images) for one in (file, whole)]
    assert torch.equal(*outputs)


def test_half_precision_weights_are_used_in_single(tiny: Tensors, tmp_path: Path):
    half = {name: t.half() if t.is_floating_point() else t for name, t in tiny.items()}
    file = weights_of(TINY, half, tmp_path / "half.safetensors")
    module = load_module(get_spec(TINY), file)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert torch.equal(module.get_parameter("fc.bias"), tiny["fc.bias"].half().float())


# --- weights that do not fit --------------------------------------------------


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: t for name, t in tensors.items() if name not in names}


def with_value(name: str, value: float) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        changed = tensors[name].clone()
        changed.view(-1)[-1] = value
        return {**tensors, name: changed}

    return change


def without_layers(tensors: Tensors) -> Tensors:
    return {name: t for name, t in tensors.items() if not name.startswith("layer4.")}


LAYER4 = "layer4.0.bn1.bias, layer4.0.bn1.running_mean, layer4.0.bn1.running_var"
DAMAGES: list[tuple[Callable[[Tensors], Tensors], str]] = [
    (without("fc.bias"), "missing: fc.bias"),
    (without("fc.bias", "conv1.0.weight"), "missing: conv1.0.weight, fc.bias"),
    (lambda t: {**t, "head.bias": torch.ones(2)}, "unexpected: head.bias"),
    (lambda t: {**t, "fc.bias": torch.ones(7)}, "of another shape: fc.bias"),
    (lambda t: {**t, "fc.weight": t["fc.weight"].T.contiguous()}, "of another shape: fc.weight"),
    (with_value("fc.bias", float("nan")), "not finite: fc.bias"),
    (with_value("bn1.running_var", float("inf")), "not finite: bn1.running_var"),
    (
        lambda t: without("fc.bias")({**t, "extra": torch.tensor([float("nan")])}),
        "missing: fc.bias; unexpected: extra; not finite: extra",
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[text for _, text in DAMAGES])
def test_weights_that_do_not_fit_are_refused_by_name(
    damage: Callable[[Tensors], Tensors], message: str, tiny: Tensors, tmp_path: Path
):
    file = weights_of(TINY, damage(tiny), tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_module(get_spec(TINY), file)
    assert str(caught.value) == f"{file.path}: does not fit its backbone; tensors {message}"


def test_of_many_names_the_first_five_are_told(tiny: Tensors, tmp_path: Path):
    missing = [name for name in tiny if name.startswith("layer4.")]
    optional = [name for name in missing if name.endswith("num_batches_tracked")]
    file = weights_of(TINY, without_layers(tiny), tmp_path / "short.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_module(get_spec(TINY), file)
    shown = str(caught.value)
    assert f"missing: {LAYER4}" in shown
    assert shown.endswith(f" and {len(missing) - len(optional) - 5} more")


@pytest.mark.parametrize("kind", [torch.int64, torch.int8, torch.bool])
def test_weights_of_whole_numbers_are_refused(kind: torch.dtype, tiny: Tensors, tmp_path: Path):
    changed = {**tiny, "fc.weight": torch.ones_like(tiny["fc.weight"]).to(kind)}
    file = weights_of(TINY, changed, tmp_path / "whole_numbers.safetensors")
    with pytest.raises(WeightsError, match=r"backbone; tensors of whole numbers: fc\.weight$"):
        load_module(get_spec(TINY), file)


def test_the_weights_of_another_network_are_refused(tiny: Tensors, tmp_path: Path):
    file = weights_of("timm/test_vit", tiny, tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsError, match="does not fit its backbone; tensors missing: blocks"):
        load_module(get_spec("timm/test_vit"), file)


def test_a_part_that_the_file_does_not_cover_stays_empty(tmp_path: Path):
    spec = get_spec("squeezenet1_1")
    module = load_module(spec, locate(spec, weights="random"))
    features = {n: t for n, t in module.state_dict().items() if n.startswith("features.")}
    file = weights_of("squeezenet1_1", features, tmp_path / "part.safetensors")
    assert file.spec.covers == ("features",)
    loaded = load_module(spec, file)
    assert all(p.is_meta == n.startswith("classifier.") for n, p in loaded.named_parameters())
    short = {name: tensor for name, tensor in features.items() if name != "features.0.bias"}
    with pytest.raises(WeightsError, match=r"tensors missing: features\.0\.bias$"):
        load_module(spec, weights_of("squeezenet1_1", short, tmp_path / "short.safetensors"))
