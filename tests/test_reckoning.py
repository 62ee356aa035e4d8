"""Precision auto: what is left is reckoned before anything is calibrated."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path

import numpy as np
import pytest

from offshelf.data.tables.image_table import list_images, read_table
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_engine import cpu_engine, int8_winograd, speed_records
from offshelf.engine.openvino_engine.graph_cache import graph_folder
from offshelf.engine.openvino_engine.speed_records import (
    Rates,
    expected_gain,
    known_rates,
    measured_rates,
    remember,
)
from offshelf.engine.openvino_engine.streams import default_plan
from offshelf.engine.selection import open_engine
from offshelf.errors import EngineError
from offshelf.features.extraction import extract
from offshelf.features.feature_kind import feature_kinds
from offshelf.jobs.fit.job import fit
from offshelf.jobs.setup import precision, precision_trial, workload
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for
from offshelf.jobs.setup.workload import FOLDS, MAX_SAMPLE, MIN_SAMPLE, Work
from offshelf.progress import Silent


@pytest.mark.parametrize(
    ("images", "rate", "gain", "calibration", "verdict"),
    [
        # Known on both sides.
        (1_000, 200, (2.0, 2.0), 6, "fp32"),
        (4_500, 200, (2.0, 2.0), 6, "faster"),
        (1_000, 20, (1.9, 1.9), 8, "faster"),
        (100_000, 200, (1.0, 1.0), 6, "fp32"),
        (100_000, 200, (0.8, 0.8), 0, "fp32"),
        (1_000, 200, (1.05, 1.05), 0, "fp32"),
        (1_000, 200, (2.0, 2.0), 0, "faster"),
        # Never measured: at least, at most.
        (1_000, 200, (1.6, 3.5), 6, "fp32"),
        (2_500, 200, (1.6, 3.5), 6, "measure"),
        (20_000, 200, (1.6, 3.5), 6, "faster"),
        (20_000, 200, (0.6, 2.6), 6, "measure"),
        (1_000_000, 20, (0.5, 1.0), 6, "fp32"),
        # The most that can be saved is less than a measurement takes.
        (1_000, 200, (0.6, 2.6), 1.5, "fp32"),
    ],
)
def test_the_verdict(
    images: int, rate: float, gain: tuple[float, float], calibration: float, verdict: str
) -> None:
    work = Work(exact=images, faster=images, rate=rate, gain=gain, calibration=calibration)
    assert work.verdict() == verdict


@pytest.mark.parametrize(
    ("exact", "faster", "verdict"),
    [(0, 5_000, "fp32"), (0, 0, "fp32"), (5_000, 0, "faster"), (100, 5_000, "fp32")],
)
def test_what_is_stored_is_no_work(exact: int, faster: int, verdict: str) -> None:
    work = Work(exact=exact, faster=faster, rate=100.0, gain=(2.0, 2.0), calibration=5.0)
    assert work.verdict() == verdict


def test_photographs_take_their_time_in_any_precision() -> None:
    work = Work(exact=10_000, faster=10_000, rate=200.0, gain=(2.0, 2.0), calibration=15.0)
    assert work.verdict() == "faster"
    assert dataclasses.replace(work, decoding=0.1).verdict() == "fp32"


def test_the_choice_is_within_a_tenth_of_the_better_where_rates_are_known() -> None:
    for images in range(0, 40_000, 500):
        for gain in (0.7, 1.0, 1.3, 2.0, 3.0):
            work = Work(exact=images, faster=images, rate=150.0, gain=(gain, gain), calibration=6.0)
            exact, other = work.exact_seconds, work.faster_seconds(gain)
            taken = {"fp32": exact, "faster": other}[work.verdict()]
            assert taken <= 1.1 * min(exact, other) + 1e-9


def test_the_sample_is_a_small_share_of_the_work() -> None:
    few = Work(exact=1_000, faster=1_000, rate=200.0, gain=(2.0, 2.0))
    many = dataclasses.replace(few, exact=10**6, faster=10**6)
    some = dataclasses.replace(few, exact=20_000, faster=20_000)
    assert (few.sample, some.sample, many.sample) == (MIN_SAMPLE, 300, MAX_SAMPLE)
    assert MIN_SAMPLE % FOLDS == 0


def test_the_reason_on_one_line() -> None:
    work = Work(exact=1_000, faster=1_000, rate=200.0, gain=(1.6, 4.0), calibration=6.0)
    assert work.sentence("int8") == (
        "precision auto takes fp32: what is left takes about 5 s, and int8 would take 7 s at best"
    )
    stored = dataclasses.replace(work, exact=0)
    assert stored.sentence("int8") == (
        "precision auto takes fp32: the features of all images are stored"
    )


@pytest.mark.parametrize(
    ("architecture", "made", "exact", "compiled", "gain"),
    [
        ("vgg16", "winograd", True, True, (1.5, 2.3)),
        ("vgg16", "nncf", False, True, (0.5, 1.0)),
        # Without compiled convolutions fp32 is direct.
        ("vgg16", "nncf", False, None, (0.6, 2.6)),
        ("resnet50", "nncf", True, True, (1.6, 3.5)),
        ("resnet50", "nncf", False, True, (0.6, 2.6)),
        ("vit_b_16", "nncf", True, True, (1.2, 3.0)),
    ],
)
def test_what_int8_can_be_before_it_was_measured(
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    made: str,
    exact: bool,
    compiled: bool | None,
    gain: tuple[float, float],
) -> None:
    monkeypatch.setattr(speed_records, "int8_method", lambda _: made)
    monkeypatch.setattr(speed_records, "adds_bytes_exactly", lambda: exact)
    monkeypatch.setattr(int8_winograd, "adds_bytes_exactly", lambda: exact)
    monkeypatch.setattr(int8_winograd, "registers", lambda: compiled)
    assert expected_gain(architecture) == gain


@pytest.fixture
def lite(tmp_path: Path):
    """A backbone, its features and options with a cache of their own."""
    options = EngineOptions(cache_dir=tmp_path / "cache")
    backbone = backbone_for(FeatureSettings(), RunSettings(), Silent())
    kinds = feature_kinds(backbone)
    return backbone, kinds, options


@pytest.mark.slow
def test_rates_are_measured_once_and_kept(lite, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, kinds, options = lite
    taps = (kinds[0].tap,)
    assert known_rates(backbone, taps, options) == Rates()
    speeds = iter([11.0, 26.0])
    monkeypatch.setattr(speed_records, "unloaded_speed", lambda *_: next(speeds))
    found = measured_rates(backbone, taps, options, precisions=("fp32", "int8"))
    assert found == Rates(fp32=11.0, int8=26.0) == known_rates(backbone, taps, options)
    remember(backbone, taps, options, {"calibration": 7.0})
    both = Rates(fp32=11.0, int8=26.0, calibration=7.0)
    assert known_rates(backbone, taps, options) == both
    assert both.gain("int8") == pytest.approx(26 / 11)
    assert both.gain("bf16") is None
    # Another kind of processor, and other threads, have rates of their own.
    other = dataclasses.replace(options, threads=1)
    assert known_rates(backbone, taps, other) == Rates()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert known_rates(backbone, taps, options) == Rates()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    (kept,) = graph_folder(backbone, taps, options).glob("rates-*.json")
    kept.write_text(kept.read_text().replace("26.0", "96.0"))
    assert known_rates(backbone, taps, options) == Rates()
    assert not kept.exists()


@pytest.mark.parametrize(("got", "rate"), [(2.0, 40.0), (1.0, 80.0), (0.5, 160.0), (3.0, 40.0)])
def test_other_work_on_the_machine_changes_no_rate(
    monkeypatch: pytest.MonkeyPatch, got: float, rate: float
) -> None:
    # One second passes, in which two threads get so many seconds of processors.
    wall, used = iter([0.0, 1.0]), iter([0.0, got])
    monkeypatch.setattr(speed_records, "speed", lambda *_: 40.0)
    monkeypatch.setattr(speed_records.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(speed_records.time, "process_time", lambda: next(used))
    assert speed_records.unloaded_speed(None, default_plan(2)) == pytest.approx(rate)


@pytest.mark.slow
def test_rates_that_no_measurement_gives_are_set_aside(lite) -> None:
    backbone, kinds, options = lite
    taps = (kinds[0].tap,)
    measured_rates(backbone, taps, options)
    remember(backbone, taps, options, {"int8": -1.0})
    assert known_rates(backbone, taps, options) == Rates()


@pytest.mark.slow
def test_what_the_store_holds_is_not_left(lite, scenes: Path) -> None:
    backbone, kinds, options = lite
    table, run = read_table(scenes), RunSettings()
    assert workload.images_left(table, backbone, kinds, options, run) == len(table)
    extract(table.paths[:10], backbone, kinds, options)
    held = len(set(map(Path.read_bytes, map(Path, table.paths[:10]))))
    left = workload.images_left(table, backbone, kinds, options, run)
    assert 0 < left <= len(table) - held
    extract(table.paths, backbone, kinds, options)
    assert workload.images_left(table, backbone, kinds, options, run) == 0


@pytest.mark.slow
def test_auto_calibrates_nothing_for_few_images(scenes: Path, tmp_path: Path) -> None:
    notes = Silent()
    engine = EngineOptions(precision="auto", cache_dir=tmp_path)
    result = fit(scenes, run=RunSettings(engine=engine), progress=notes)
    images = len(result.table)
    said = f"precision auto takes fp32: with {images} images no other pays"
    assert said in notes.notes
    assert result.extraction.precision == "fp32"
    assert not any(note.startswith("int8: measuring") for note in notes.notes)


@pytest.mark.slow
def test_auto_measures_fp32_and_no_more_where_nothing_can_be_gained(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "FEW", 0)
    monkeypatch.setattr(speed_records, "uncalibrated", None)
    notes = Silent()
    run = RunSettings(engine=EngineOptions(precision="auto", cache_dir=tmp_path))
    result = fit(scenes, run=run, progress=notes)
    assert result.extraction.precision == "fp32"
    assert any("precision auto takes fp32: what is left takes about" in n for n in notes.notes)
    again = Silent()
    fit(scenes, run=run, progress=again)
    stored = "precision auto takes fp32: the features of all images are stored"
    assert stored in again.notes


def test_int8_that_does_not_pay_once_measured_is_not_taken(
    lite, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, kinds, options = lite
    slow = Rates(fp32=100.0, int8=80.0)
    asked = []

    def measured(*_, precisions=("fp32",), **__):
        asked.append(precisions)
        return Rates(fp32=100.0) if precisions == ("fp32",) else slow

    monkeypatch.setattr(workload, "measured_rates", measured)
    monkeypatch.setattr(workload, "images_left", lambda *_: 50_000)
    monkeypatch.setattr(workload, "expected_gain", lambda _: (0.6, 2.6))
    table, run = read_table(scenes), RunSettings(engine=options)
    faster = dataclasses.replace(
        options, precision="int8", calibration=precision.calibration(table, backbone, run)
    )
    work = workload.workload(table, backbone, kinds, run, faster)
    assert asked == [("fp32",), ("fp32", "int8")]
    assert work.verdict() == "fp32"
    assert work.gain == (0.8, 0.8)


@pytest.mark.parametrize(("known", "timed"), [({}, ("fp32", "int8")), ({"fp32": 9.0}, ("int8",))])
def test_calibrated_int8_is_timed_beside_an_fp32_that_was_not(
    lite, monkeypatch: pytest.MonkeyPatch, known: dict[str, float], timed: tuple[str, ...]
) -> None:
    backbone, kinds, options = lite
    monkeypatch.setattr(workload, "load_graph", lambda *_: None)
    monkeypatch.setattr(workload, "known_rates", lambda *_: Rates(**known))
    monkeypatch.setattr(workload, "remember", lambda *_: None)
    asked = []
    monkeypatch.setattr(
        workload, "measured_rates", lambda *_, precisions, **__: asked.append(precisions) or Rates()
    )
    workload.slower_than_fp32(backbone, kinds, options)
    assert asked == [timed]


@pytest.mark.slow
def test_int8_says_where_it_is_slower(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunSettings(engine=EngineOptions(precision="int8", cache_dir=tmp_path))
    slower, faster = Rates(fp32=20.0, int8=15.04), Rates(fp32=20.0, int8=45.0)
    said = {}
    for name, known in (("slower", slower), ("faster", faster)):
        monkeypatch.setattr(workload, "known_rates", lambda *_, known=known: known)
        notes = Silent()
        fit(scenes, run=run, progress=notes)
        said[name] = [note for note in notes.notes if note.startswith("precision int8")]
    assert said["faster"] == []
    assert said["slower"] == [
        "precision int8 is slower than fp32 with efficientnet_lite0 on this processor: "
        "15.0 against 20.0 images/s; use fp32"
    ]


WITHOUT_VNNI = "precision int8 is slower than fp32 with vgg11 on a processor without VNNI; use fp32"


@pytest.mark.parametrize("known", [Rates(), Rates(fp32=20.0, int8=25.0)])
def test_int8_of_vgg_says_so_before_it_is_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: Rates
) -> None:
    monkeypatch.setattr(workload, "is_slower_in_int8", lambda _: True)
    monkeypatch.setattr(workload, "known_rates", lambda *_: known)
    monkeypatch.setattr(workload, "_calibrated_rates", None)
    settings = FeatureSettings("vgg11", weights="random")
    backbone = backbone_for(settings, RunSettings(), Silent())
    options = EngineOptions(precision="int8", cache_dir=tmp_path)
    kinds = feature_kinds(backbone, ["pool5"])
    assert workload.slower_than_fp32(backbone, kinds, options) == WITHOUT_VNNI


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        ("bf16", "precision bf16 is emulated on this processor and slower than fp32: use fp32"),
        ("fp16", "precision fp16 needs a CUDA or Apple device; use fp32 on a cpu"),
    ],
)
def test_no_refusal_sends_to_a_slower_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str, text: str
) -> None:
    monkeypatch.setattr(cpu_engine, "computes_bfloat16", lambda: False)
    monkeypatch.setattr(cpu_engine, "is_slower_in_int8", lambda _: True)
    settings = FeatureSettings("vgg11", weights="random")
    backbone = backbone_for(settings, RunSettings(), Silent())
    with pytest.raises(EngineError) as refusal:
        open_engine(backbone, [Tap("features", "avg")], EngineOptions(precision=precision))
    assert str(refusal.value) == text


NO_LABELS = (
    "precision auto takes fp32: what another precision costs is measured on labelled images, at "
    "least 3 to train of two classes, and here are not so many"
)


def test_auto_without_labels_takes_fp32_at_any_size(
    lite, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, kinds, options = lite
    monkeypatch.setattr(precision, "FEW", 0)
    monkeypatch.setattr(precision, "_faster", None)
    run = RunSettings(engine=dataclasses.replace(options, precision="auto"))
    table = read_table(scenes)
    one_class = dataclasses.replace(table, labels=(table.classes[0],) * len(table))
    some = (*table.labels[:2], *[""] * (len(table) - 2))
    for unlike in (one_class, list_images([scenes]), dataclasses.replace(table, labels=some)):
        notes = Silent()
        taken = precision.resolve_precision(unlike, backbone, kinds, run, notes)
        assert (taken.precision, notes.notes) == ("fp32", [NO_LABELS])


@pytest.mark.slow
def test_auto_whose_labelled_images_cannot_be_used_takes_fp32(
    lite, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, kinds, options = lite
    monkeypatch.setattr(precision, "FEW", 0)
    work = Work(exact=10**6, faster=10**6, rate=100.0, gain=(2.0, 2.0))
    monkeypatch.setattr(precision, "workload", lambda *_: work)
    monkeypatch.setattr(precision, "_faster", lambda base, *_: [base])
    monkeypatch.setattr(precision, "decision_file", lambda *_: tmp_path / "decision.json")
    table = read_table(scenes)
    gone = dataclasses.replace(table, paths=tuple(f"gone/{n}.png" for n in range(len(table))))
    run, notes = RunSettings(engine=dataclasses.replace(options, precision="auto")), Silent()
    taken = precision.resolve_precision(gone, backbone, kinds, run, notes)
    assert (taken.precision, notes.notes[-1]) == ("fp32", NO_LABELS)


def test_the_sample_has_enough_of_each_class_that_it_takes(scenes: Path) -> None:
    table = read_table(scenes)
    sample = precision.fair_sample(table, 0, 6)
    assert sample == precision.fair_sample(table, 0, 6)
    targets = sample.targets()
    assert (np.unique(targets, return_counts=True)[1] == 3).all()
    assert len(np.unique(targets)) == 2
    assert set(sample.paths) <= {table.paths[row] for row in table.rows("train")}
    assert len(precision.fair_sample(table, 0, 600)) == len(table.rows("train"))


def test_the_sample_and_its_folds_keep_groups_together(scenes: Path) -> None:
    table = read_table(scenes)
    groups = tuple(f"{Path(path).parent.name} {int(Path(path).stem) // 2}" for path in table.paths)
    table = dataclasses.replace(table, groups=groups)
    sample = precision.fair_sample(table, 0, 9)
    known = dict(zip(table.paths, groups, strict=True))
    assert sample.groups == tuple(known[path] for path in sample.paths)
    whole = precision.fair_sample(table, 0, 600)
    row = types.SimpleNamespace(digest=b"")
    found = types.SimpleNamespace(rows=[row] * len(whole))
    fold = precision_trial._folds(whole, found, np.arange(len(whole)))
    assert fold.max() == 2
    for name in set(groups):
        assert len({int(fold[place]) for place, one in enumerate(whole.groups) if one == name}) < 2


def test_auto_takes_fp32_where_no_group_can_be_held_out(
    lite, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, kinds, options = lite
    monkeypatch.setattr(precision, "FEW", 0)
    monkeypatch.setattr(precision, "_faster", None)
    run = RunSettings(engine=dataclasses.replace(options, precision="auto"))
    table = read_table(scenes)
    table = dataclasses.replace(table, groups=table.labels)
    notes = Silent()
    assert precision.resolve_precision(table, backbone, kinds, run, notes).precision == "fp32"
    assert notes.notes == [
        "precision auto takes fp32: what another precision costs is measured on groups of images "
        "that are held out, of at least 3 images and two groups of two classes, and here are not "
        "so many"
    ]
