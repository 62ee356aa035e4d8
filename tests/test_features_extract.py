"""From files to the store: every image in the ledger, nothing run twice, nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from made_tiffs import made_tiff
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.backbones.specification.preprocess import prepare
from offshelf.data.decode import Limits, decode
from offshelf.engine.contract import Calibration, EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.errors import EngineError, LayerError, StoreError
from offshelf.features import loop
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.features.reader import Picture, ReadOptions
from offshelf.jobs.extract.job import extract_features
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Silent

TINY = "timm/test_resnet"


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return open_backbone(TINY, weights="random")


@pytest.fixture(scope="module")
def lite() -> Backbone:
    return open_backbone("efficientnet_lite0")


def noise(seed: int, height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pictures(folder: Path, count: int, start: int = 0) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(start, start + count):
        path = folder / f"{number:04}.png"
        Image.fromarray(noise(number)).save(path)
        paths.append(str(path))
    return paths


class FakeEngine:
    """Features that tell which image they are of: the mean of every channel."""

    name, device, batch_size = "openvino", "cpu", 4

    def __init__(self, taps: Iterable[Tap]) -> None:
        self.shapes: dict[Tap, tuple[int, ...]] = dict.fromkeys(taps, (3,))
        self.ran: list[int] = []
        self.closed = False

    def run(self, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        self.ran.append(len(batch))
        return {tap: batch.mean((1, 2)).astype(np.float32) for tap in self.shapes}

    def stream(self, batches: Iterable[Any]) -> Iterator[Any]:
        for ticket, batch in batches:
            yield ticket, self.run(batch)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[FakeEngine]:
    """The engines that were opened, in order."""
    opened: list[FakeEngine] = []

    def open_fake(backbone: Backbone, taps: Iterable[Tap], _: EngineOptions) -> FakeEngine:
        opened.append(FakeEngine(taps))
        return opened[-1]

    monkeypatch.setattr(loop, "open_engine", open_fake)
    return opened


def run(
    sources: list[Any], backbone: Backbone, cache: Path, **options: Any
) -> tuple[Extraction, FeatureKind]:
    kinds = feature_kinds(backbone)
    return extract(sources, backbone, kinds, EngineOptions(cache_dir=cache), **options), kinds[0]


def expected(paths: list[str], backbone: Backbone) -> NDArray[np.float32]:
    pixels = [prepare(decode(Path(path).read_bytes()), backbone.input) for path in paths]
    return np.stack([one.mean((0, 1)) for one in pixels]).astype(np.float32)


# --- nothing runs twice -------------------------------------------------------


def test_a_second_run_opens_no_engine(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    paths = pictures(tmp_path / "images", 11)
    first, kind = run(paths, lite, tmp_path / "cache")
    second, _ = run(paths, lite, tmp_path / "cache")
    assert (first.computed, second.computed) == (11, 0)
    assert len(engines) == 1
    assert engines[0].ran == [4, 4, 3]
    assert engines[0].closed
    assert np.array_equal(first.matrix(kind, range(11)), second.matrix(kind, range(11)))
    assert np.allclose(first.matrix(kind, range(11)), expected(paths, lite))


def test_the_parts_of_the_time_are_no_more_than_the_whole(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    quick = loop.open_engine

    def slow(*arguments: Any) -> Any:
        time.sleep(0.3)
        return quick(*arguments)

    monkeypatch.setattr(loop, "open_engine", slow)
    began = time.perf_counter()
    extraction, _ = run(pictures(tmp_path / "images", 3), lite, tmp_path / "cache")
    assert sum(extraction.seconds.values()) <= time.perf_counter() - began
    assert extraction.seconds["start"] >= 0.3


def test_new_images_alone_are_run(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    paths = pictures(tmp_path / "images", 5)
    run(paths, lite, tmp_path / "cache")
    more = sorted([*paths, *pictures(tmp_path / "images", 3, start=100)])
    third, kind = run(more[::-1], lite, tmp_path / "cache")
    assert third.computed == 3
    assert [row.path for row in third.rows] == more[::-1]
    assert np.allclose(third.matrix(kind, range(8)), expected(more[::-1], lite))


def test_a_renamed_file_costs_nothing(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    paths = pictures(tmp_path / "images", 4)
    run(paths, lite, tmp_path / "cache")
    moved = tmp_path / "elsewhere" / "again.png"
    moved.parent.mkdir()
    shutil.move(paths[1], moved)
    found, kind = run([str(moved)], lite, tmp_path / "cache")
    assert found.computed == 0
    assert np.allclose(found.matrix(kind, [0]), expected([str(moved)], lite))


def test_a_changed_file_runs_again(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    paths = pictures(tmp_path / "images", 4)
    run(paths, lite, tmp_path / "cache")
    Image.fromarray(noise(999)).save(paths[2])
    found, kind = run(paths, lite, tmp_path / "cache")
    assert found.computed == 1
    assert np.allclose(found.matrix(kind, range(4)), expected(paths, lite))


def test_equal_images_run_once(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    one, other = pictures(tmp_path / "images", 2)
    copy = str(tmp_path / "copy.png")
    shutil.copy(one, copy)
    sources = [one, copy, other, one, *[copy] * 40, other]
    found, kind = run(sources, lite, tmp_path / "cache")
    assert found.computed == 2
    assert len(found.rows) == len(sources)
    assert np.allclose(found.matrix(kind, range(len(sources))), expected(sources, lite))


def test_other_preprocessing_has_its_own_features(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path
):
    paths = pictures(tmp_path / "images", 2)
    run(paths, lite, tmp_path / "cache")
    cropped, kind = run(
        paths, open_backbone("efficientnet_lite0", resize="crop"), tmp_path / "cache"
    )
    assert cropped.computed == 2
    squashed, _ = run(paths, lite, tmp_path / "cache")
    assert squashed.computed == 0
    assert not np.array_equal(cropped.matrix(kind, [0, 1]), squashed.matrix(kind, [0, 1]))


def test_a_layer_more_runs_the_images_once_more_and_keeps_the_others(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path
):
    paths = pictures(tmp_path / "images", 3)
    options = EngineOptions(cache_dir=tmp_path / "cache")
    one = feature_kinds(lite, ["stage1"], ["max"])
    two = feature_kinds(lite, ["stage1", "stage2"], ["max"])
    assert extract(paths, lite, one, options).computed == 3
    assert extract(paths, lite, two, options).computed == 3
    again = extract(paths, lite, two, options)
    assert again.computed == 0
    assert [len(again.stores[kind]) for kind in two] == [3, 3]


# --- the ledger ---------------------------------------------------------------


def test_no_images_at_all(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    found, kind = run([], lite, tmp_path / "cache")
    assert found.rows == found.failures == ()
    assert found.ok.tolist() == []
    assert found.matrix(kind, found.ok).shape == (0, 3)


def test_nothing_but_broken_images(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    (tmp_path / "empty.png").touch()
    found, kind = run([str(tmp_path / "empty.png"), "missing.png"], lite, tmp_path / "cache")
    assert [row.status for row in found.failures] == ["empty", "missing"]
    assert found.computed == 0
    assert found.matrix(kind, found.ok).shape == (0, 3)
    with pytest.raises(StoreError, match="1 row is not in the store; run again"):
        found.matrix(kind, [0])


class Told(Silent):
    """Keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def start(self, what: str, total: int | None, unit: str = "") -> None:  # noqa: ARG002
        self.events.append(("start", what, total))

    def advance(self, done: int = 1) -> None:
        self.events.append(done)

    def finish(self) -> None:
        self.events.append("finish")


