"""Several processes on one store: each image once, nobody waits for the dead or the stopped."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from offshelf import locks
from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.features import loop, sharing
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import feature_kinds
from offshelf.features.sharing import Sharing
from offshelf.features.store.feature_store import FeatureStore
from offshelf.files import sha256_file
from offshelf.progress import Silent

ONE, TWO = b"1" * 32, b"2" * 32
NEW = frozenset({"store"})


@pytest.fixture(scope="module")
def lite() -> Backbone:
    return open_backbone("efficientnet_lite0")


def pictures(folder: Path, count: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        draw = np.random.default_rng(number)
        pixels = draw.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        paths.append(str(folder / f"{number:03}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


class FakeEngine:
    """The mean of every channel, in batches of two."""

    name, device, batch_size = "openvino", "cpu", 2

    def __init__(self, taps: Iterable[Tap]) -> None:
        self.shapes: dict[Tap, tuple[int, ...]] = dict.fromkeys(taps, (3,))

    def stream(self, batches: Iterable[Any]) -> Iterator[Any]:
        for ticket, batch in batches:
            yield ticket, {tap: batch.mean((1, 2)).astype(np.float32) for tap in self.shapes}

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "open_engine", lambda _, taps, __: FakeEngine(taps))


def run(
    paths: list[str], backbone: Backbone, cache: Path, progress: Silent | None = None
) -> Extraction:
    options = EngineOptions(cache_dir=cache)
    return extract(paths, backbone, feature_kinds(backbone), options, progress=progress)


def features(found: Extraction) -> NDArray[np.float32]:
    (kind,) = found.stores
    return found.matrix(kind, range(len(found.rows)))


# --- claims -------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Sharing, Sharing]]:
    with (
        contextlib.closing(Sharing(tmp_path, ["store"])) as first,
        contextlib.closing(Sharing(tmp_path, ["store"])) as second,
    ):
        yield first, second


def test_an_image_has_one_owner(two: tuple[Sharing, Sharing]):
    first, second = two
    assert first.take(ONE, NEW)
    assert first.take(ONE, NEW)
    assert not second.take(ONE, NEW)
    assert second.take(TWO, NEW)
    assert not first.take(TWO, NEW)
    assert second.held(ONE, NEW)
    assert not second.held(TWO, NEW)


def test_what_an_owner_gave_up_is_free(two: tuple[Sharing, Sharing]):
    first, second = two
    assert first.take(ONE, NEW)
    first.give_up(ONE)
    first.give_up(TWO)
    assert second.take(ONE, NEW)


def test_an_owner_that_fills_other_stores_keeps_nobody_from_these(tmp_path: Path):
    with (
        contextlib.closing(Sharing(tmp_path, ["a"])) as first,
        contextlib.closing(Sharing(tmp_path, ["a", "b"])) as second,
    ):
        assert first.take(ONE, frozenset({"a"}))
        assert second.take(ONE, frozenset({"a", "b"}))
        assert first.take(TWO, frozenset({"a"}))
        assert not second.take(TWO, frozenset({"a"}))


def test_claims_end_with_their_owner(tmp_path: Path, two: tuple[Sharing, Sharing]):
    first, second = two
    assert first.take(ONE, NEW)
    assert not second.take(ONE, NEW)
    first.close()
    # Its rows are looked for in the store first.
    assert not second.take(ONE, NEW)
    second.settle()
    assert not second.held(ONE, NEW)
    assert second.take(ONE, NEW)
    second.close()
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["turn.lock"]


def test_claims_of_a_killed_owner_are_nobodys_and_removed(tmp_path: Path):
    code = (
        "import os, sys; from pathlib import Path; from offshelf.features.sharing import Sharing;"
        "s = Sharing(Path(sys.argv[1]), ['store']); s.take(b'1' * 32, frozenset({'store'}));"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list((tmp_path / "claims").glob("*.claim"))) == 1
    with contextlib.closing(Sharing(tmp_path, ["store"])) as other:
        assert other.take(ONE, NEW)
        assert len(list((tmp_path / "claims").glob("*.claim"))) == 1
    assert list((tmp_path / "claims").glob("*.claim")) == []


def test_an_owner_without_progress_is_not_waited_for(tmp_path: Path):
    with (
        contextlib.closing(Sharing(tmp_path, ["store"])) as stopped,
        contextlib.closing(Sharing(tmp_path, ["store"], stall=0.0)) as other,
    ):
        assert stopped.take(ONE, NEW)
        assert other.take(ONE, NEW)


def test_whoever_was_stopped_in_its_turn_keeps_nobody(
    two: tuple[Sharing, Sharing], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(sharing, "TURN_SECONDS", 0.01)
    stopped = locks.Lock(tmp_path / "claims" / "turn.lock")
    assert stopped.take()
    assert two[0].take(ONE, NEW)
    assert not two[1].take(ONE, NEW)
    stopped.release(remove=False)


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n+123", b"null\n", b"\xff\xff\n" + b"+" * 66])
def test_a_file_that_is_no_list_of_claims_disturbs_nobody(tmp_path: Path, content: bytes):
    (tmp_path / "claims").mkdir()
    odd = locks.Lock(tmp_path / "claims" / "odd.claim")
    assert odd.take()
    odd.write(content)
    with contextlib.closing(Sharing(tmp_path, ["store"])) as own:
        assert own.take(ONE, NEW)
    odd.release()


# --- extractions --------------------------------------------------------------


def test_two_in_opposite_orders_do_each_image_once(fake: None, lite: Backbone, tmp_path: Path):
    paths = pictures(tmp_path / "images", 40)
    found: list[Extraction] = []

    def work(order: list[str]) -> None:
        found.append(run(order, lite, tmp_path / "cache"))

    orders = [paths, paths[::-1]]
    threads = [threading.Thread(target=work, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = run(paths, lite, tmp_path / "other")
    assert sum(one.computed for one in found) == alone.computed == 40
    for one in found:
        by_path = dict(zip((row.path for row in one.rows), features(one), strict=True))
        assert np.array_equal(np.stack([by_path[path] for path in paths]), features(alone))


@pytest.fixture
def owner(fake: None, lite: Backbone, tmp_path: Path) -> Callable[[list[str]], Sharing]:
    """Claims images, as another process on the same store would."""

    def claim(paths: list[str]) -> Sharing:
        run([], lite, tmp_path / "cache")
        folder = tmp_path / "cache" / "features"
        (manifest,) = folder.glob("*/manifest.json")
        other = Sharing(folder, [manifest.parent.name])
        for path in paths:
            assert other.take(bytes.fromhex(sha256_file(Path(path))), NEW)
        return other

    return claim


def test_a_stopped_owner_ends_no_extraction(
    owner: Callable[[list[str]], Sharing],
    lite: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    paths = pictures(tmp_path / "images", 9)
    monkeypatch.setattr(sharing, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(loop, "WAITING_SECONDS", 0.0)
    stopped = owner(paths[3:6])
    told = Silent()
    found = run(paths, lite, tmp_path / "cache", told)
    assert found.computed == 9
    assert told.notes == ["waiting for 3 images that another process is computing"]
    stopped.close()
    assert np.array_equal(features(found), features(run(paths, lite, tmp_path / "other")))


def test_rows_of_another_are_waited_for_and_broken_ones_are_judged_here(
    owner: Callable[[list[str]], Sharing],
    lite: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    paths = pictures(tmp_path / "images", 6)
    Path(paths[1]).write_bytes(b"no image")
    other = owner(paths[:3])
    expected = run([paths[0], paths[2]], lite, tmp_path / "other")
    (kind,) = expected.stores
    waiting = threading.Event()
    monkeypatch.setattr(loop.time, "sleep", lambda _: waiting.set())

    def finish() -> None:
        assert waiting.wait(60)
        store = FeatureStore(tmp_path / "cache" / "features", _identity(tmp_path / "cache"))
        for row in expected.rows:
            facts = expected.stores[kind].facts(row.digest)
            assert facts is not None
            store.append(row.digest, expected.stores[kind].read([row.digest])[0], facts)
        store.flush()
        other.close()

    thread = threading.Thread(target=finish)
    thread.start()
    told = Counting()
    found = run(paths, lite, tmp_path / "cache", told)
    thread.join()
    assert found.computed == 3
    # Two batches, then what the other one finished, then the broken one: each image once.
    assert told.steps == [2, 1, 2, 1]
    assert [row.path for row in found.rows] == paths
    assert [row.status for row in found.failures] == ["not_an_image"]
    assert np.array_equal(found.matrix(kind, [0, 2]), features(expected))


class Counting(Silent):
    """Keeps what was said to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def advance(self, done: int = 1) -> None:
        self.steps.append(done)


