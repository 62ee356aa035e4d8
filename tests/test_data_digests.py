"""Files that have not changed are not read again; those that may have changed are."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from offshelf import files, locks
from offshelf.backbones.specification.spec import InputSpec
from offshelf.cache import digests_folder, entries, keep_to
from offshelf.data import digests
from offshelf.data.decoding import limits as image_limits
from offshelf.data.decoding.limits import Facts, Limits, read_stamped
from offshelf.data.digests import Digests
from offshelf.features import reader
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import Digested, KnownFiles, ReadOptions, read_ahead
from offshelf.jobs.cleaning import clean
from offshelf.progress import Silent, notifying

COUNT = 10
FACTS = Facts(width=8, height=8)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was just written is old enough."""
    monkeypatch.setattr(files, "FINE_NS", -(10**12))
    monkeypatch.setattr(files, "COARSE_NS", -(10**12))


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    draw = np.random.default_rng(0)
    paths = []
    for number in range(COUNT):
        path = tmp_path / "images" / str(number % 2) / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, by name."""
    found: list[str] = []
    own = reader.read_stamped

    def counted(path: str, *rest: Any) -> Any:
        found.append(Path(path).name)
        return own(path, *rest)

    monkeypatch.setattr(reader, "read_stamped", counted)
    return found


def job(
    paths: list[str], cache: Path, *, rehash: bool = False, limits: Limits | None = None
) -> list[Digested]:
    """Read as a job does whose stores hold all features."""
    found = Digests(cache, paths, rehash)
    options = ReadOptions(workers=2, limits=limits or Limits(), rehash=rehash)
    unread = KnownFiles(found, lambda _: FACTS)
    spec = InputSpec(size=8)
    items = list(read_ahead(paths, lambda _: FACTS, spec, options, Stopwatch(), unread))
    found.keep()
    return items


def right(items: list[Digested], paths: list[str]) -> bool:
    held = [hashlib.sha256(Path(path).read_bytes()).digest() for path in paths]
    return [item.digest for item in items] == held and [item.path for item in items] == paths


def test_what_has_not_changed_is_not_read_again(images: list[str], tmp_path: Path, read: list[str]):
    cache = tmp_path / "cache"
    first = job(images, cache)
    assert right(first, images)
    assert len(read) == COUNT
    read.clear()
    assert job(images, cache) == first
    # Relative to a folder they are the same files.
    assert read == []
    assert job([*images, images[3]], cache)[:-1] == first
    assert read == []


def test_relative_paths_are_those_of_the_folder_one_is_in(
    images: list[str], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    cache, other = tmp_path / "cache", tmp_path / "other"
    shutil.copytree(tmp_path / "images", other)
    for path in other.rglob("*.bmp"):
        path.write_bytes(path.read_bytes()[::-1])
    relative = [os.path.relpath(path, tmp_path / "images") for path in images]
    for folder in (tmp_path / "images", other):
        monkeypatch.chdir(folder)
        read.clear()
        assert right(job(relative, cache), relative)
        assert len(read) == COUNT
    monkeypatch.chdir(tmp_path / "images")
    read.clear()
    assert right(job(relative, cache), relative)
    assert right(job(images, cache), images)
    assert read == []


def in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def replaced(path: Path, content: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(content)
    new.replace(path)


def removed(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def linked(path: Path, content: bytes) -> None:
    target = path.with_suffix(".target")
    target.write_bytes(content)
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, Callable[[Path, bytes], None]] = {
    "in place": in_place,
    "replaced": replaced,
    "removed and made": removed,
    "a link to another": linked,
}


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_other_bytes_of_the_same_size_are_seen(
    change: str, restored: bool, images: list[str], tmp_path: Path, read: list[str]
):
    cache = tmp_path / "cache"
    job(images, cache)
    victim = Path(images[4])
    was, content = victim.stat(), bytearray(victim.read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)  # a step of the clock
    CHANGES[change](victim, bytes(content))
    if restored:
        os.utime(victim, ns=(was.st_atime_ns, was.st_mtime_ns))
    read.clear()
    assert right(job(images, cache), images)
    assert read == [victim.name]


def test_a_link_that_leads_elsewhere(images: list[str], tmp_path: Path, read: list[str]):
    cache, link = tmp_path / "cache", tmp_path / "images" / "link"
    link.symlink_to("0")
    paths = [str(link / Path(path).name) for path in images[::2]] + images[::2]
    assert right(job(paths, cache), paths)
    shutil.copytree(tmp_path / "images" / "0", tmp_path / "images" / "2")
    for path in (tmp_path / "images" / "2").iterdir():
        path.write_bytes(path.read_bytes()[::-1])
    link.unlink()
    link.symlink_to("2")
    read.clear()
    assert right(job(paths, cache), paths)
    assert len(read) == COUNT // 2


def test_a_file_that_is_gone_or_may_not_be_read(images: list[str], tmp_path: Path):
    cache = tmp_path / "cache"
    job(images, cache)
    Path(images[0]).unlink()
    Path(images[1]).unlink()
    Path(images[1]).mkdir()
    assert [item.status for item in job(images, cache)[:3]] == ["missing", "unreadable", "ok"]


def test_limits_hold_for_files_that_are_not_read(images: list[str], tmp_path: Path):
    size = Path(images[0]).stat().st_size
    for limits in (Limits(max_bytes=size - 1), Limits(max_pixels=63), Limits()):
        items = [job(images, tmp_path / cache, limits=limits) for cache in ("one", "one", "two")]
        job(images, tmp_path / "two")
        assert items[0] == items[1] == items[2] == job(images, tmp_path / "two", limits=limits)


def test_rehash_reads_everything_and_says_what_had_changed(
    images: list[str], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "cache"
    job(images, cache)
    read.clear()
    assert right(job(images, cache, rehash=True), images)
    assert len(read) == COUNT
    # As if a disk had changed a byte and nobody had been told.
    own = image_limits._read_regular
    odd = Path(images[2]).name

    def changed(path: str, limits: Limits) -> Any:
        found, before, after = own(path, limits)
        return (found[:-1] + b"!" if Path(path).name == odd else found), before, after

    monkeypatch.setattr(image_limits, "_read_regular", changed)
    found = Digests(cache, images, rehash=True)
    for path in images:
        held, stamp = read_stamped(path)
        assert stamp is not None
        found.note(path, stamp, hashlib.sha256(held).digest())
    assert found.changed == [images[2]]
    found.keep()
    known = Digests(cache, images).find(images[2])
    assert known is not None
    assert known[0] == hashlib.sha256(Path(images[2]).read_bytes()[:-1] + b"!").digest()


def test_a_few_files_are_read_each_time(images: list[str], tmp_path: Path, read: list[str]):
    few = images[: digests.MIN_FILES - 1]
    for _ in range(2):
        job(few, tmp_path / "cache")
    assert len(read) == 2 * len(few)
    assert not (tmp_path / "cache").exists()


# --- what may have changed without a trace is not kept ----------------------------


@pytest.mark.parametrize(("age_ns", "kept"), [(10**7, False), (10**9, True)])
def test_what_was_changed_just_before_it_was_read_is_not_kept(
    age_ns: int, kept: bool, images: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()
    changed = Path(images[0]).stat().st_ctime_ns
    assert changed % files._TELLS_NANOSECONDS
    monkeypatch.setattr(image_limits.time, "time_ns", lambda: changed + age_ns)
    assert (read_stamped(images[0])[1] is not None) == kept


def test_clocks_that_tell_no_nanoseconds_or_differ(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    second = 10**9
    for age, fine, coarse in ((0.05, False, False), (1, True, False), (4, True, True)):
        at = 100 * second + int(age * second)
        assert files.Stamp(1, 50 * second, 100 * second + 1, 1).is_settled(at + 1) == fine
        assert files.Stamp(1, 50 * second, 100 * second, 1).is_settled(at) == coarse
    # From the future by either of its times.
    assert not files.Stamp(1, 900 * second + 1, 100 * second + 1, 1).is_settled(200 * second)
    assert not files.Stamp(1, 100 * second + 1, 900 * second + 1, 1).is_settled(200 * second)


def test_what_changes_while_it_is_read_is_not_kept(
    images: list[str], monkeypatch: pytest.MonkeyPatch
):
    own = os.fstat
    seen: list[int] = []

    def fstat(descriptor: int) -> os.stat_result:
        seen.append(descriptor)
        if len(seen) == 2:
            time.sleep(0.02)
            Path(images[0]).touch()
        return own(descriptor)

    monkeypatch.setattr(image_limits.os, "fstat", fstat)
    assert read_stamped(images[0])[1] is None
    assert len(seen) == 2


# --- on disk -------------------------------------------------------------------


def the_file(cache: Path) -> Path:
    (file,) = digests_folder(cache).glob(f"*/{digests.NAME}")
    return file


def test_two_processes_keep_what_both_have_read(images: list[str], tmp_path: Path, read: list[str]):
    cache = tmp_path / "cache"
    job(images, cache)
    the_file(cache).unlink()
    one, other = Digests(cache, images), Digests(cache, images)
    for number, path in enumerate(images):
        held, stamp = read_stamped(path)
        assert stamp is not None
        (one if number % 2 else other).note(path, stamp, hashlib.sha256(held).digest())
    one.keep()
    other.keep()
    read.clear()
    assert right(job(images, cache), images)
    assert read == []
    assert not list(the_file(cache).parent.glob(".*"))


def test_what_was_read_last_stays(
    images: list[str], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "cache"
    monkeypatch.setattr(digests, "MAX_RECORDS", 12)
    more = []
    for number in range(COUNT):
        path = tmp_path / "images" / str(number % 2) / f"more-{number}.bmp"
        shutil.copy(images[number], path)
        more.append(str(path))
    job(images, cache)
    job(more, cache)
    read.clear()
    job(more, cache)
    assert read == []
    job(images, cache)
    assert len(read) == COUNT - 2


def test_damage_is_said_once_and_the_files_are_read_again(
    images: list[str], tmp_path: Path, read: list[str]
):
    cache = tmp_path / "cache"
    job(images, cache)
    file = the_file(cache)
    whole = file.read_bytes()
    note = f"{file}: damaged, set aside; its images are read again"
    draw = np.random.default_rng(0)
    damages = [b"", whole[:-1], whole + b"\0", bytes(len(whole)), whole[:-72]]
    for at in draw.integers(0, len(whole), 60).tolist():
        damages.append(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
    for damage in damages:
        file.write_bytes(damage)
        read.clear()
        with notifying(told := Silent()):
            assert right(job(images, cache), images)
            assert len(read) == COUNT
            assert right(job(images, cache), images)
            assert len(read) == COUNT
        assert told.notes == [note]
        assert file.with_suffix(".damaged").exists()


def a_pipe(file: Path) -> None:
    os.mkfifo(file)


def a_device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def an_endless_file(file: Path) -> None:
    with file.open("wb") as handle:
        handle.truncate(2**42)


@pytest.mark.parametrize("lie", [a_pipe, a_device, an_endless_file])
def test_what_is_no_file_of_hashes_is_not_waited_for(
    images: list[str], tmp_path: Path, read: list[str], lie: Callable[[Path], None]
):
    cache = tmp_path / "cache"
    job(images, cache)
    file = the_file(cache)
    file.unlink()
    lie(file)
    read.clear()
    with notifying(told := Silent()):
        for _ in range(2):
            assert right(job(images, cache), images)
    assert len(read) == COUNT
    assert told.notes == [f"{file}: damaged, set aside; its images are read again"]


def test_one_in_the_place_of_another_is_not_believed(images: list[str], tmp_path: Path):
    cache = tmp_path / "cache"
    job(images, cache)
    mine = the_file(cache)
    other = digests.folder_of(cache, "elsewhere") / digests.NAME
    other.parent.mkdir()
    other.write_bytes(mine.read_bytes())
    with notifying(told := Silent()):
        assert digests.read_records(other) is None
        assert digests.read_records(mine) is not None
    assert told.notes == [f"{other}: damaged, set aside; its images are read again"]


def test_a_cache_that_cannot_be_written(images: list[str], tmp_path: Path, read: list[str]):
    (tmp_path / "cache").write_text("a file")
    for _ in range(2):
        assert right(job(images, tmp_path / "cache"), images)
    assert len(read) == 2 * COUNT


def test_it_is_part_of_the_cache(images: list[str], tmp_path: Path):
    cache = tmp_path / "cache"
    job(images, cache)
    (entry,) = entries(cache)
    assert (entry.kind, entry.folder, entry.size) == (
        "digests",
        the_file(cache).parent,
        16 + 32 + 72 * COUNT,
    )
    (entry.folder / "digests.damaged").write_bytes(b"d" * 7)
    (entry.folder / ".digests.bin.lock").touch()
    found = [(one.kind, one.count, one.size) for one in clean(cache).removals]
    assert found == [("damaged files", 1, 7), ("claims and locks", 1, 0)]
    held = locks.Lock(entry.folder / "used")
    assert held.take(shared=True)
    assert keep_to(cache, 0).entries == ()
    held.release(remove=False)
    assert [one.kind for one in keep_to(cache, 0).entries] == ["digests"]
    assert entries(cache) == []


@pytest.mark.parametrize("name", ["\udcff.png", "nul\0.png", "a" * 5000])
def test_names_of_any_kind(name: str, images: list[str], tmp_path: Path):
    paths = [*images, str(tmp_path / "images" / name), ""]
    for _ in range(2):
        items = job(paths, tmp_path / "cache")
        assert right(items[:COUNT], images)
        assert [item.status == "ok" for item in items] == [True] * COUNT + [False] * 2


def test_a_working_folder_that_is_gone(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for _ in range(2):
        assert right(job([*images, images[0]], tmp_path / "cache"), [*images, images[0]])