def test_progress_counts_every_image_once(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path
):
    paths = pictures(tmp_path / "images", 9)
    run(paths[:3], lite, tmp_path / "cache")
    told = Told()
    sources = [*paths, "missing.png", paths[0], "missing.png", paths[8]]
    run(sources, lite, tmp_path / "cache", progress=told)
    assert told.events[0] == ("start", "images", len(sources))
    assert sum(told.events[1:-1]) == len(sources)
    assert told.events[-1] == "finish"


def test_what_no_standard_decides_is_noted_once_on_a_warm_and_on_a_fresh_store(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path
):
    paths = pictures(tmp_path, 2)
    for number, bands in enumerate((4, 4, 4, 2, 2)):
        values = np.full((20, 20, bands), number, np.uint8)
        path = tmp_path / f"{number}.tif"
        path.write_bytes(made_tiff(values, photometric=2 if bands == 4 else 1))
        paths.append(str(path))
    for sources in (paths, paths, [paths[2], paths[2]]):
        told = Told()
        run(sources, lite, tmp_path / "cache", progress=told)
        colour = f"{paths[2]}: 4 bands of a TIFF without ExtraSamples: the first three read as RGB"
        grey = f"{paths[5]}: 2 bands of a TIFF without ExtraSamples: the first read as grey"
        both = [f"{colour} (and 2 more images)", f"{grey} (and 1 more image)"]
        assert told.notes == (both if sources is paths else [f"{colour} (and 1 more image)"])


