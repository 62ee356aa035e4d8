"""Forecast: arithmetic on known samples, a real sample in both processes, bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from offshelf.backbones.backbone import open_backbone
from offshelf.cli.main import main
from offshelf.engine.contract import EngineOptions
from offshelf.errors import DataError, EngineError, OffshelfError
from offshelf.features.extraction import extract
from offshelf.features.feature_kind import feature_kinds
from offshelf.jobs.extract import forecast as forecasting
from offshelf.jobs.extract import timed_sample
from offshelf.jobs.extract.forecast import forecast, speed
from offshelf.jobs.extract.timed_sample import Sample, SampleRequest, take_sample
from offshelf.jobs.setup import run_costs
from offshelf.jobs.setup.run_costs import EtaProgress, disk_bytes, held, peak_memory
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Silent
from offshelf.report.tables.table_formats import render

STEADY = [(0.5 * number, 4 * number) for number in range(1, 30)]
SLOWING = [(float(number), 4 * number) for number in range(1, 14)]
SLOWING += [(13 + 2.0 * number, 52 + 4 * number) for number in range(1, 11)]


@pytest.mark.parametrize(
    ("steps", "rate", "slowest", "fastest"),
    [
        (STEADY, 8.0, 8.0, 8.0),
        (SLOWING, 80 / 30, 2.0, 4.0),
        ([(2.0, 4)], 2.0, 2.0, 2.0),
        ([(1.0, 4), (2.0, 8), (4.0, 12)], 3.0, 3.0, 3.0),
        # A burst right after the warm-up is no speed.
        ([(19.8, 4), (19.9, 8), (20.0, 12), (20.01, 16)], 16 / 20.01, 16 / 20.01, 16 / 20.01),
    ],
)
def test_speed_leaves_out_the_warm_up_and_tells_the_spread(steps, rate, slowest, fastest):
    assert speed(steps) == pytest.approx((rate, slowest, fastest))


def test_held_is_bounded_however_many_images():
    flush = 32 * 2**20
    few, many = held([25088], 10), held([25088], 10**6)
    assert few == 2 * 10 * 4 * 25088 + 10 * 500
    assert many == 2 * flush + 10**6 * 500
    assert held([25088, 25088], 10**6) == 3 * flush + 10**6 * 500


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[str]:
    return [str(path) for path in sorted(scenes.rglob("*.png"))]


@pytest.fixture(scope="module")
def settings(cache: Path) -> RunSettings:
    return RunSettings(engine=EngineOptions(cache_dir=cache))


def test_a_forecast_has_a_row_for_each_layer_and_pooling_and_one_for_all(monkeypatch):
    asked = []

    def pretend(request: SampleRequest) -> Sample:
        asked.append(request)
        names = [f"{layer}_{word}" for layer in request.layers for word in request.poolings]
        sizes = {name: 100 * number for number, name in enumerate(names, 1)}
        return Sample(
            start=2.0,
            steps=tuple(STEADY),
            memory=10**9,
            dimensions=sizes,
            engine="openvino on cpu",
            converted=False,
        )

    monkeypatch.setattr(forecasting, "sample_apart", pretend)
    paths = [f"{number}.jpg" for number in range(5000)]
    result = forecast(paths, layers=["pool4", "pool5"], poolings=["avg", "max"])
    assert [(row.layer, row.pooling, row.dimension) for row in result.rows] == [
        ("pool4", "avg", 100),
        ("pool4", "max", 200),
        ("pool5", "avg", 100),
        ("pool5", "max", 200),
        ("all in one pass", "", 1000),
    ]
    assert [request.layers for request in asked] == [("pool4",), ("pool5",), ("pool4", "pool5")]
    assert len(asked[0].paths) == len(set(asked[0].paths)) == 2000
    assert asked[0].run.engine.images == 5000
    last = result.rows[-1]
    assert (last.seconds, last.images_per_second, last.sampled) == (2 + 5000 / 8, 8.0, 116)
    assert last.disk == disk_bytes([100, 200, 300, 400], 5000)
    assert last.memory == 10**9 + held([100, 200, 300, 400], 5000) - held([100, 200, 300, 400], 116)
    text = render(result.table())
    assert text.startswith("Extraction of 5,000 images on this machine")
    assert "from 116 timed images of this set (openvino on cpu)" in result.remark()


@pytest.mark.slow
def test_the_forecast_of_a_small_set(images: list[str], settings: RunSettings, cache: Path):
    parts = set((cache / "features").glob("*/part-*"))
    result = forecast(images, run=settings)
    (row,) = result.rows
    assert (row.layer, row.pooling, row.dimension) == ("penultimate", "avg", 1280)
    assert row.images == len(images)
    assert 0 < row.low <= row.seconds <= row.high
    assert row.seconds == pytest.approx(row.start + row.images / row.images_per_second)
    assert row.memory is None or 5e7 < row.memory < 4e9
    assert json.loads(json.dumps(result.to_json()))["rows"][0]["disk"] == row.disk
    # Nothing of the sample stays behind, and nothing went into the real store.
    assert not list(cache.glob(".offshelf-*"))
    assert set((cache / "features").glob("*/part-*")) == parts


@pytest.mark.slow
def test_disk_is_what_the_store_then_takes(images: list[str], tmp_path: Path, cache: Path):
    backbone = open_backbone("efficientnet_lite0")
    kinds = feature_kinds(backbone)
    (tmp_path / "compiled").symlink_to(cache / "compiled")
    extract(images, backbone, kinds, EngineOptions(cache_dir=tmp_path))
    taken = sum(path.stat().st_size for path in tmp_path.glob("features/*/part-*"))
    assert disk_bytes([1280], len(images)) == pytest.approx(taken, rel=0.01)


@pytest.mark.slow
def test_the_sample_stops_when_it_knows_enough(images, settings, monkeypatch):
    monkeypatch.setattr(timed_sample, "SECONDS", 0.0)
    monkeypatch.setattr(timed_sample, "BATCHES", 2)
    request = SampleRequest(
        paths=tuple(images),
        features=FeatureSettings(),
        layers=("penultimate",),
        poolings=("avg",),
        run=settings,
    )
    taken = take_sample(request)
    assert len(taken.steps) == timed_sample.WARM_BATCHES + 2
    assert taken.dimensions == {"penultimate_avg": 1280}
    assert taken.engine == "openvino on cpu"
    # The first one converts the network where no other test did.
    assert not take_sample(request).converted


@pytest.mark.slow
def test_memory_of_a_process_of_its_own_is_not_this_ones(images, settings):
    ballast = np.ones(2**29, np.uint8)
    row = forecast(images, run=settings).rows[0]
    assert peak_memory() > ballast.nbytes
    assert row.memory is None or row.memory < peak_memory()


@pytest.mark.slow
def test_images_that_cannot_be_used_are_told(tmp_path: Path, settings: RunSettings):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("no image")
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    with pytest.raises(OffshelfError) as caught:
        forecast(paths, run=settings)
    assert str(caught.value).startswith("none of 3 images can be used; the first: ")
    assert ".jpg: not_an_image, " in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "changes", "error", "message"),
    [
        ([], {}, DataError, "no images to forecast an extraction for"),
        (
            ["a.jpg"],
            {"precision": "int8"},
            EngineError,
            "a forecast needs a network that is not calibrated first: precision fp32, bf16, fp16,"
            " not 'int8'",
        ),
    ],
)
def test_what_cannot_be_forecast_is_one_line(paths, changes, error, message):
    run = RunSettings(engine=EngineOptions(**changes))
    with pytest.raises(error) as caught:
        forecast(paths, run=run)
    assert str(caught.value) == message


@pytest.mark.slow
def test_an_error_in_the_other_process_is_this_ones(images, settings):
    with pytest.raises(OffshelfError, match="efficientnet_lite0: no layer 'penultimat'"):
        forecast(images, layers=["penultimat"], run=settings)


def test_a_process_that_dies_is_told(images, settings, monkeypatch):
    monkeypatch.setattr(timed_sample.sys, "executable", "/bin/false")
    with pytest.raises(EngineError, match="the timed sample ended without a result: exit code 1"):
        forecast(images, run=settings)


def test_a_cache_folder_that_cannot_be_written_is_told(images, tmp_path):
    (tmp_path / "file").write_text("")
    run = RunSettings(engine=EngineOptions(cache_dir=tmp_path / "file"))
    with pytest.raises(OffshelfError, match=r"file: cannot be written \(.*\); choose another"):
        forecast(images, run=run)


@pytest.mark.slow
def test_the_command_prints_it(scenes: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "efficientnet_lite0", "--data", str(scenes), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["totals"]["all"]["parameters"] == 4652008
    (row,) = document["forecast"]["rows"]
    assert (row["layer"], row["pooling"], row["images"]) == ("penultimate", "avg", 30)


def test_data_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "efficientnet_lite0", "--data", "no/such", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("error: no/such: no such file or folder")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("total", "step", "told"), [(40, 0.5, False), (4000, 0.5, True), (None, 0.5, False)]
)
def test_a_long_extraction_is_announced_once(total, step, told, monkeypatch, tmp_path):
    clock, inner = Clock(), Silent()
    monkeypatch.setattr(run_costs, "time", clock)
    backbone = open_backbone("efficientnet_lite0")
    options = EngineOptions(cache_dir=tmp_path)
    progress = EtaProgress(inner, backbone, feature_kinds(backbone), options)
    progress.start("images", total)
    for _ in range(min(total or 40, 200) // 4):
        clock.now += step
        progress.advance(4)
    progress.finish()
    expected = ["about 8 min 16 s more for 3,968 images (8.0 images/s)"]
    assert inner.notes == (expected if told else [])


def test_the_announcement_looks_again_after_images_that_were_known(monkeypatch, tmp_path):
    clock, inner = Clock(), Silent()
    monkeypatch.setattr(run_costs, "time", clock)
    backbone = open_backbone("efficientnet_lite0")
    progress = EtaProgress(inner, backbone, feature_kinds(backbone), EngineOptions())
    progress.start("images", 5000)
    for _ in range(3000):
        clock.now += 0.001
        progress.advance()
    assert inner.notes == []
    for _ in range(20):
        clock.now += 1.0
        progress.advance()
    assert len(inner.notes) == 1
    assert "more for 1," in inner.notes[0]


@pytest.mark.slow
def test_the_announcement_knows_disk_and_memory(images, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(run_costs, "LONG", 0.0)
    monkeypatch.setattr(run_costs, "SECONDS", 0.0)
    backbone = open_backbone("efficientnet_lite0")
    kinds = feature_kinds(backbone)
    (tmp_path / "compiled").symlink_to(cache / "compiled")
    options = EngineOptions(cache_dir=tmp_path, batch_size=1)
    inner = Silent()
    extract(images, backbone, kinds, options, None, EtaProgress(inner, backbone, kinds, options))
    (line,) = inner.notes
    assert "159.0 kB on disk" in line
    assert "of memory at most" in line


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "curve", "audit", "extract", "predict", "evaluate"])
def test_every_long_command_says_how_long(command, scenes, cache, tmp_path, monkeypatch, capsys):
    model = tmp_path / "a.offshelf"
    if command in ("predict", "evaluate"):
        assert main(["fit", str(scenes), "--out", str(model), "--quiet"]) == 0
    monkeypatch.setattr(run_costs, "LONG", 0.0)
    monkeypatch.setattr(run_costs, "SECONDS", 0.0)
    (tmp_path / "compiled").symlink_to(cache / "compiled")
    monkeypatch.chdir(tmp_path)  # where extract writes its file
    asked = [str(model), str(scenes)] if model.exists() else [str(scenes)]
    assert main([command, *asked, "--cache-dir", str(tmp_path), "--batch-size", "1"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "more for" in line]
    assert len(lines) == 1
    assert "images/s)" in lines[0]


@pytest.mark.real
@pytest.mark.slow
def test_the_real_extraction_is_as_forecast(shared: Path, cache: Path, tmp_path: Path):
    paths = [str(path) for path in sorted((shared / "data").rglob("*.jpg"))[::12]]
    run = RunSettings(engine=EngineOptions(cache_dir=cache))
    expected = forecast(paths, run=run).rows[0]
    (tmp_path / "compiled").symlink_to(cache / "compiled")
    options = dataclasses.replace(run.engine, cache_dir=tmp_path)
    backbone = open_backbone("efficientnet_lite0")
    extraction = extract(paths, backbone, feature_kinds(backbone), options)
    # How long it takes depends on other work on the machine: that is the benchmark's to compare.
    assert extraction.computed == expected.images
    stored = sum(path.stat().st_size for path in tmp_path.rglob("features/*/part-*"))
    assert stored == pytest.approx(expected.disk, rel=0.1)
