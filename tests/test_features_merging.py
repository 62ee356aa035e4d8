"""A store that grows: parts that are merged, checked once, and never lost on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from offshelf import files
from offshelf.data.decoding.limits import Facts
from offshelf.errors import StoreError
from offshelf.features.store import feature_store as stores
from offshelf.features.store import merging, part_files, part_format
from offshelf.features.store import row_index as indexes
from offshelf.features.store.feature_store import FeatureStore
from offshelf.features.store.part_format import Part, Rows
from offshelf.progress import Silent, notifying
from test_features_store import FACTS, IDENTITY, D, digest, files_of, filled, row, rows


def names(store: FeatureStore) -> list[str]:
    return [path.name for path in files_of(store, "part-*.parquet")]


def content(root: Path, numbers: list[int]) -> NDArray[np.float32]:
    return FeatureStore(root, IDENTITY).read([digest(number) for number in numbers])


@pytest.fixture
def by_threes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are merged when there are three of about one size."""
    monkeypatch.setattr(merging, "MIN_PARTS", 3)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough to be known by their stamps."""
    monkeypatch.setattr(files, "FINE_NS", -(10**12))
    monkeypatch.setattr(files, "COARSE_NS", -(10**12))


def test_small_parts_become_one(tmp_path: Path, by_threes: None):
    store = filled(tmp_path, [[4, 2], [1]])
    before = names(store)
    other = FeatureStore(tmp_path, IDENTITY)
    store.append(digest(9), row(9), Facts(width=1, height=2, assumed="bands"))
    store.flush()
    (merged,) = names(store)
    assert merged not in before
    # Its rows are as old as the oldest of them.
    assert merged.split("-")[1] == before[0].split("-")[1]
    for one in (store, FeatureStore(tmp_path, IDENTITY), other):
        one.refresh()
        assert np.array_equal(one.read([digest(n) for n in (9, 1, 2, 4)]), rows([9, 1, 2, 4]))
        assert [one.facts(digest(n)) for n in (1, 2)] == [FACTS, FACTS]
        assert one.facts(digest(9)) == Facts(width=1, height=2, assumed="bands")
    assert files_of(store, ".*") == []


@pytest.mark.slow
def test_what_is_merged_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    bytes_of = 4 * D
    monkeypatch.setattr(merging, "SIZES", (3 * bytes_of, 9 * bytes_of))
    monkeypatch.setattr(merging, "MERGED_BYTES", 27 * bytes_of)
    monkeypatch.setattr(merging, "MIN_PARTS", 3)
    store = FeatureStore(tmp_path, IDENTITY, D)
    most, written = 0, 0
    own = part_files.write

    def counted(folder: Path, stem: str, identity: dict[str, Any], rows: Rows) -> Path:
        nonlocal written
        written += len(rows.digests)
        return own(folder, stem, identity, rows)

    monkeypatch.setattr(part_files, "write", counted)
    for number in range(200):
        store.append(digest(number), row(number), FACTS)
        store.flush()
        most = max(most, len(names(store)))
    found = [part.size // bytes_of for part in store._index.parts.values()]
    assert max(found) <= 27
    assert (sum(found), most < 30, written <= 3 * 200) == (200, True, True)
    assert np.array_equal(content(tmp_path, list(range(200))), rows(list(range(200))))


def test_a_flush_does_the_same_at_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of files that are opened and rows that are looked at; parts are too large to be merged."""
    monkeypatch.setattr(merging, "SIZES", (0, 0))
    store = FeatureStore(tmp_path, IDENTITY, D)
    opened: list[Path] = []
    looked_at: list[int] = []
    own_read, own_digests = part_files.read_part, Part.digests

    def digests(part: Part) -> list[bytes]:
        looked_at.append(len(part.hashes))
        return own_digests(part)

    monkeypatch.setattr(
        part_files, "read_part", lambda p, key: opened.append(p) or own_read(p, key)
    )
    monkeypatch.setattr(Part, "digests", digests)
    costs = []
    for flush in range(60):
        for number in range(4 * flush, 4 * flush + 4):
            store.append(digest(number), row(number), FACTS)
        opened.clear()
        looked_at.clear()
        store.flush()
        costs.append((len(opened), sum(looked_at)))
    assert set(costs) == {(1, 4)}