def _identity(cache: Path) -> dict[str, Any]:
    (manifest,) = cache.glob("features/*/manifest.json")
    found: dict[str, Any] = json.loads(manifest.read_text())["identity"]
    return found


def test_without_locks_each_works_alone_and_says_nothing(
    fake: None, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(handle: int, shared: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "try_lock", refuse)
    told = Silent()
    found = run(pictures(tmp_path / "images", 5), lite, tmp_path / "cache", told)
    assert (found.computed, told.notes) == (5, [])


def test_a_folder_of_claims_that_goes_under_way_disturbs_nobody(
    fake: None, lite: Backbone, tmp_path: Path
):
    paths = pictures(tmp_path / "images", 3)
    with contextlib.closing(Sharing(tmp_path, ["store"])) as own:
        assert own.take(ONE, NEW)
        for path in (tmp_path / "claims").iterdir():
            path.unlink()
        (tmp_path / "claims").rmdir()
        assert own.take(TWO, NEW)
        own.settle()
        own.beat()
        assert not own.held(TWO, NEW)
    assert run(paths, lite, tmp_path / "cache").computed == 3


def test_what_another_finished_after_the_stores_were_read_is_not_done_again(
    fake: None, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths, cache = pictures(tmp_path / "images", 3), tmp_path / "cache"

    def begun_later(*args: Any) -> Sharing:
        monkeypatch.setattr(loop, "Sharing", Sharing)
        assert run(paths, lite, cache).computed == 3
        return Sharing(*args)

    monkeypatch.setattr(loop, "Sharing", begun_later)
    found = run(paths, lite, cache)
    assert (found.computed, len(found.ok)) == (0, 3)


@pytest.mark.slow
def test_processes_started_at_once_share_the_work(scenes: Path, tmp_path: Path):
    images, cache = sorted(scenes.glob("train/*/*.png")), tmp_path / "cache"
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"{path}\n" for path in images))
    command = [sys.executable, "-m", "offshelf", "extract", str(tmp_path / "list.csv"), "--json"]
    command += ["--quiet", "--cache-dir", str(cache), "--out"]
    outs = [tmp_path / f"{number}.parquet" for number in range(3)]
    processes = [
        subprocess.Popen([*command, str(out)], stdout=subprocess.PIPE, text=True) for out in outs
    ]
    documents = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    assert [document["n_ok"] for document in documents] == [len(images)] * 3
    assert sum(document["computed"] for document in documents) == len(images)
    assert len({out.read_bytes() for out in outs}) == 1
    assert len(list(cache.glob("compiled/*/graph.bin"))) == 1
    assert [path.name for path in cache.glob("features/claims/*")] == ["turn.lock"]
