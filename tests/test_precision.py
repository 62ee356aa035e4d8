"""int8: calibrated on training images, kept in the model file, close to fp32."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from made_models import with_network
from offshelf import opened_model
from offshelf.data.tables.image_table import read_table
from offshelf.engine.contract import Calibration, EngineOptions
from offshelf.engine.openvino_engine import cpu_engine
from offshelf.engine.openvino_engine.int8 import quantised
from offshelf.engine.processor import computes_bfloat16
from offshelf.engine.selection import platform_of
from offshelf.engine.torch_engine import reference
from offshelf.errors import EngineError
from offshelf.features.feature_kind import feature_kinds
from offshelf.jobs.fit.job import fit
from offshelf.jobs.predict import predict
from offshelf.jobs.setup import precision, precision_trial
from offshelf.jobs.setup.precision import calibration
from offshelf.jobs.setup.precision_trial import PrecisionTrial
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for
from offshelf.jobs.setup.workload import Work
from offshelf.model_file.model import Model, load_model, save_model
from offshelf.opened_model import engine_of, open_model
from offshelf.progress import Silent


@pytest.fixture(scope="module")
def fitted(scenes: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("int8") / "small.offshelf"
    run = RunSettings(engine=EngineOptions(precision="int8"))
    return fit(scenes, out, run=run), out


@pytest.mark.slow
def test_int8_features_are_close_to_fp32(fitted, scenes: Path) -> None:
    result, _ = fitted
    plain = fit(scenes)
    rows = range(len(plain.table))
    small = result.extraction.matrix(result.model.kind, rows)
    exact = plain.extraction.matrix(plain.model.kind, rows)
    cosine = (small * exact).sum(1) / np.linalg.norm(small, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.mean() > 0.95
    assert not (small == exact).all()
    assert result.extraction.precision.startswith("int8-")
    assert result.evaluation.accuracy >= plain.evaluation.accuracy - 0.1


@pytest.mark.slow
def test_the_model_brings_its_own_network(fitted, scenes: Path, tmp_path: Path) -> None:
    result, out = fitted
    model = load_model(out)
    assert model.backbone.precision == "int8"
    path = str(sorted((scenes / "test").rglob("*.png"))[0])
    # Another cache: nothing calibrated is there, and the training images are not asked for.
    away = RunSettings(engine=EngineOptions(cache_dir=tmp_path))
    here, there = predict(out, [path]), predict(out, [path], run=away)
    assert here.predictions[0].scores == there.predictions[0].scores
    row = result.table.paths.index(path)
    assert here.predictions[0].label in result.model.classes
    assert result.extraction.rows[row].status == "ok"


def test_the_sample_is_of_training_images_and_decides_the_key(scenes: Path) -> None:
    table = read_table(scenes)
    backbone = backbone_for(FeatureSettings(), RunSettings(), Silent())
    one = calibration(table, backbone, RunSettings())
    assert one.digest == calibration(table, backbone, RunSettings()).digest
    train = table.rows("train")
    fewer = dataclasses.replace(
        table,
        paths=table.paths[1:],
        labels=table.labels[1:],
        splits=table.splits[1:],
    )
    assert calibration(fewer, backbone, RunSettings()).digest != one.digest
    assert one.pixels is not None
    assert len(one.pixels()) == len(train)
    told = Silent()
    said = calibration(table, backbone, RunSettings(), told)
    assert (told.notes, said.digest) == ([], one.digest)
    assert said.pixels is not None
    assert (said.pixels() == one.pixels()).all()
    text = (
        "int8: measuring the ranges of efficientnet_lite0 on 18 images, once; it takes some "
        "ten seconds, of large networks more"
    )
    assert told.notes == [text]
    key = EngineOptions(precision="int8", calibration=one).precision_key
    assert key == f"int8-{one.digest[:32]}"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"precision": "int8", "engine": "torch"}, "engine torch has no precision 'int8'"),
        ({"precision": "int4"}, "no precision 'int4': fp32, bf16, fp16, int8."),
        ({"precision": "fp16", "device": "cpu"}, "precision fp16 needs a CUDA or Apple device"),
        ({"precision": "bf16", "engine": "torch", "device": "cpu"}, "slower than fp32 on a cpu"),
    ],
)
def test_precisions_that_cannot_be_had(options: dict, text: str, scenes: Path) -> None:
    with pytest.raises(EngineError, match=text):
        fit(scenes, run=RunSettings(engine=EngineOptions(**options)))


def test_bf16_is_refused_where_it_is_emulated(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_engine, "computes_bfloat16", lambda: False)
    text = "precision bf16 is emulated on this processor and slower than fp32: use int8 or fp32"
    with pytest.raises(EngineError, match=text):
        fit(scenes, run=RunSettings(engine=EngineOptions(precision="bf16", engine="openvino")))


@pytest.mark.slow
@pytest.mark.skipif(not computes_bfloat16(), reason="this processor emulates bfloat16")
def test_a_model_of_bf16_predicts_here_and_where_it_cannot(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model.offshelf"
    run = RunSettings(engine=EngineOptions(precision="bf16", engine="openvino"))
    fitted = fit(scenes, target, run=run)
    assert fitted.extraction.precision == "bf16"
    engine = EngineOptions(engine="openvino")
    assert engine_of(load_model(target).backbone, engine).precision == "bf16"
    image = sorted(scenes.rglob("*.png"))[0]
    here = predict(target, [image]).predictions[0]
    monkeypatch.setattr("offshelf.opened_model.computes_bfloat16", lambda: False)
    assert engine_of(load_model(target).backbone, engine).precision == "fp32"
    there = predict(target, [image]).predictions[0]
    assert here.scores != there.scores
    for name, score in here.scores.items():
        assert there.scores[name] == pytest.approx(score, abs=0.05)


def pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every precision pay, so that its features decide."""
    monkeypatch.setattr(precision, "FEW", 0)
    work = Work(exact=10**6, faster=10**6, rate=100.0, gain=(2.0, 2.0))
    monkeypatch.setattr(precision, "workload", lambda *_: work)
    monkeypatch.setattr(precision, "still_good", lambda *_: None)
    monkeypatch.setattr(precision, "keep_decision", lambda *_: None)