def test_features_are_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: None):
    monkeypatch.setattr(part_files, "ROW_GROUP_BYTES", 4 * 4 * D)
    filled(tmp_path, [list(range(10)), list(range(10, 14))])
    checked: list[int] = []
    own = part_format.checksum
    monkeypatch.setattr(part_format, "checksum", lambda m: checked.append(len(m)) or own(m))
    wanted = [digest(number) for number in (13, 2, 9, 3)]
    for _ in range(3):
        store = FeatureStore(tmp_path, IDENTITY)
        assert all(one in store for one in wanted)
        assert np.array_equal(store.read(wanted), rows([13, 2, 9, 3]))
    assert sorted(checked) == [2, 4, 4, 4]


def test_reading_takes_from_the_file_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: None
):
    store = filled(tmp_path, [list(range(100))])
    assert digest(1) in store
    taken: list[int] = []
    own = part_format.Features._as_it_lies

    def as_it_lies(self: part_format.Features, group: int, start: int, end: int) -> Any:
        taken.append(end - start)
        return own(self, group, start, end)

    monkeypatch.setattr(part_format.Features, "_as_it_lies", as_it_lies)
    assert np.array_equal(store.read([digest(n) for n in (12, 10, 11)]), rows([12, 10, 11]))
    assert taken == [3]


@pytest.mark.parametrize("restored", [False, True])
def test_a_part_that_is_touched_is_checked_again(tmp_path: Path, settled: None, restored: bool):
    store = filled(tmp_path, [[1, 2]])
    assert np.array_equal(store.read([digest(1), digest(2)]), rows([1, 2]))
    (victim,) = files_of(store, "part-*.parquet")
    was, whole = victim.stat(), victim.read_bytes()
    time.sleep(0.02)  # a step of the clock
    at = whole.index(row(2).tobytes())
    victim.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    if restored:
        os.utime(victim, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(StoreError, match="damaged part of the feature store"):
        store.read([digest(1)])


def test_a_part_in_many_pages_is_read_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: None
):
    monkeypatch.setattr(part_files, "_ONE_PAGE", 64)
    own = pq.write_table
    monkeypatch.setattr(pq, "write_table", lambda *a, **more: own(*a, **more, write_batch_size=8))
    store = filled(tmp_path, [list(range(300))])
    monkeypatch.undo()
    (part,) = store._index.parts.values()
    assert [digest(n) in store for n in (0, 299, 300)] == [True, True, False]
    for wanted in ([299, 0, 7], list(range(300))):
        assert np.array_equal(store.read([digest(n) for n in wanted]), rows(wanted))
    victim = part.path
    whole = victim.read_bytes()
    at = whole.index(row(299)[-2:].tobytes())
    victim.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with notifying(Silent()):
        assert digest(1) not in FeatureStore(tmp_path, IDENTITY)


# --- several parts with one row ---------------------------------------------------


def test_the_oldest_row_stays_when_parts_are_merged(tmp_path: Path, by_threes: None):
    FeatureStore(tmp_path, IDENTITY, D)
    folder = FeatureStore(tmp_path, IDENTITY).folder
    for stem, numbers in (("part-1-1", [1, 2]), ("part-2-2", [2, 3]), ("part-3-3", [3, 1, 4])):
        version = int(stem[-1])
        matrix = np.stack([row(number, version) for number in numbers])
        written = Rows([digest(n) for n in numbers], [FACTS] * len(numbers), matrix)
        part_files.write(folder, stem, IDENTITY, written)
    store = FeatureStore(tmp_path, IDENTITY)
    expected = np.stack([row(1, 1), row(2, 1), row(3, 2), row(4, 3), row(5)])
    wanted = [digest(number) for number in (1, 2, 3, 4, 5)]
    store.append(digest(5), row(5), FACTS)
    assert np.array_equal(store.read(wanted), expected)
    assert len(names(store)) == 1
    assert len(store._index.parts) == 1
    assert np.array_equal(FeatureStore(tmp_path, IDENTITY).read(wanted), expected)


