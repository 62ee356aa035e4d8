"""The bound of the cache: the least recently used goes first, never what somebody uses."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offshelf import cache
from offshelf.backbones.backbone import open_backbone
from offshelf.cache import Usage, last_used, remove_unused
from offshelf.engine.contract import EngineOptions
from offshelf.errors import OffshelfError, StoreError
from offshelf.features import loop
from offshelf.features.extraction import Extraction, extract
from offshelf.features.feature_kind import feature_kinds
from offshelf.features.store.feature_store import FeatureStore
from offshelf.progress import Silent
from offshelf.text import shown

OLDEST, MIDDLE, NEWEST = f"compiled/{'0' * 32}", f"features/{'1' * 32}", f"features/2-{'2' * 32}"
USER = """
import sys
from pathlib import Path
from offshelf.cache import Usage
usage = Usage(Path(sys.argv[1]))
print("used", flush=True)
sys.stdin.read()
"""


def kept(root: Path, name: str, size: int, used: float) -> Path:
    """A folder of the cache with so many bytes, used so many seconds after the epoch."""
    folder = root / name
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "content").write_bytes(b"x" * size)
    (folder / "used").touch()
    os.utime(folder / "used", (used, used))
    return folder


def names(root: Path) -> list[str]:
    return sorted(str(entry.folder.relative_to(root)) for entry in cache.entries(root))


# --- use ----------------------------------------------------------------------


def test_what_another_process_uses_stays_until_it_is_killed(tmp_path: Path):
    folder = kept(tmp_path, "features/a", 1, 0)
    command = [sys.executable, "-c", USER, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "used\n"
        assert last_used(folder) > 0
        assert not remove_unused(folder)
        user.send_signal(signal.SIGKILL)
    assert remove_unused(folder)
    assert list((tmp_path / "features").iterdir()) == []


def test_a_store_is_in_use_for_as_long_as_it_is_open(tmp_path: Path):
    store = FeatureStore(tmp_path, {"layer": "a"}, 2)
    folder = store.folder
    assert not remove_unused(folder)
    del store
    assert remove_unused(folder)


def test_a_mark_that_cannot_be_made_is_no_error(tmp_path: Path):
    usage = Usage(tmp_path / "missing")
    usage.close()
    assert not remove_unused(tmp_path / "missing")
    assert last_used(tmp_path / "missing") == 0


# --- the bound ----------------------------------------------------------------


@pytest.fixture
def full(tmp_path: Path) -> Path:
    kept(tmp_path, MIDDLE, 100, 2000)
    kept(tmp_path, OLDEST, 100, 1000)
    kept(tmp_path, NEWEST, 100, 4000)
    kept(tmp_path, "compared", 100, 3000)
    (tmp_path / "features" / "claims").mkdir()
    (tmp_path / "features" / "claims" / "turn.lock").touch()
    (tmp_path / "weights" / "net").mkdir(parents=True)
    (tmp_path / "weights" / "net" / "net.pth").write_bytes(b"w" * 500)
    return tmp_path


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (None, ["compared", OLDEST, MIDDLE, NEWEST]),
        (400, ["compared", OLDEST, MIDDLE, NEWEST]),
        (399, ["compared", MIDDLE, NEWEST]),
        (200, ["compared", NEWEST]),
        (100, [NEWEST]),
        (0, []),
    ],
)
def test_the_least_recently_used_goes_first(full: Path, most: int | None, left: list[str]):
    would_go = cache.keep_to(full, most, dry=True)
    assert len(names(full)) == 4
    gone = cache.keep_to(full, most)
    assert names(full) == left
    assert (gone.size, gone.entries) == (100 * (4 - len(left)), would_go.entries)
    assert (full / "weights" / "net" / "net.pth").stat().st_size == 500
    assert (full / "features" / "claims" / "turn.lock").exists()


def test_what_is_in_use_stays_and_the_next_goes(full: Path):
    usage = Usage(full / MIDDLE)
    os.utime(full / MIDDLE / "used", (2000, 2000))
    assert cache.keep_to(full, 150).size == 300
    assert names(full) == [MIDDLE]
    usage.close()


def test_sizes_are_told_by_kind(full: Path):
    assert cache.sizes(full) == {
        "features": 200,
        "networks": 100,
        "comparisons": 100,
        "digests": 0,
        "trained": 0,
        "weights": 500,
    }


@pytest.mark.parametrize("text", ["much", "-1", "20 X", "1e9", "G", "10%"])
def test_what_is_no_size_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refusal = f"{text!r} is no size such as 500M or 20G, and not 'none'"
    with pytest.raises(OffshelfError) as caught:
        cache.limit(tmp_path, text)
    assert str(caught.value) == f"--cache-size: {refusal}"
    monkeypatch.setenv(cache.SIZE_VARIABLE, text)
    with pytest.raises(OffshelfError) as caught:
        cache.limit(tmp_path)
    assert str(caught.value) == f"OFFSHELF_CACHE_SIZE: {refusal}"


def test_the_bound_is_asked_for_or_of_the_environment_or_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(cache.SIZE_VARIABLE, raising=False)
    usage = namedtuple("usage", ["total"])
    for disk, most in ((2**30, 20 * 2**30), (2**40, 2**40 // 10)):
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _, disk=disk: usage(disk))
        assert cache.limit(tmp_path / "not" / "yet") == most
    monkeypatch.setenv(cache.SIZE_VARIABLE, "500M")
    assert cache.limit(tmp_path) == 500 * 10**6
    assert cache.limit(tmp_path, "none") is None


# --- in an extraction ---------------------------------------------------------


def extracted(full: Path, images: Path, size: str, progress: Silent | None = None) -> Extraction:
    images.mkdir(exist_ok=True)
    draw = np.random.default_rng(len(list(images.iterdir())))
    path = images / f"{len(list(images.iterdir()))}.png"
    Image.fromarray(draw.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(path)
    backbone = open_backbone("timm/test_resnet", weights="random")
    options = EngineOptions(cache_dir=full, cache_size=size)
    return extract([str(path)], backbone, feature_kinds(backbone), options, progress=progress)


def test_an_extraction_keeps_to_the_bound_and_keeps_its_own_features(full: Path, tmp_path: Path):
    told = Silent()
    found = extracted(full, tmp_path / "images", "100", told)
    (kind,) = found.stores
    assert found.matrix(kind, [0]).shape[0] == 1
    assert NEWEST not in names(full)
    assert len([name for name in names(full) if name.startswith("features/")]) == 1
    (note,) = [note for note in told.notes if "size limit" in note]
    said = f"{full}: over its size limit, removed the least recently used (5 folders, "
    assert note.startswith(said)


def test_a_wrong_bound_is_refused_before_any_work(tmp_path: Path):
    with pytest.raises(OffshelfError, match="--cache-size: 'much' is no size"):
        extracted(tmp_path / "cache", tmp_path / "images", "much")
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_makes_the_least_recently_used_go(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write = loop.FeatureStore.flush
    tries: list[int] = []

    def flush(self: FeatureStore) -> None:
        if self._buffer and (tries.append(1) or len(tries) == 1):
            raise StoreError("cannot write features") from OSError(errno.ENOSPC, "No space left")
        write(self)

    monkeypatch.setattr(loop.FeatureStore, "flush", flush)
    found = extracted(full, tmp_path / "images", "none")
    (kind,) = found.stores
    assert found.matrix(kind, [0]).shape[0] == 1
    assert OLDEST not in names(full)


def test_a_disk_that_stays_full_is_the_stores_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def flush(self: FeatureStore) -> None:
        if self._buffer:
            raise StoreError("cannot write features") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(loop.FeatureStore, "flush", flush)
    with pytest.raises(StoreError, match="cannot write features"):
        extracted(tmp_path / "cache", tmp_path / "images", "none")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file", "is a file, no folder"),
        ("file/a/b", "cannot be made: {file} is a file, no folder"),
        ("link", "is a link that leads nowhere"),
        ("link/a", "cannot be made: {link} is a link that leads nowhere"),
        ("round", "cannot be used (Too many levels of symbolic links)"),
        (300 * "a", "cannot be used (File name too long)"),
        ("a\0", "cannot be used (embedded null byte)"),
    ],
)
def test_a_root_that_can_be_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, why: str
):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "round").symlink_to("round")
    named = why.format(file=tmp_path / "file", link=tmp_path / "link")
    given = tmp_path / place
    monkeypatch.delenv(cache.FOLDER_VARIABLE, raising=False)
    with pytest.raises(OffshelfError) as error:
        cache.check_root(given)
    assert str(error.value) == f"{shown(given)}: {named}; choose another with --cache-dir"
    if "\0" not in place:
        monkeypatch.setenv(cache.FOLDER_VARIABLE, str(given))
        with pytest.raises(OffshelfError, match=r"with --cache-dir or OFFSHELF_CACHE_DIR$"):
            cache.check_root()


def test_a_root_that_can_be_made_is_not_made(tmp_path: Path):
    cache.check_root(tmp_path)
    cache.check_root(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_root_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "theirs").mkdir()
    allowed = {os.X_OK}
    monkeypatch.setattr("os.access", lambda _, wanted: wanted in allowed)
    cache.check_root(tmp_path / "theirs")
    with pytest.raises(OffshelfError, match="/theirs gives you no permission; choose another"):
        cache.check_root(tmp_path / "theirs" / "mine")
    allowed.clear()
    with pytest.raises(OffshelfError, match="/theirs: gives you no permission; choose another"):
        cache.check_root(tmp_path / "theirs")
