"""The commands from end to end: exit codes, one JSON document, texts, what is kept."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from command_run import Run
from offshelf import __version__
from offshelf.cli.main import main
from offshelf.cli.terminal import console
from offshelf.engine import processor
from offshelf.engine.openvino_engine import int8_winograd
from offshelf.engine.openvino_engine.winograd import kernel
from offshelf.engine.openvino_engine.winograd.panel_layout import Registers
from offshelf.jobs import doctor
from offshelf.prediction import Prediction
from offshelf.progress import Silent
from offshelf.report.labels import label_cells as cells

TORCH = ("--engine", "torch")


@pytest.fixture
def broken(tmp_path: Path, scenes: Path) -> Path:
    """The data set with one empty test image."""
    data = tmp_path / "broken"
    shutil.copytree(scenes, data)
    (data / "test" / "checks" / "empty.png").touch()
    return data


def test_fit_as_text(capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path) -> None:
    run = Run(capsys, "fit", scenes, "--out", tmp_path / "m.offshelf")
    assert run.code == 0
    assert "Per class\nclass    images  precision" in run.out
    assert "\naccuracy    " in run.out
    assert " % (95 % interval " in run.out
    assert "\nimages      18 to train, 12 to test, 0 left out; all features " in run.out
    assert re.search(r"\ntime        .*, openvino on cpu, fp32\n", run.out)
    assert "\nfeatures    efficientnet_lite0 penultimate, avg: 1,280 of an image\n" in run.out
    holds = "(holds 3 of your test images for its self-test)"
    assert run.out.endswith(f"\nmodel       {tmp_path / 'm.offshelf'} {holds}\n")


@pytest.mark.slow
def test_a_preprocessing_that_was_asked_for_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path
) -> None:
    out, photos = tmp_path / "m.offshelf", scenes / "test" / "checks"
    words = ("--decode", "reduced", "--grey", "luma", *TORCH)
    text = Run(capsys, "fit", scenes, "--out", out, *words).out
    line = "efficientnet_lite0 penultimate, avg: 1,280 of an image; grey luma, decode reduced\n"
    assert f"\nfeatures    {line}" in text
    line = "input        224 x 224 pixels, squash, bicubic, grey luma, decode reduced; fp32\n"
    assert line in Run(capsys, "show", out).out
    line = f"{out}: efficientnet_lite0 penultimate, avg; grey luma, decode reduced\n"
    assert line in Run(capsys, "evaluate", out, scenes, *TORCH).out
    text = Run(capsys, "extract", photos, "-o", tmp_path / "f.parquet", *words).out
    assert text.count("; grey luma, decode reduced\n") == 1


def test_fit_without_a_file_says_so(capsys: pytest.CaptureFixture[str], scenes: Path) -> None:
    run = Run(capsys, "fit", scenes)
    assert run.out.endswith("model       not kept; --out MODEL.offshelf keeps it\n")


def test_fit_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path) -> None:
    out = tmp_path / "new" / "folder" / "m.offshelf"
    run = Run(capsys, "fit", scenes, "--json", "--out", out, "--samples", "0")
    assert (run.code, run.err) == (0, "")
    fields = "accuracy accuracy_interval balanced_accuracy n_train n_test n_failed classes backbone"
    fields += " layer dimension head C seconds model"
    assert set(fields.split()) <= set(run.document)
    assert run.document["model"] == str(out)
    assert out.is_file()


@pytest.mark.slow
def test_extract_says_how_many_it_computed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path
) -> None:
    end = ("--out", tmp_path / "f.parquet", "--cache-dir", tmp_path / "cache")
    text = Run(capsys, "extract", scenes / "test", *end).out
    assert "images   12, 0 left out; all features computed\n" in text
    assert "images/s from files to features\n" in text
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    first = min((data / "train" / "checks").iterdir())
    shutil.copy(first, first.with_name("zz.png"))
    text = Run(capsys, "extract", data, *end).out
    line = "images   31, 0 left out; features: 12 from the store, 18 computed, 1 is a copy\n"
    assert line in text
    text = Run(capsys, "extract", data, *end).out
    assert "images   31, 0 left out; all features from the store\n" in text
    assert "speed" not in text
    text = Run(capsys, "extract", data, "--rehash", *end).out
    assert "left out; all features from the store; all files were read\n" in text
    for name in ("one", "two"):
        shutil.copytree(scenes / "train" / "checks", tmp_path / "copies" / name)
    fresh = (*end[:2], "--cache-dir", tmp_path / "fresh", *TORCH)
    text = Run(capsys, "extract", tmp_path / "copies", *fresh).out
    assert "images   12, 0 left out; features: 6 computed, 6 are copies\n" in text


@pytest.mark.slow
def test_the_features_file_describes_its_columns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path
) -> None:
    out = tmp_path / "f.parquet"
    run = Run(capsys, "extract", scenes, "-o", out, "--precision", "auto", "--decode", "reduced")
    lines = [" ".join(line.split()) for line in run.out.splitlines()]
    assert "network efficientnet_lite0, openvino on cpu, fp32; decode reduced" in lines
    assert "precision fp32, chosen by auto: with 30 images no other pays" in lines
    assert re.search(r"\ntime  +\d", run.out)
    found = json.loads(pq.read_schema(out).metadata[b"offshelf"])
    assert found["offshelf"] == __version__
    names = "backbone decode engine precision precision_reason"
    assert [found[name] for name in names.split()] == [
        "efficientnet_lite0",
        "reduced",
        "openvino on cpu",
        "fp32",
        "with 30 images no other pays",
    ]
    assert len(found["weights_sha256"]) == 64
    assert found["preprocessing"]["decode"] == "reduced"
    column = found["columns"]["penultimate_avg"]
    assert (column["layer"], column["pooling"], column["dimension"]) == ("penultimate", "avg", 1280)
    assert column["identity"]["engine_version"] == version("openvino")
    assert column["identity"]["decoding"]["version"]


def test_extract_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, broken: Path) -> None:
    out = tmp_path / "f.parquet"
    words = ["-o", out, "--cache-dir", tmp_path / "cache", "--json", "--quiet", *TORCH]
    document = Run(capsys, "extract", broken / "test", *words).document
    fields = "n_ok n_failed failures images_per_second layers out".split()  # noqa: SIM905
    assert set(fields) <= set(document)
    assert (document["n_ok"], document["n_failed"], document["out"]) == (12, 1, str(out))
    (failure,) = document["failures"]
    assert failure["path"].endswith("empty.png")
    assert (failure["status"], failure["reason"]) == ("empty", "the file is empty")
    (layer,) = document["layers"]
    assert (layer["name"], layer["pooling"], layer["dimension"]) == ("penultimate", "avg", 1280)
    assert len(pq.read_table(out)) == 13
    assert document["images_per_second"] > 0
    again = Run(capsys, "extract", broken / "test", *words).document
    assert again["computed"] == 0
    assert (again["images_per_second"], again["profile"]) == (None, None)


def test_extract_as_text(capsys: pytest.CaptureFixture[str], tmp_path: Path, broken: Path) -> None:
    out = tmp_path / "f.parquet"
    words = ["-l", "penultimate", "-l", "stage5", "--pooling", "max", *TORCH]
    run = Run(capsys, "extract", broken / "test" / "checks", "--out", out, *words)
    assert run.code == 0
    assert re.search(r"images   4, 1 left out; .*features", run.out)
    assert "column   penultimate_max: 1,280 float32 of an image\n" in run.out
    assert "column   stage5_max: 112 float32 of an image\n" in run.out
    assert f"file     {out}\nleft out: {broken}/test/checks/empty.png: empty, the file" in run.out
    again = Run(capsys, "extract", broken / "test" / "checks", "--out", out, "--profile", *words)
    assert "images   4, 1 left out; all features from the store\n" in again.out
    no_shares = "processor time: no shares, as no image went through the network\n"
    assert again.out.endswith(no_shares)


def test_extract_writes_to_a_stated_default(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run(capsys, "extract", scenes / "test" / "noise" / "0.png", "--json")
    assert run.document["out"] == "features.parquet"
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


def test_predict_as_text(capsys: pytest.CaptureFixture[str], model: Path, broken: Path) -> None:
    run = Run(capsys, "predict", model, broken / "test" / "checks", "--top", "2")
    header, rule, *rows = run.out.split("\n\n")[0].splitlines()
    assert header.split() == ["image", "label", "probability", "score", "then"]
    assert set(rule) <= {"-", " "}
    assert len(rows) == 4
    assert all(len(row.split()) == 8 for row in rows)
    assert f"left out: {broken}/test/checks/empty.png: empty, the file is empty\n" in run.out
    assert "score: decision value of the svm, no probability\n" in run.out
    assert (
        "believe the probability, not the score; of an image marked as unlike the training images, "
        "neither\n"
    ) in run.out
    assert (
        "probability: of the label, if the image is of one of the classes (temperature scaling, "
        "fitted on training images held out)\n"
    ) in run.out


@pytest.mark.parametrize(
    ("score", "claiming", "label"), [(0.5, True, "cat"), (-0.5, True, "(cat)"), (-9, False, "cat")]
)
def test_a_label_that_no_class_claims_stands_in_brackets(
    score: float, claiming: bool, label: str
) -> None:
    row = Prediction(
        path="a.png",
        status="ok",
        reason="",
        label="cat",
        scores={"cat": score, "dog": score - 1, "owl": score - 2},
    )
    assert cells(row, 2, claiming) == (
        "a.png",
        label,
        f"{score:+.3f}",
        f"dog {score - 1:+.3f}",
    )
    shares = {"cat": 0.9, "dog": 0.08, "owl": 0.02}
    calibrated = dataclasses.replace(row, probabilities=shares)
    assert cells(calibrated, 2, claiming) == (
        "a.png",
        label,
        0.9,
        f"{score:+.3f}",
        "dog 8.00 %",
    )
    strange = dataclasses.replace(calibrated, unknown=True)
    assert cells(strange, 1, claiming)[1] == "unknown (nearest: cat)"


def test_predict_as_csv(capsys: pytest.CaptureFixture[str], model: Path, broken: Path) -> None:
    run = Run(capsys, "predict", model, broken / "test" / "checks", "--csv")
    rows = list(csv.DictReader(io.StringIO(run.out)))
    assert len(rows) == 5
    names = ["path", "status", "reason", "label", "probability", "runner_up"]
    names += ["runner_up_probability", "unlike", "score:checks", "score:noise", "score:stripes"]
    names += ["probability:checks", "probability:noise", "probability:stripes"]
    assert list(rows[0]) == names
    shares = [float(rows[0][name]) for name in names[-3:]]
    assert sum(shares) == pytest.approx(1, abs=1.5e-4)
    bad = next(row for row in rows if row["status"] != "ok")
    assert (bad["label"], bad["score:noise"]) == ("", "")
    assert float(rows[0]["score:checks"]) < 10


def test_predict_as_json(capsys: pytest.CaptureFixture[str], model: Path, broken: Path) -> None:
    document = Run(capsys, "predict", model, broken / "test", "--json").document
    assert (document["n_ok"], document["n_failed"]) == (12, 1)
    assert (document["n_unknown"], document["calibration"]) == (0, "temperature")
    assert [set(row) for row in document["predictions"]] == [
        {"path", "status", "reason", "label", "scores", "probabilities", "unknown", "unlike"}
        | {"most_probable"}
    ] * 13
    assert document["classes"] == ["checks", "noise", "stripes"]
    run = Run(capsys, "predict", model, broken, "--json", "--csv")
    assert (run.code, run.err) == (2, "error: --csv and --json: choose one\n")


def test_evaluate_as_text_and_json(
    capsys: pytest.CaptureFixture[str], model: Path, broken: Path
) -> None:
    text = Run(capsys, "evaluate", model, broken).out
    assert "\nimages    12 (test), 1 left out; " in text
    assert f"\nmodel     {model}: efficientnet_lite0 penultimate, avg\n" in text
    document = Run(capsys, "evaluate", model, broken, "--json", "--split", "all").document
    assert (document["split"], document["n_test"]) == ("all", 30)
    one = Run(capsys, "evaluate", model, broken / "test", "--split", "test")
    assert one.code == 0


def test_classes_without_images_are_not_rows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, scenes: Path
) -> None:
    shutil.copytree(scenes / "test" / "noise", tmp_path / "data" / "noise")
    text = Run(capsys, "evaluate", model, tmp_path / "data").out
    assert "\nstripes " not in text.split("Most confused")[0]
    assert "(2 of the classes have no images here)" in text


@pytest.mark.slow
@pytest.mark.parametrize("command", ["extract", "predict", "classify"])
def test_no_usable_image_is_a_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, command: str
) -> None:
    (tmp_path / "empty.png").touch()
    words = [model] if command == "predict" else []
    end = ["--out", tmp_path / "f.parquet"] if command == "extract" else []
    run = Run(capsys, command, *words, tmp_path / "empty.png", *end, "--quiet")
    assert run.code == 1
    assert "empty.png: empty, " in run.out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "extract", "evaluate", "predict"])
def test_strict_ends_with_1_when_an_image_failed(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    model: Path,
    broken: Path,
    scenes: Path,
    command: str,
) -> None:
    words = [model] if command in ("evaluate", "predict") else []
    end = ["--out", tmp_path / "f.parquet"] if command == "extract" else []
    for data, code in ((broken, 1), (scenes, 0)):
        assert Run(capsys, command, *words, data, *end, "--strict", "--quiet").code == code
    assert Run(capsys, command, *words, broken, *end, "--quiet").code == 0


@pytest.fixture(scope="module")
def untrained(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("model") / "random.offshelf"
    words = ["fit", str(scenes), "--weights", "random", "--out", str(model), *TORCH, "--samples=0"]
    assert main(words) == 0
    return model


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "extract", "evaluate", "predict"])
def test_random_weights_are_marked_in_text_and_json(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    scenes: Path,
    untrained: Path,
    command: str,
) -> None:
    words = {
        "fit": [scenes, "--weights", "random"],
        "extract": [scenes, "--weights", "random", "--out", tmp_path / "f.parquet"],
        "evaluate": [untrained, scenes],
        "predict": [untrained, scenes / "test" / "noise"],
    }[command]
    run = Run(capsys, command, *words, *TORCH)
    assert run.code == 0
    assert "UNTRAINED network (random weights): this says nothing about your images" in run.out
    document = Run(capsys, command, *words, *TORCH, "--json").document
    assert (document["trained_weights"], document["weights_sha256"]) == (False, "random-0")
    note = "note: efficientnet_lite0: random weights; every result is of an UNTRAINED network\n"
    assert note in run.err


def test_notes_go_to_standard_error_and_quiet_drops_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scenes: Path
) -> None:
    shutil.copytree(scenes, tmp_path / "data")
    (tmp_path / "data" / "test" / "noise").rename(tmp_path / "data" / "test" / "Noise")
    loud = Run(capsys, "fit", tmp_path / "data", "--json")
    assert loud.err.startswith("note: ")
    assert "nearly the same name: 'Noise as noise'" in loud.err
    assert loud.document["warnings"]
    assert Run(capsys, "fit", tmp_path / "data", "--json", "--quiet").err == ""


WRONG = [
    ("fit {root}/nowhere", "nowhere: no such file or folder."),
    ("fit {scenes}/test/noise/0.png", "0.png: is one image; DATA is a folder of class folders"),
    ("fit {scenes} -b vgg_16", "no backbone 'vgg_16'. Did you mean 'vgg16'"),
    ("fit {scenes} -l penultimat", "no layer 'penultimat'. Did you mean 'penultimate'?"),
    (
        "fit {scenes} --pooling agv",
        "no pooling 'agv': flatten, avg, max, gem, pyramid. Did you mean 'avg'?",
    ),
    ("fit {scenes} --head smv", "unknown head 'smv': the heads are "),
    (
        "fit {scenes} --normalisation l1",
        "unknown normalisation 'l1': use 'l2', 'none', 'standard' or 'sqrt'",
    ),
    (
        "fit {scenes} --reduction pca",
        "reduction 'pca' needs a whole number of dimensions from 1, as in 'pca:64'",
    ),
    ("fit {scenes} --resize squsah", "no resize mode 'squsah': squash, crop, letterbox."),
    ("fit {scenes} --engine opnvino", "no engine 'opnvino': auto, openvino, torch. Did you mean"),
    ("fit {scenes} --precision fp61", "no precision 'fp61': "),
    ("fit {scenes} --device cuda:99", "; use --device cpu, or leave it out"),
    ("fit {scenes} --weights nope.pth", "nope.pth: no such file, and efficientnet_lite0 has no"),
    ("fit {scenes} --C 0", "C must be a positive finite number or 'auto', got 0.0"),
    ("fit {scenes} --C nan", "C must be a positive finite number or 'auto', got nan"),
    ("fit {scenes}/train --test-size 2", "test_size is a share between 0 and 1 such as 0.02"),
    ("fit {scenes} --out {root}", "is a folder; name a file such as my.offshelf"),
    ("fit {scenes} --out {root}/photo.jpg", "exists and is no model file, so it is not replaced"),
    ("fit {scenes} --out {root}/photo.jpg/m", "photo.jpg/m: cannot be written ("),
    ("extract {scenes} --out {root}/photo.jpg/f", "photo.jpg is no folder)"),
    ("extract {scenes} --out {root}", "is a folder; name a file such as features.parquet"),
    ("extract {scenes} --out {root}/photo.jpg", "exists and is no Parquet file, so it is not"),
    (
        "extract {scenes} --out {root}/f.csv",
        "f.csv: features are written as Parquet; name it {root}/f.parquet",
    ),
    (
        "predict {root}/nope.offshelf {scenes}",
        "nope.offshelf: no such model file; "
        "'offshelf fit DATA --out {root}/nope.offshelf' makes one",
    ),
    ("predict {root}/photo.jpg {scenes}", "photo.jpg: is damaged or no .offshelf model file"),
    (
        "predict {root} {model}",
        "is a folder, not a model file; a .offshelf file comes first, then images",
    ),
    ("predict {model} {root}/nowhere", "nowhere: no such file or folder."),
    ("evaluate {model} {scenes} --split tset", "no split 'tset': test, train, all. Did you mean"),
    ("layers vgg61", "no backbone 'vgg61'. Did you mean 'vgg"),
    ("weights add {root}/x.pth -b vgg16", "x.pth: no such file"),
    ("weights add {root}/photo.jpg -b vgg16", "photo.jpg: neither a safetensors nor a torch"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "text"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_input_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    scenes: Path,
    model: Path,
    line: str,
    text: str,
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    words = [word.format(root=tmp_path, scenes=scenes, model=model) for word in line.split()]
    run = Run(capsys, *words, "--quiet")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: ")
    assert text.replace("{root}", str(tmp_path)) in run.err
    assert run.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    from offshelf.errors import DataError

    for words in (
        ["fit", str(tmp_path / "no"), "--debug"],
        ["--debug", "fit", str(tmp_path / "no")],
    ):
        with pytest.raises(DataError, match="no such file or folder"):
            main(words)


@pytest.mark.slow
def test_predict_needs_no_cache_that_can_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, scenes: Path
) -> None:
    (tmp_path / "file").touch()
    words = ("predict", model, scenes / "test", "--json")
    run = Run(capsys, *words, "--cache-dir", tmp_path / "file" / "cache")
    place = tmp_path / "file" / "cache" / "features"
    text = f"{place}: cannot be written: features are not kept; choose another --cache-dir"
    first = (
        "first run with efficientnet_lite0 and these layers: the network is converted, some seconds"
    )
    assert (run.code, run.err) == (0, f"note: {first}, once\nnote: {text}\n")
    assert run.document["predictions"] == Run(capsys, *words).document["predictions"]


def test_an_unexpected_error_of_the_system_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(24, "Too many open files", "somewhere")

    monkeypatch.setattr("offshelf.jobs.catalogue.backbone_rows", fail)
    run = Run(capsys, "backbones")
    assert (run.code, run.err) == (2, "error: somewhere: Too many open files\n")


@pytest.mark.slow
def test_an_interruption_keeps_what_was_done(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Impatient(Silent):
        def advance(self, *_: int) -> None:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def impatient(quiet: bool) -> Iterator[Silent]:
        yield Impatient()

    words = ["extract", scenes, "--out", tmp_path / "f.parquet", "--layer", "stage5", *TORCH]
    with monkeypatch.context() as patch:
        patch.setattr(console, "progress", impatient)
        run = Run(capsys, *words)
    text = "interrupted: what was finished until now is kept; run the same command to go on\n"
    assert (run.code, run.out, run.err) == (130, "", text)
    assert list(tmp_path.iterdir()) == []
    document = Run(capsys, *words, "--json").document
    assert 0 < document["computed"] < document["n_ok"] == 30


def test_backbones(capsys: pytest.CaptureFixture[str]) -> None:
    text = Run(capsys, "backbones").out
    assert "efficientnet_lite0     4,652,008" in text
    assert "no: download" in text
    rows = Run(capsys, "backbones", "--available", "--json").document["backbones"]
    assert rows[0]["name"] == "efficientnet_lite0"
    assert all(row["available"] and Path(row["path"]).is_file() for row in rows)
    assert {"licence", "parameters", "input_size", "where", "weights", "bytes"} <= set(rows[0])


def test_layers(capsys: pytest.CaptureFixture[str]) -> None:
    text = Run(capsys, "layers", "vgg16").out
    assert "pool5        features.30" in text
    rows = Run(capsys, "layers", "vgg16", "--json").document["layers"]
    pool5 = next(row for row in rows if row["name"] == "pool5")
    assert (pool5["shape"], pool5["pooled_dimension"]) == ([512, 7, 7], 512)
    every = Run(capsys, "layers", "alexnet", "--all", "--json").document["layers"]
    assert len(every) > 20


def test_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cache = ("--cache-dir", tmp_path)
    rows = Run(capsys, "weights", "list", "--json", *cache).document["weights"]
    file = next(row["path"] for row in rows if row["name"] == "efficientnet_lite0")
    text = Run(capsys, "weights", "list", *cache).out
    assert file in text
    added = Run(capsys, "weights", "add", file, "-b", "efficientnet_lite0", "--json", *cache)
    assert added.document["origin"] == "weights folder"
    assert Path(added.document["path"]).is_relative_to(tmp_path)
    fetched = Run(capsys, "weights", "fetch", "efficientnet_lite0", *cache)
    assert fetched.code == 0
    assert f"weights folder: {tmp_path}" in fetched.out


def test_weights_of_another_network_are_not_added(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    strange, halved = tmp_path / "strange.safetensors", tmp_path / "halved.safetensors"
    save_file({"nothing.weight": torch.zeros(2)}, strange)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, halved)
    add, end = ("weights", "add"), ("-b", "vgg16", "--unverified", "--cache-dir", tmp_path / "c")
    run = Run(capsys, *add, strange, *end)
    text = "does not fit its backbone: it covers no layer of vgg16; give the file to the backbone"
    assert (run.code, text in run.err) == (2, True)
    run = Run(capsys, *add, halved, *end)
    text = "does not fit its backbone; tensors missing: features.0.bias, features.10.bias"
    assert (run.code, text in run.err) == (2, True)
    assert not (tmp_path / "c").exists()


def test_doctor_looks_at_what_is_named_as_cache(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    run = Run(capsys, "doctor", "--cache-dir", tmp_path / "file")
    text = f"{tmp_path / 'file'}: is a file, no folder; choose another with --cache-dir"
    assert (run.code, text in run.out) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "no-data", "--out", "m.offshelf"),
        ("extract", "no-data"),
        ("evaluate", "no.offshelf", "no-data"),
        ("compare", "no-data"),
        ("audit", "no-data"),
        ("maps", "no.png", "--layer", "conv1"),
        ("show", "no.offshelf"),
        ("backbones",),
        ("weights", "list"),
        ("doctor", "--clean"),
    ],
)
def test_a_cache_that_cannot_be_made_is_found_out_first(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.delenv("OFFSHELF_CACHE_DIR")
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for given, why in (("file", ""), ("file/c", "cannot be made: file ")):
        run = Run(capsys, *words, "--cache-dir", given)
        line = f"error: {given}: {why}is a file, no folder; choose another with --cache-dir\n"
        assert (run.code, run.out, run.err) == (2, "", line)


def test_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = Run(capsys, "doctor", "--cache-dir", tmp_path)
    assert (text.code, "PROBLEM" in text.out) == (0, False)
    assert "\nok  default weights" in text.out
    document = Run(capsys, "doctor", "--json", "--cache-dir", tmp_path).document
    assert document["ok"] is True
    assert {"offshelf", "python", "torch"} <= set(document["versions"])


def test_doctor_says_how_it_convolves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.registers.cache_clear()
    monkeypatch.setenv(processor.WINOGRAD_SWITCH, "0")
    checks = {row["name"]: row for row in Run(capsys, "doctor", "--json").document["checks"]}
    kernel.registers.cache_clear()
    said = checks["convolutions"]
    assert said["ok"]
    assert said["detail"] == "direct (OFFSHELF_WINOGRAD=0)"


def test_doctor_says_how_convolutions_multiply(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "registers", lambda: Registers(8, (6, 4, 2), dot=True))
    monkeypatch.setattr(kernel, "has_fast_bf16", lambda: True)
    monkeypatch.setattr(kernel, "has_fast_int8", lambda: True)
    checks = {row["name"]: row for row in Run(capsys, "doctor", "--json").document["checks"]}
    expected = (
        "VGG, ResNet-18 and -34 need a quarter of the multiplications in fp32 and bf16 "
        "(Winograd, 8 at a time); int8 of VGG: 2.25 times fewer"
    )
    assert checks["convolutions"]["detail"] == expected


@pytest.mark.parametrize(
    ("flags", "asked", "text"),
    [
        ("avx2 avx512_vnni avx512_bf16", "", "fp32; bf16 native; int8 fast (VNNI)"),
        ("avx512_vnni amx_int8 amx_bf16", "", "fp32; bf16 native; int8 fast (AMX)"),
        ("avx512_vnni", "", "fp32; bf16 emulated, so refused; int8 fast (VNNI)"),
        (
            "avx2 avx512_vnni avx512_bf16",
            "AVX2",
            "fp32; bf16 emulated, so refused; int8 with weights of 7 bits (no VNNI), slower than "
            "fp32 for VGG",
        ),
    ],
)
def test_doctor_says_which_precisions_are_fast(
    monkeypatch: pytest.MonkeyPatch, flags: str, asked: str, text: str
) -> None:
    monkeypatch.setattr(processor, "cpu_flags", lambda: frozenset(flags.split()))
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(int8_winograd, "registers", lambda: Registers(8, (6, 4, 2), dot=False))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", asked)
    assert doctor._precision() == text


def test_doctor_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise ImportError("no module\nof that name")

    monkeypatch.setattr("offshelf.jobs.doctor._torch", fail)
    run = Run(capsys, "doctor")
    assert run.code == 1
    assert "PROBLEM  torch            no module of that name\n" in run.out