PLACES = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(PLACES, st.booleans()), max_size=9), draw=st.randoms())
def test_an_index_is_that_of_all_parts_anew(steps: list[tuple[list[int], bool]], draw: Any):
    """Whatever comes and goes in whatever order: the oldest part with a row counts."""
    index = indexes.Index()
    there: dict[Path, Part] = {}
    for step, (numbers, goes) in enumerate(steps):
        path = Path(f"part-{draw.randint(0, 10**6):07d}-{step}")
        hashes = np.frombuffer(b"".join(digest(n) for n in numbers), "S32")
        part = Part(
            path=path, dimension=D, hashes=hashes, facts={}, groups=(), checksums=(), places=()
        )
        gone = {draw.choice(sorted(there))} if goes and there else set()
        index.update([part], gone)
        there = {path: one for path, one in there.items() if path not in gone} | {path: part}
        oldest = [there[path] for path in sorted(there)]
        expected = {
            number: next(
                (p, p.digests().index(digest(number)))
                for p in oldest
                if digest(number) in p.digests()
            )
            for number in range(6)
            if any(digest(number) in p.digests() for p in oldest)
        }
        found = {n: index.find(digest(n)) for n in range(6) if digest(n) in index}
        assert found == expected
        assert len(index) == len(expected)
        kept = {p.path: [int(r) for r in index.kept(p)] for p in oldest}
        assert kept == {p.path: sorted(r for q, r in expected.values() if q is p) for p in oldest}


