"""Prediction from a model file: the scores of evaluate, in any process and on any engine."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_models import made_model, tampered, with_network, with_tensors
from offshelf import opened_model
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError, ModelFileError, OffshelfError, WeightsError
from offshelf.jobs.evaluate import evaluate_model
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.jobs.setup.settings import RunSettings
from offshelf.model_file.model import load_model, save_model
from offshelf.opened_model import open_model, self_test
from offshelf.progress import Silent

TORCH = RunSettings(EngineOptions("torch"))


def by_name(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {row["path"]: row["scores"] for row in document["predictions"]}


def test_the_scores_of_evaluate_to_the_bit(scenes: Path, model: Path) -> None:
    measured = evaluate_model(model, scenes).to_json()
    found = predict(model, [scenes / "test"]).to_json()
    assert by_name(found) == by_name(measured)
    assert (found["n_ok"], found["n_failed"]) == (12, 0)
    assert found["backbone"] == "efficientnet_lite0"
    assert found["trained_weights"] is True


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_new_process_with_an_empty_store_gives_the_same(
    tmp_path: Path, scenes: Path, model: Path, engine: str, cache: Path
) -> None:
    # The compiled network may stay; the features must be computed again.
    own = tmp_path / "cache"
    own.mkdir()
    (own / "compiled").symlink_to(cache / "compiled")
    image = scenes / "test" / "noise" / "0.png"
    code = "from offshelf.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", code, "predict", model, image, "--engine", engine, "--json"],
        env={**os.environ, "OFFSHELF_CACHE_DIR": str(own)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    found, expected = (
        by_name(document)[str(image)],
        by_name(evaluate_model(model, scenes).to_json()),
    )
    if engine == "openvino":
        assert found == expected[str(image)]
    assert document["engine"] == f"{engine} on cpu"
    assert found == pytest.approx(expected[str(image)], abs=1e-4)


def test_scores_are_in_order_and_name_every_class(scenes: Path, model: Path) -> None:
    for row in predict(model, [scenes / "test"]).predictions:
        values = list(row.scores.values())
        assert values == sorted(values, reverse=True)
        assert set(row.scores) == {"checks", "noise", "stripes"}
        assert row.label == next(iter(row.scores))


@pytest.mark.slow
def test_an_image_alone_in_company_and_twice(scenes: Path, model: Path) -> None:
    folder = scenes / "test" / "checks"
    many = predict(model, [folder], run=TORCH).predictions
    for row in many:
        assert predict(model, [row.path]).predictions[0].label == row.label
    twice = predict(model, [folder / "0.png", folder / "0.png"])
    assert len(twice.predictions) == 1
    assert twice.warnings == ("1 image named more than once, taken once",)


def test_broken_images_are_rows_with_their_reason(
    tmp_path: Path, scenes: Path, model: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(scenes / "test" / "noise", folder)
    (folder / "1-empty.png").touch()
    (folder / "2.gif").write_bytes(b"GIF89a")
    (folder / "notes.txt").write_text("no image")
    result = predict(model, [folder])
    rows = {Path(row.path).name: row for row in result.predictions}
    assert list(rows) == ["0.png", "1-empty.png", "1.png", "2.gif", "2.png", "3.png"]
    assert (rows["1-empty.png"].status, rows["1-empty.png"].label) == ("empty", None)
    assert rows["2.gif"].reason
    assert rows["1-empty.png"].to_json()["scores"] == {}
    assert result.n_failed == 2
    assert "1 file left out, not images by their names: .txt (1)" in result.warnings[0]


def test_sources_in_their_order_and_a_missing_one(scenes: Path, model: Path) -> None:
    gone = scenes / "nowhere.png"
    paths = [scenes / "test" / "stripes" / "0.png", gone, scenes / "test" / "checks" / "0.png"]
    result = predict(model, paths)
    assert [row.path for row in result.predictions] == [str(one) for one in paths]
    missing = result.predictions[1]
    assert (missing.label, missing.status, missing.reason) == (None, "missing", "no such file")
    assert result.warnings == (f"{gone}: no such file or folder.",)
    with pytest.raises(DataError, match=r"nowhere.png: no such file or folder"):
        predict(model, [gone])


def test_two_classes_have_mirrored_scores(tmp_path: Path, scenes: Path) -> None:
    for name in ("noise", "stripes"):
        shutil.copytree(scenes / "train" / name, tmp_path / "data" / name)
    fit(tmp_path / "data", tmp_path / "two.offshelf")
    for row in predict(tmp_path / "two.offshelf", [scenes / "test" / "noise"]).predictions:
        assert row.scores["noise"] == -row.scores["stripes"]
        assert row.label == ("noise" if row.scores["noise"] > 0 else "stripes")


def test_absent_weights_say_what_to_bring(
    tmp_path: Path, scenes: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(document: dict[str, Any]) -> None:
        document["backbone"]["spec"]["weights"][0].update(file_name="gone.pth", package="")

    copy = tmp_path / "m.offshelf"
    shutil.copy(model, copy)
    expected = load_model(model).backbone.spec.weights[0].sha256
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("went online"))
    with pytest.raises(WeightsError) as caught:
        predict(tampered(copy, absent), [scenes / "test"])
    text = str(caught.value)
    assert text.startswith(
        "efficientnet_lite0: no weights on this machine; looked for gone.pth (19"
    )
    assert "offshelf weights add FILE --backbone efficientnet_lite0, or --weights FILE" in text
    assert text.endswith(f"(this model needs the sha256 {expected})")


def test_other_weights_are_refused(tmp_path: Path, scenes: Path, model: Path) -> None:
    expected = load_model(model).backbone.spec.weights[0].sha256[:16]
    for weights in ("random", str(_other_weights(tmp_path))):
        with pytest.raises(WeightsError) as caught:
            predict(model, [scenes / "test"], weights=weights)
        text = str(caught.value)
        assert text.startswith(f"{weights}: is not the weights file this model was trained on")
        assert text.endswith(f"expected {expected}...; name the right one with --weights FILE")


def _other_weights(folder: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({"conv.weight": np.zeros((1, 1), np.float32)}, folder / "other.safetensors")
    return folder / "other.safetensors"


@pytest.mark.slow
def test_the_weights_may_lie_anywhere(tmp_path: Path, scenes: Path, model: Path) -> None:
    from offshelf.backbones.backbone import open_backbone

    found = open_backbone("efficientnet_lite0").file.path
    assert found is not None
    copy = tmp_path / "any name.pth"
    shutil.copy(found, copy)
    image = scenes / "test" / "noise" / "0.png"
    expected = predict(model, [image]).predictions
    assert predict(model, [image], weights=str(copy)).predictions == expected


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_tampered_head_fails_the_self_test(
    tmp_path: Path, scenes: Path, model: Path, engine: str
) -> None:
    copy = tmp_path / "m.offshelf"
    shutil.copy(model, copy)
    with_tensors(copy, lambda tensors: tensors["head.weight"].__imul__(1.01))
    options = RunSettings(EngineOptions(engine))
    with pytest.raises(ModelFileError) as caught:
        predict(copy, [scenes / "test"], run=options)
    text = str(caught.value)
    assert text.startswith(f"{copy}: fails its self-test on this machine: scores of its own test")
    with pytest.raises(ModelFileError, match="fails its self-test"):
        evaluate_model(copy, scenes, run=options)


def test_a_preprocessing_that_was_tampered_with_is_seen_where_it_changes_numbers(
    tmp_path: Path, scenes: Path, model: Path
) -> None:
    copy = tmp_path / "m.offshelf"
    shutil.copy(model, copy)
    tampered(copy, lambda d: d["backbone"]["input"].update(mean=[0.0, 0.0, 0.0]))
    with pytest.raises(ModelFileError, match="fails its self-test"):
        predict(copy, [scenes / "test"], run=TORCH)


def test_a_head_for_other_features_is_one_line(tmp_path: Path, scenes: Path, model: Path) -> None:
    made = made_model(("checks", "noise"), samples=0)
    real = load_model(model)
    path = save_model(
        dataclasses.replace(real, head=made.head, samples=(), certainty=made.certainty),
        tmp_path / "m.offshelf",
    )
    with pytest.raises(OffshelfError, match="features have 1280 dimensions but the head"):
        predict(path, [scenes / "test"])


def test_a_model_without_samples_is_not_tested(tmp_path: Path, scenes: Path) -> None:
    path = tmp_path / "m.offshelf"
    fit(scenes, path, run=RunSettings(samples=0))
    loaded, features = open_model(path)
    assert self_test(loaded, features, EngineOptions(), "m") == 0.0
    assert predict(path, [scenes / "test"]).n_failed == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "other_platform", "difference", "passes"),
    [
        ("fp32", False, 0.0009, True),
        ("fp32", True, 0.0011, False),
        ("bf16", False, 0.019, True),
        ("bf16", False, 0.021, False),
        ("bf16", True, 0.09, True),
        ("bf16", True, 0.11, False),
        ("fp16", True, 0.11, False),
        ("int8", False, 0.019, True),
        ("int8", False, 0.021, False),
        ("int8", True, 0.45, True),
        ("int8", True, 0.55, False),
    ],
)
def test_how_far_scores_may_be_off_here_and_on_another_processor(
    model: Path,
    precision: str,
    other_platform: bool,
    difference: float,
    passes: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, features = open_model(model)
    scale = max(1.0, *(float(np.abs(sample.scores).max()) for sample in loaded.samples))
    first, *others = loaded.samples
    moved = first.scores.copy()
    # Towards zero and past it, so that the largest stays the largest.
    nearest = np.abs(moved).argmin()
    moved[nearest] -= np.sign(moved[nearest]) * difference * scale
    other = dataclasses.replace(
        with_network(loaded, dataclasses.replace(loaded.backbone, precision=precision)),
        samples=(dataclasses.replace(first, scores=moved), *others),
    )
    # The features are those of fp32, which every machine computes.
    monkeypatch.setattr(opened_model, "engine_of", lambda _, options: options)
    monkeypatch.setattr(opened_model, "other_platform", lambda *_: other_platform)
    if passes:
        found = self_test(other, features, EngineOptions(), "m")
        assert found == pytest.approx(difference, rel=0.1)
        return
    with pytest.raises(ModelFileError) as caught:
        self_test(other, features, EngineOptions(), "m")
    doubt = f"; {precision} of another processor? train in fp32"
    remedy = doubt if other_platform and precision != "fp32" else ""
    assert str(caught.value).endswith(f"the network or an engine is not what it was{remedy}")


@pytest.mark.slow
def test_a_damaged_graph_is_told_to_whoever_opens_a_model(model: Path, tmp_path: Path) -> None:
    options = EngineOptions(cache_dir=tmp_path)
    open_model(model, options=options)
    (graph,) = tmp_path.glob("compiled/*/graph.bin")
    graph.write_bytes(b"")
    open_model(model, options=options, progress=(told := Silent()))
    assert told.notes == [
        f"{graph.parent}: graph.bin is damaged, set aside; the network is converted again"
    ]


@pytest.mark.slow
def test_the_self_test_on_the_other_engine_is_close(model: Path) -> None:
    loaded, features = open_model(model)
    differences = [
        self_test(loaded, features, EngineOptions(name), "m") for name in ("openvino", "torch")
    ]
    assert differences[0] <= 1e-6
    assert differences[1] <= 1e-4