@pytest.mark.slow
def test_auto_compares_nothing_where_all_is_stored(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = precision.still_good, precision.keep_decision
    pays(monkeypatch)
    monkeypatch.setattr(precision, "still_good", kept[0])
    monkeypatch.setattr(precision, "keep_decision", kept[1])
    monkeypatch.setattr(PrecisionTrial, "accepted", True)
    run = RunSettings(engine=EngineOptions(precision="auto", cache_dir=tmp_path))

    def auto(run: RunSettings) -> tuple[str, list[str]]:
        notes = Silent()
        result = fit(scenes, run=run, progress=notes)
        said = [note for note in notes.notes if note.startswith(("precision", str(tmp_path)))]
        return result.extraction.precision, said

    first = auto(run)
    compared = precision.compared
    monkeypatch.setattr(precision, "compared", None)
    assert auto(run) == first
    (path,) = tmp_path.rglob("decision-*.json")
    # Another seed draws another sample, and a damaged decision is made again.
    monkeypatch.setattr(precision, "compared", compared)
    assert len(auto(dataclasses.replace(run, seed=1))[1]) == 1
    assert len(list(tmp_path.rglob("decision-*.json"))) == 2
    path.write_text(path.read_text().replace("takes int8", "takes fp32"))
    again = auto(run)
    assert again == (first[0], [f"{path}: damaged, set aside; it is made again", *first[1]])
    # Features that are gone are worth a new look.
    shutil.rmtree(tmp_path / "features")
    monkeypatch.setattr(precision, "compared", None)
    with pytest.raises(TypeError):
        auto(run)


@pytest.mark.slow
def test_auto_says_what_it_decided(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pays(monkeypatch)
    notes = Silent()
    result = fit(scenes, run=RunSettings(engine=EngineOptions(precision="auto")), progress=notes)
    said = [note for note in notes.notes if note.startswith("precision auto takes")]
    assert len(said) == 1
    taken = said[0].removeprefix("precision auto takes ").split(":")[0]
    assert result.extraction.precision.startswith(taken)


@pytest.mark.slow
def test_auto_has_nothing_to_compare_with_torch_on_a_cpu(scenes: Path) -> None:
    notes = Silent()
    run = RunSettings(engine=EngineOptions(precision="auto", engine="torch"))
    result = fit(scenes, run=run, progress=notes)
    assert "precision auto takes fp32: engine torch has nothing faster on a cpu" in notes.notes
    assert result.extraction.precision == "fp32"


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_auto_compares_the_half_precision_of_a_card(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    own, seen = precision_trial.extract, []

    def extract(paths, backbone, kinds, options, *others):
        seen.append(options.precision)
        return own(paths, backbone, kinds, EngineOptions(), *others)

    monkeypatch.setattr(precision, "choose", lambda _: ("torch", "cuda"))
    monkeypatch.setattr(reference, "half_of", lambda _: half)
    monkeypatch.setattr(precision_trial, "extract", extract)
    notes, run = Silent(), RunSettings(engine=EngineOptions(precision="auto", images=30))
    backbone = backbone_for(FeatureSettings(), run, notes)
    kind = feature_kinds(backbone, ["penultimate"], ["avg"])[0]
    options = precision.resolve_precision(read_table(scenes), backbone, [kind], run, notes)
    assert (seen, options.precision, options.images) == (["fp32", half], half, 30)
    assert options.calibration is None
    assert notes.notes[-1].startswith(f"precision auto takes {half}: on 18 training images ")


@pytest.mark.parametrize(("capability", "half"), [((7, 5), "fp16"), ((9, 0), "bf16")])
def test_bf16_is_native_on_newer_cards_only(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], half: str
) -> None:
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert reference.half_of("cuda:0") == half
    monkeypatch.setattr(opened_model, "choose", lambda _: ("torch", "cuda"))
    for trained in ("bf16", "fp16"):
        network = SimpleNamespace(precision=trained, calibrated=None)
        expected = "fp32" if (trained, half) == ("bf16", "fp16") else trained
        assert engine_of(network, EngineOptions()).precision == expected


def test_bf16_is_refused_on_a_card_that_emulates_it(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = backbone_for(FeatureSettings(), RunSettings(), Silent())
    monkeypatch.setattr(reference, "_device", lambda _: torch.device("cpu"))
    monkeypatch.setattr(reference, "half_of", lambda _: "fp16")
    with pytest.raises(EngineError, match="bf16 is emulated on this cuda device: use fp16"):
        reference.TorchEngine(backbone, (), EngineOptions(precision="bf16"), "cuda")


@pytest.mark.slow
@pytest.mark.parametrize(("native", "taken"), [(True, "bf16"), (False, "fp32")])
def test_auto_goes_on_to_the_next_precision(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, native: bool, taken: str
) -> None:
    if native and not computes_bfloat16():
        pytest.skip("this processor emulates bfloat16")
    pays(monkeypatch)
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: native)
    accepted = property(lambda trial: trial.precision != "int8")
    monkeypatch.setattr(PrecisionTrial, "accepted", accepted)
    notes = Silent()
    result = fit(scenes, run=RunSettings(engine=EngineOptions(precision="auto")), progress=notes)
    said = [note for note in notes.notes if note.startswith("precision auto")]
    assert said[0].startswith("precision auto does not take int8: on ")
    assert said[1].startswith(f"precision auto takes {taken}")
    assert result.extraction.precision == taken


@pytest.mark.parametrize(
    ("cosine", "fp32", "int8", "accepted"),
    [(0.99, 0.9, 0.9, True), (0.96, 0.9, 0.9, False), (0.99, 0.9, 0.88, False)],
)
def test_the_bounds_of_auto(cosine: float, fp32: float, int8: float, accepted: bool) -> None:
    trial = PrecisionTrial(precision="int8", cosine=cosine, fp32=fp32, accuracy=int8, images=100)
    assert trial.accepted is accepted
    verb = "takes" if accepted else "does not take"
    assert trial.sentence() == (
        f"precision auto {verb} int8: on 100 training images its features have cosine "
        f"{cosine:.3f} to fp32 (bound 0.97) and {100 * int8:.1f} % cross-validated accuracy "
        "against 90.0 % (bound 1 % less)"
    )


def test_on_few_images_none_may_be_lost() -> None:
    """One of 48 is more than one point."""
    lost = PrecisionTrial(precision="int8", cosine=0.99, fp32=10 / 48, accuracy=9 / 48, images=48)
    assert not lost.accepted
    assert lost.sentence().endswith("(bound 1 % less)")


def test_an_installation_without_nncf_is_told_what_it_lacks(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    backbone = backbone_for(FeatureSettings(), RunSettings(), Silent())
    sample = Calibration("", lambda: np.zeros((1, 224, 224, 3), np.uint8))
    options = EngineOptions(precision="int8", calibration=sample)
    with pytest.raises(EngineError, match=r"is missing here: pip install nncf$"):
        quantised(backbone, options, lambda: pytest.fail("a graph was made in vain"))


@pytest.mark.slow
def test_a_model_knows_where_it_was_made(
    fitted, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = fitted
    loaded = load_model(out)
    assert (
        loaded.backbone.platform == result.model.backbone.platform == platform_of(EngineOptions())
    )
    assert load_model(fit(scenes, tmp_path / "exact.offshelf").path).backbone.platform == ""
    told: list[bool] = []

    def tested(model: Model, _: object, options: EngineOptions, __: str) -> float:
        told.append(opened_model.other_platform(model.backbone, options))
        return 0.0

    monkeypatch.setattr(opened_model, "self_test", tested)
    open_model(out)
    old = dataclasses.replace(loaded.backbone, platform="")
    before = save_model(with_network(loaded, old), tmp_path / "old.offshelf")
    open_model(before)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    open_model(out)
    assert told == [False, True, True]


ELSEWHERE = """
import json, sys
from pathlib import Path
from offshelf.jobs.predict import predict
from offshelf.jobs.setup.settings import RunSettings
from offshelf.progress import Silent
model, folder = sys.argv[1:]
told = Silent()
found = predict(model, [folder], progress=told).predictions
print(json.dumps([[row.label for row in found], told.notes]))
"""


def labels_elsewhere(model: Path, folder: Path, cache: Path) -> tuple[list[str], list[str]]:
    """Return labels and notes where the processor has AVX2 and nothing newer."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(model), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OFFSHELF_CACHE_DIR": str(cache)},
    )
    labels, notes = json.loads(done.stdout.splitlines()[-1])
    return labels, notes


@pytest.mark.slow
def test_an_int8_model_opens_on_a_processor_without_vnni(
    fitted, scenes: Path, tmp_path: Path
) -> None:
    _, out = fitted
    here = [row.label for row in predict(out, [scenes / "test"]).predictions]
    there, notes = labels_elsewhere(out, scenes / "test", tmp_path)
    same = sum(a == b for a, b in zip(here, there, strict=True)) / len(here)
    assert same >= 0.8
    assert all("int8 on another kind of processor: scores of its own" in note for note in notes)


@pytest.mark.slow
@pytest.mark.skipif(not computes_bfloat16(), reason="this processor emulates bfloat16")
def test_a_bf16_model_opens_on_a_processor_without_it(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "half.offshelf"
    fit(scenes, out, run=RunSettings(engine=EngineOptions(precision="bf16")))
    here = [row.label for row in predict(out, [scenes / "test"]).predictions]
    there, notes = labels_elsewhere(out, scenes / "test", tmp_path / "cache")
    same = sum(a == b for a, b in zip(here, there, strict=True)) / len(here)
    assert same >= 0.9
    notes = [note for note in notes if "the network is converted, some seconds, once" not in note]
    assert all("bf16 on another kind of processor: scores of its own" in note for note in notes)