def test_what_was_computed_before_a_failure_is_kept(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = FakeEngine.run

    def failing(self: FakeEngine, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        if len(self.ran) == 2:
            raise MemoryError
        return own(self, batch)

    monkeypatch.setattr(FakeEngine, "run", failing)
    paths = pictures(tmp_path / "images", 20)
    told = Told()
    with pytest.raises(MemoryError):
        run(paths, lite, tmp_path / "cache", progress=told)
    assert told.events[-1] == "finish"
    assert engines[0].closed
    monkeypatch.setattr(FakeEngine, "run", own)
    found, kind = run(paths, lite, tmp_path / "cache")
    assert found.computed == 12
    assert np.allclose(found.matrix(kind, range(20)), expected(paths, lite))


def test_a_damaged_part_is_told_and_extracted_again(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path
):
    paths = pictures(tmp_path / "images", 6)
    run(paths[:4], lite, tmp_path / "cache")
    run(paths, lite, tmp_path / "cache")
    first, _ = sorted((tmp_path / "cache").glob("features/*/part-*.parquet"))
    first.write_bytes(first.read_bytes()[:-20])
    told = Silent()
    found, kind = run(paths, lite, tmp_path / "cache", progress=told)
    assert told.notes == [f"{first}: damaged, set aside; its images are extracted again"]
    assert found.computed == 4
    assert np.allclose(found.matrix(kind, range(6)), expected(paths, lite))


def test_a_cache_that_cannot_be_written(lite: Backbone, engines: list[FakeEngine], tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot keep features there .*; choose another --cache-"):
        run(pictures(tmp_path / "images", 1), lite, tmp_path / "cache")


def test_images_in_memory_are_found_again(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path
):
    arrays = [noise(number) for number in range(3)]
    first, kind = run([Picture(f"{i}", a) for i, a in enumerate(arrays)], lite, tmp_path / "cache")
    again = [Picture("one", Image.fromarray(arrays[1])), Picture("two", arrays[2].copy())]
    second, _ = run(again, lite, tmp_path / "cache")
    assert (first.computed, second.computed) == (3, 0)
    assert np.array_equal(first.matrix(kind, [1, 2]), second.matrix(kind, [0, 1]))


@pytest.mark.slow
def test_a_job_of_many_images_holds_few(
    lite: Backbone, engines: list[FakeEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import threading
    import weakref

    from offshelf.features import network_input, reader

    alive = peak = 0
    lock = threading.Lock()

    def count(change: int) -> None:
        nonlocal alive, peak
        with lock:
            alive += change
            peak = max(peak, alive)

    def counted(rgb: NDArray[np.uint8], spec: Any) -> Any:
        prepared = prepare(rgb, spec)
        count(1)
        weakref.finalize(prepared, count, -1)
        return prepared

    monkeypatch.setattr(network_input, "prepare", counted)
    sources = [Picture(f"{number}", noise(number, 8, 8)) for number in range(400)]
    found, _ = run(sources, lite, tmp_path / "cache", reading=ReadOptions(workers=2))
    assert found.computed == 400
    # Read ahead by two threads, one batch under way, one being filled.
    assert peak <= 2 * reader.AHEAD_PER_WORKER + 2 * FakeEngine.batch_size + 2


# --- errors before any work ---------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "poolings", "message"),
    [
        (["relu_9"], ["avg"], "no layer 'relu_9'"),
        (["penultimate"], ["mean"], "no pooling 'mean': flatten, avg, max, gem, pyramid."),
        (["penultimate"], ["none"], "no pooling 'none': flatten, avg, max, gem, pyramid."),
        ([], ["avg"], "no layer was asked for"),
        (["penultimate"], [], "no layer was asked for"),
    ],
)
def test_kinds_that_do_not_exist(
    lite: Backbone, layers: list[str], poolings: list[str], message: str
):
    with pytest.raises(LayerError) as caught:
        feature_kinds(lite, layers, poolings)
    assert message in str(caught.value)


def test_every_layer_with_every_pooling_once(lite: Backbone):
    kinds = feature_kinds(lite, ["penultimate", "stem", "penultimate"], ["avg", "max", "avg"])
    assert [kind.column for kind in kinds] == [
        "penultimate_avg",
        "penultimate_max",
        "stem_avg",
        "stem_max",
    ]


def test_an_engine_that_does_not_exist(lite: Backbone, tmp_path: Path):
    with pytest.raises(EngineError, match="no engine 'onnx'"):
        extract([], lite, feature_kinds(lite), EngineOptions(engine="onnx", cache_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


# --- a folder of odd files ----------------------------------------------------


def broken_files(folder: Path) -> dict[str, str]:
    """Write files that are no usable images; return the status that each must get."""
    photo = folder.parent / "photo.jpg"
    Image.fromarray(noise(1, 200, 200)).save(photo, quality=95)
    jpeg = photo.read_bytes()
    Image.fromarray(noise(1, 100, 100)).save(folder.parent / "photo.png")
    png = (folder.parent / "photo.png").read_bytes()
    contents = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"this is not a picture", "not_an_image"),
        "page.png": (b"<!DOCTYPE html><html></html>", "not_an_image"),
        "zeros.png": (bytes(5000), "not_an_image"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "head.gif": (b"GIF89a", "truncated"),
        "paper.jpg": (b"%PDF-1.7\n%", "unsupported"),
        "layers.png": (b"8BPS" + bytes(100), "unsupported"),
        "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(100), "unsupported"),
        "damaged.png": (png[:60] + bytes(40) + png[100:], "unreadable"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    Image.new("1", (3000, 3000)).save(folder / "huge.png")
    expected = {name: status for name, (_, status) in contents.items()}
    return expected | {"nowhere.jpg": "missing", "huge.png": "too_large"}


def odd_files(folder: Path) -> list[str]:
    """Write images of unusual kinds that are images all the same."""
    picture = Image.fromarray(noise(2))
    grey16 = Image.fromarray((np.arange(1200, dtype=np.uint16) * 50).reshape(30, 40))
    exif = picture.getexif()
    exif[0x0112] = 6
    alpha = picture.convert("RGBA")
    alpha.putalpha(picture.convert("L"))
    frames = [Image.fromarray(noise(n)) for n in range(3)]
    kinds: dict[str, Any] = {
        "grey.png": picture.convert("L"),
        "palette.png": picture.convert("P"),
        "alpha.png": alpha,
        "print.jpg": picture.convert("CMYK"),
        "deep.png": grey16,
        "pixel.png": Image.new("RGB", (1, 1), (9, 200, 30)),
        "strip.png": Image.new("RGB", (1, 3000), (90, 20, 30)),
        "wrong_name.png": None,
        "UPPER.PNG": picture,
    }
    for name, image in kinds.items():
        if image is not None:
            image.save(folder / name)
    picture.save(folder / "really.jpg", exif=exif)
    shutil.move(folder / "really.jpg", folder / "turned.jpg")
    picture.save(folder / "wrong_name.png", "JPEG")
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    frames[1].save(folder / "picture with spaces, ümläute and 図.webp", lossless=True)
    return [*kinds, "turned.jpg", "film.gif", "picture with spaces, ümläute and 図.webp"]


@pytest.mark.slow
def test_odd_and_broken_files_have_their_line_and_the_rest_its_features(
    tiny: Backbone, tmp_path: Path
):
    folder = tmp_path / "images"
    folder.mkdir()
    broken, odd = broken_files(folder), odd_files(folder)
    assert len(broken) >= 12
    limits = Limits(max_pixels=2_000_000)
    settings = RunSettings(
        engine=EngineOptions(cache_dir=tmp_path / "cache"), reading=ReadOptions(limits=limits)
    )
    result = extract_features(
        folder,
        tmp_path / "features.parquet",
        features=FeatureSettings(TINY, weights="random"),
        run=settings,
    )
    table = pq.read_table(tmp_path / "features.parquet").to_pydict()
    names = [Path(path).name for path in table["path"]]
    assert sorted(names) == sorted([*broken, *odd])

    listed = {Path(row.path).name: (row.status, row.reason) for row in result.extraction.failures}
    assert {name: status for name, (status, _) in listed.items()} == broken
    assert all(reason and "\n" not in reason for _, reason in listed.values())
    assert result.to_json()["n_failed"] == len(broken)

    (kind,) = result.kinds
    engine = open_engine(tiny, [kind.tap], EngineOptions(cache_dir=tmp_path / "cache"))
    for name, status, values in zip(names, table["status"], table[kind.column], strict=True):
        if name in broken:
            assert (status, values) == (broken[name], None)
            continue
        pixels = prepare(decode((folder / name).read_bytes(), limits), tiny.input)
        alone = engine.run(pixels[None])[kind.tap][0]
        assert status == "ok"
        assert np.array_equal(np.array(values, np.float32), alone), name


# --- killed, and several at once ----------------------------------------------

COUNT = 200
DRIVER = """
import sys
from offshelf.features import store
store.FLUSH_SECONDS, store.FLUSH_BYTES = 0.05, 1 << 17
from offshelf.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory, lite: Backbone) -> Path:
    """A cache that holds the converted network and nothing else."""
    cache = tmp_path_factory.mktemp("warm")
    open_engine(lite, [feature_kinds(lite)[0].tap], EngineOptions(cache_dir=cache)).close()
    return cache


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    pictures(folder, COUNT)
    return folder


def start(images: Path, cache: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, "extract", str(images), "--out", str(out)]
    command += ["--backbone", "efficientnet_lite0", "--json", "--quiet", "--engine", "openvino"]
    return subprocess.Popen(
        [*command, "--cache-dir", str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OFFSHELF_CACHE_DIR": str(cache)},
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def parts_in(cache: Path) -> int:
    return len(list(cache.glob("features/*/part-*.parquet")))


def features_in(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    table = pq.read_table(path)
    values = table["penultimate_avg"].combine_chunks().flatten().to_numpy()
    return table["path"].to_pylist(), values.reshape(table.num_rows, -1)


@pytest.fixture(scope="module")
def uninterrupted(warm: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    shutil.copytree(warm, folder / "cache")
    document = finish(start(many, folder / "cache", folder / "out.parquet"))
    assert document["computed"] == document["n_ok"] == COUNT
    return folder / "out.parquet"


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again(
    warm: Path, many: Path, uninterrupted: Path, tmp_path: Path
):
    cache, out = tmp_path / "cache", tmp_path / "result" / "out.parquet"
    shutil.copytree(warm, cache)
    moments = np.random.default_rng(16)
    done = 0
    for _ in range(4):
        process = start(many, cache, out)
        # At any moment from before the first part to some parts further on.
        wanted, deadline = parts_in(cache) + int(moments.integers(6)), time.monotonic() + 120
        while parts_in(cache) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(moments.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert parts_in(cache) >= done
        done = parts_in(cache)
        assert not out.exists() or process.returncode == 0
    document = finish(start(many, cache, out))
    assert document["n_ok"] == COUNT
    assert document["n_failed"] == 0
    assert document["computed"] < COUNT
    paths, found = features_in(out)
    expected_paths, expected_features = features_in(uninterrupted)
    assert paths == expected_paths
    assert found.tobytes() == expected_features.tobytes()
    assert out.read_bytes() == uninterrupted.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["out.parquet"]


@pytest.mark.slow
def test_two_at_once_on_one_store(warm: Path, many: Path, uninterrupted: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    shutil.copytree(warm, cache)
    outs = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    processes = [start(many, cache, out) for out in outs]
    documents = [finish(process) for process in processes]
    assert [document["n_ok"] for document in documents] == [COUNT, COUNT]
    assert outs[0].read_bytes() == outs[1].read_bytes() == uninterrupted.read_bytes()
    assert list(cache.glob("features/*/.*")) == []
    third = finish(start(many, cache, tmp_path / "three.parquet"))
    assert third["computed"] == 0


# --- several features in one pass ---------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_else_a_pass_takes_never_decides_a_later_run(precision: str, tmp_path: Path):
    """The engine compiles taps into the network: they move last bits, and ranges of int8."""
    backbone = open_backbone("timm/test_resnet", weights="random")
    sources = [Picture(f"{number}", noise(number)) for number in range(3)]
    sample = Calibration("0" * 64, lambda: np.stack([noise(7, 160, 160), noise(8, 160, 160)]))
    kinds = feature_kinds(backbone, ["layer2", "penultimate"], ["avg", "flatten"])

    def taken(folder: str, *wanted: FeatureKind) -> tuple[Extraction, np.ndarray]:
        options = EngineOptions(
            cache_dir=tmp_path / folder,
            precision=precision,  # type: ignore[arg-type]
            calibration=sample if precision == "int8" else None,
        )
        found = extract(sources, backbone, wanted, options)
        return found, found.matrix(wanted[0], range(3))

    taken("warm", *kinds)
    for kind in kinds:
        warm, from_store = taken("warm", kind)
        _, fresh = taken("fresh", kind)
        assert warm.computed == 3
        assert np.array_equal(from_store, fresh)
    # The order in which they are asked for is no other pass.
    again, _ = taken("warm", *reversed(kinds))
    assert again.computed == 0


def test_features_of_another_way_to_compute_are_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    backbone = open_backbone("timm/test_resnet", weights="random")
    kinds = feature_kinds(backbone)
    sources = [Picture(f"{number}", noise(number)) for number in range(3)]
    options = EngineOptions(cache_dir=tmp_path)
    assert extract(sources, backbone, kinds, options).computed == 3
    monkeypatch.setattr("offshelf.engine.selection.VERSION", 0)
    assert extract(sources, backbone, kinds, options).computed == 3


def test_taps_are_no_part_of_the_key_where_the_engine_only_listens(tmp_path: Path):
    backbone = open_backbone("timm/test_resnet", weights="random")
    options = EngineOptions(engine="torch", device="cpu", cache_dir=tmp_path)
    kinds = feature_kinds(backbone, ["layer2", "penultimate"])
    sources = [Picture(f"{number}", noise(number)) for number in range(3)]
    whole = extract(sources, backbone, kinds, options)
    for kind in kinds:
        alone = extract(sources, backbone, [kind], options)
        assert alone.computed == 0
        fresh = extract(
            sources, backbone, [kind], options, ReadOptions(stores=tmp_path / kind.layer)
        )
        assert fresh.computed == 3
        assert np.array_equal(fresh.matrix(kind, range(3)), whole.matrix(kind, range(3)))


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
def test_a_vector_passes_every_pooling(pooling: str, tmp_path: Path):
    # A transformer's vector has negative numbers, which gem would clamp in a map.
    backbone = open_backbone("timm/test_vit", weights="random")
    options = EngineOptions(cache_dir=tmp_path)
    sources = [Picture(f"{number}", noise(number)) for number in range(3)]
    (whole,) = feature_kinds(backbone, ["penultimate"], ["flatten"])
    (pooled,) = feature_kinds(backbone, ["penultimate"], [pooling])
    first = extract(sources, backbone, [whole], options)
    second = extract(sources, backbone, [pooled], options)
    vectors = first.matrix(whole, range(3))
    assert (vectors < 0).any()
    assert np.array_equal(second.matrix(pooled, range(3)), vectors)