# --- ended on the way, and others at the same time ---------------------------------


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_who_is_ended_while_merging_loses_nothing(
    tmp_path: Path, by_threes: None, monkeypatch: pytest.MonkeyPatch, removed: int
):
    store = filled(tmp_path, [[1, 2], [3]])
    own, left = Path.unlink, [removed]

    def killed(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".parquet":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        own(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    store.append(digest(4), row(4), FACTS)
    with pytest.raises(KeyboardInterrupt):
        store.flush()
    monkeypatch.setattr(Path, "unlink", own)
    assert len(names(store)) == 4 - removed
    wanted = [4, 3, 2, 1]
    assert np.array_equal(content(tmp_path, wanted), rows(wanted))
    # What it left goes with the next merging.
    again = FeatureStore(tmp_path, IDENTITY)
    for number in (5, 6, 7):
        again.append(digest(number), row(number), FACTS)
        again.flush()
    assert np.array_equal(content(tmp_path, [*wanted, 5, 6, 7]), rows([*wanted, 5, 6, 7]))
    assert len(names(again)) <= 2
    assert sum(len(part.hashes) for part in again._index.parts.values()) == 7


def test_merging_the_rows_of_one_part_alone_removes_nothing_of_them(
    tmp_path: Path, by_threes: None
):
    """The larger part may have the very name of one of the small ones."""
    store = FeatureStore(tmp_path, IDENTITY, D)
    for stem in (f"part-1-{os.getpid()}", "part-2-2", "part-3-3"):
        written = Rows([digest(1)], [FACTS], rows([1]))
        part_files.write(store.folder, stem, IDENTITY, written)
    store.refresh()
    store.append(digest(2), row(2), FACTS)
    store.flush()
    assert np.array_equal(content(tmp_path, [2, 1]), rows([2, 1]))
    assert len(names(store)) == 1


def test_a_store_that_is_open_finds_rows_where_they_went(tmp_path: Path, by_threes: None):
    store = filled(tmp_path, [[1, 2], [3]])
    other = FeatureStore(tmp_path, IDENTITY)
    unseen = FeatureStore(tmp_path, IDENTITY)
    assert digest(1) in other
    store.append(digest(4), row(4), FACTS)
    store.flush()
    assert len(names(store)) == 1
    assert np.array_equal(other.read([digest(3), digest(1)]), rows([3, 1]))
    assert unseen.facts(digest(3)) == FACTS


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EBUSY, errno.EROFS])
def test_parts_that_cannot_be_removed_are_merged_once(
    tmp_path: Path, by_threes: None, monkeypatch: pytest.MonkeyPatch, number: int
):
    """As those of another user in a folder in which each may remove their own alone."""
    store = filled(tmp_path, [[1], [2]])
    theirs = set(names(store))
    own = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.name in theirs:
            raise OSError(number, os.strerror(number))
        own(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    for image in range(3, 20):
        store.append(digest(image), row(image), FACTS)
        store.flush()
        assert theirs < set(names(store))
        assert len(names(store)) <= 2 + 3
    assert sum(len(part.hashes) for part in store._index.parts.values()) <= 19 + 2
    assert np.array_equal(content(tmp_path, list(range(1, 20))), rows(list(range(1, 20))))


def test_one_process_at_a_time_merges(tmp_path: Path, by_threes: None):
    store = filled(tmp_path, [[1], [2]])
    with merging.turn(store.folder) as mine:
        assert mine
        store.append(digest(3), row(3), FACTS)
        store.flush()
        assert len(names(store)) == 3
    store.append(digest(4), row(4), FACTS)
    store.flush()
    assert len(names(store)) == 1


def test_a_damaged_part_is_not_merged(tmp_path: Path, by_threes: None):
    store = filled(tmp_path, [[1, 2], [3]])
    victim = files_of(store, "part-*.parquet")[0]
    whole = victim.read_bytes()
    at = whole.index(row(2).tobytes())
    victim.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with notifying(told := Silent()):
        store.append(digest(4), row(4), FACTS)
        store.flush()
    assert told.notes == [f"{victim}: damaged, set aside; its images are extracted again"]
    assert [digest(n) in store for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert np.array_equal(store.read([digest(4), digest(3)]), rows([4, 3]))


def test_a_full_disk_leaves_parts_as_they_are(
    tmp_path: Path, by_threes: None, monkeypatch: pytest.MonkeyPatch
):
    store = filled(tmp_path, [[1, 2], [3]])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging, "rewrite", full)
    store.append(digest(4), row(4), FACTS)
    store.flush()
    assert len(names(store)) == 3
    assert np.array_equal(content(tmp_path, [4, 3, 2, 1]), rows([4, 3, 2, 1]))


GROWING = """
import hashlib, sys
import numpy as np
from pathlib import Path
from offshelf.data.decoding.limits import Facts
from offshelf.features.store import merging
from offshelf.features.store.feature_store import FeatureStore
merging.MIN_PARTS = 3
store = FeatureStore(Path(sys.argv[1]), {"weights": "abc", "layer": "pool5", "pooling": "avg"}, 5)
print(-1, flush=True)
for number in range(int(sys.argv[2]), 100_000, 3):
    row = np.arange(5, dtype=np.float32) + 10 * number
    facts = Facts(width=64, height=48, memory=9216, status="damaged", readable=0.5, assumed="inks")
    store.append(hashlib.sha256(str(number).encode()).digest(), row, facts)
    store.flush()
    print(number, flush=True)
"""


@pytest.mark.slow
def test_processes_that_are_killed_while_they_merge_lose_nothing(tmp_path: Path):
    for round_ in range(2):
        command = [sys.executable, "-c", GROWING, str(tmp_path)]
        writers = [
            subprocess.Popen([*command, str(3000 * round_ + k)], stdout=subprocess.PIPE, text=True)
            for k in range(3)
        ]
        written: list[int] = []
        for writer in writers:
            assert writer.stdout is not None
            written += [int(writer.stdout.readline()) for _ in range(13)][1:]
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            written += [int(line) for line in writer.communicate(timeout=60)[0].split("\n")[:-1]]
        with notifying(told := Silent()):
            assert np.array_equal(content(tmp_path, written), rows(written))
        assert told.notes == []
    store = FeatureStore(tmp_path, IDENTITY)
    assert len(names(store)) < 40
    assert stores.FLUSH_BYTES >= merging.MERGED_BYTES
