"""The feature store: addressed by content, whole or absent, shared, and what breaks it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from offshelf import sealed_json
from offshelf.data.decoding.limits import Facts
from offshelf.errors import StoreError
from offshelf.features.store import feature_store as stores
from offshelf.features.store import manifest, part_files
from offshelf.features.store.feature_store import FeatureStore, exists
from offshelf.features.store.part_format import Part, Rows
from offshelf.progress import Silent, notifying

IDENTITY = {"weights": "abc", "layer": "pool5", "pooling": "avg"}
D = 5
FACTS = Facts(width=64, height=48, memory=9216, status="damaged", readable=0.5, assumed="inks")


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row(number: int, version: int = 0) -> NDArray[np.float32]:
    return np.arange(D, dtype=np.float32) + 10 * number + 1000 * version


def rows(numbers: list[int]) -> NDArray[np.float32]:
    return np.stack([row(number) for number in numbers])


def filled(root: Path, groups: list[list[int]]) -> FeatureStore:
    """A store with one part per group."""
    store = FeatureStore(root, IDENTITY, D)
    for group in groups:
        for number in group:
            store.append(digest(number), row(number), FACTS)
        store.flush()
    return store


def files_of(store: FeatureStore, pattern: str) -> list[Path]:
    return sorted(store.folder.glob(pattern))


# --- rows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted", [[0], [0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 2, 2], [4, 0, 4, 1], []]
)
def test_rows_come_in_the_order_asked(tmp_path: Path, wanted: list[int]):
    store = filled(tmp_path, [[3, 1], [4], [0, 2]])
    assert len(files_of(store, "part-*.parquet")) == 3
    for opened in (store, FeatureStore(tmp_path, IDENTITY)):
        found = opened.read([digest(number) for number in wanted])
        assert found.dtype == np.float32
        assert found.shape == (len(wanted), D)
        assert np.array_equal(found, rows(wanted) if wanted else np.empty((0, D)))


def test_what_was_appended_can_be_read_before_it_is_flushed(tmp_path: Path):
    store = FeatureStore(tmp_path, IDENTITY, D)
    store.append(digest(1), row(1), FACTS)
    assert digest(1) in store
    assert digest(2) not in store
    assert len(store) == 1
    assert files_of(store, "part-*") == []
    assert np.array_equal(store.read([digest(1)]), rows([1]))
    assert len(files_of(store, "part-*.parquet")) == len(store) == 1


def test_the_first_row_of_a_hash_stays(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    store.append(digest(1), row(1, version=2), FACTS)
    store.append(digest(2), row(2), FACTS)
    store.append(digest(2), row(2, version=2), FACTS)
    assert len(store) == 2
    assert np.array_equal(store.read([digest(1), digest(2)]), rows([1, 2]))


def test_hashes_with_zeros_at_either_end_are_told_apart(tmp_path: Path):
    odd = [bytes(32), b"\0" * 31 + b"\1", b"\1" + bytes(31), b"\1\1" + bytes(30), b"\xff" * 32]
    store = FeatureStore(tmp_path, IDENTITY, D)
    for number, key in enumerate(odd[:-1]):
        store.append(key, row(number), FACTS)
    store.flush()
    for opened in (store, FeatureStore(tmp_path, IDENTITY)):
        assert [key in opened for key in odd] == [True] * 4 + [False]
        assert np.array_equal(opened.read(odd[:-1]), rows([0, 1, 2, 3]))


def test_a_row_that_is_not_there(tmp_path: Path):
    store = filled(tmp_path, [[1, 2]])
    with pytest.raises(StoreError) as caught:
        store.read([digest(1), digest(7), digest(8)])
    assert str(caught.value) == f"{store.folder}: 2 rows are not in the store; run again"


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["append", "flush", "reopen", "read"]), st.integers(0, 9)),
        max_size=25,
    )
)
def test_any_course_of_events_is_that_of_a_dictionary(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
):
    root = tmp_path_factory.mktemp("store")
    store, expected = FeatureStore(root, IDENTITY, D), {}
    for version, (step, number) in enumerate(steps):
        if step == "append":
            store.append(digest(number), row(number, version), FACTS)
            expected.setdefault(number, row(number, version))
        elif step == "flush":
            store.flush()
        elif step == "reopen":
            store.flush()
            store = FeatureStore(root, IDENTITY)
        elif expected:
            keys = [digest(key) for key in expected]
            assert np.array_equal(store.read(keys), np.stack(list(expected.values())))
        assert len(store) == len(expected)
        assert [number in expected for number in range(10)] == [
            digest(number) in store for number in range(10)
        ]


def test_rows_of_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(part_files, "ROW_GROUP_BYTES", 3 * 4 * D)
    store = filled(tmp_path, [list(range(20)), list(range(20, 31))])
    assert pq.ParquetFile(files_of(store, "part-*")[0]).num_row_groups == 7
    wanted = [30, 0, 19, 2, 3, 20, 7]
    assert np.array_equal(store.read([digest(n) for n in wanted]), rows(wanted))


# --- parts --------------------------------------------------------------------


def test_a_part_is_plain_parquet(tmp_path: Path):
    store = filled(tmp_path, [[1, 2]])
    (part,) = files_of(store, "part-*.parquet")
    frame = pd.read_parquet(part)
    facts = ["width", "height", "memory", "status", "readable", "assumed"]
    assert list(frame.columns) == ["image_sha256", *facts, "features"]
    assert frame[facts].to_numpy().tolist() == [[64, 48, 9216, "damaged", 0.5, "inks"]] * 2
    assert list(frame["image_sha256"]) == [digest(1), digest(2)]
    assert np.array_equal(np.stack(frame["features"]), rows([1, 2]))
    schema = pq.read_schema(part)
    assert schema.field("features").type == pa.list_(pa.float32(), D)
    document = json.loads((store.folder / "manifest.json").read_text())
    assert len(document.pop("seal")) == 64
    assert document == {"schema": manifest.SCHEMA, "identity": IDENTITY, "dimension": D}


def test_a_full_buffer_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stores, "FLUSH_BYTES", 3 * 4 * D)
    store = FeatureStore(tmp_path, IDENTITY, D)
    counts = []
    for number in range(7):
        store.append(digest(number), row(number), FACTS)
        counts.append(len(files_of(store, "part-*.parquet")))
    assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_an_old_buffer_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(stores.time, "monotonic", lambda: now[0])
    store = FeatureStore(tmp_path, IDENTITY, D)
    store.append(digest(1), row(1), FACTS)
    now[0] += stores.FLUSH_SECONDS - 1
    store.append(digest(2), row(2), FACTS)
    assert files_of(store, "part-*.parquet") == []
    now[0] += 2
    store.append(digest(3), row(3), FACTS)
    assert len(files_of(store, "part-*.parquet")) == 1


def test_nothing_to_write_writes_nothing(tmp_path: Path):
    store = FeatureStore(tmp_path, IDENTITY, D)
    store.flush()
    store.flush()
    assert sorted(path.name for path in store.folder.iterdir()) == ["manifest.json", "used"]


def test_a_store_exists_once_it_was_begun(tmp_path: Path):
    assert not exists(tmp_path, IDENTITY)
    FeatureStore(tmp_path, IDENTITY, D)
    assert exists(tmp_path, IDENTITY)
    assert not exists(tmp_path, IDENTITY | {"pooling": "max"})


def test_other_features_are_in_another_folder(tmp_path: Path):
    one = filled(tmp_path, [[1]])
    other = FeatureStore(tmp_path, IDENTITY | {"pooling": "max"}, 2)
    assert one.folder != other.folder
    assert digest(1) not in other


# --- several writers ----------------------------------------------------------


def test_two_stores_see_each_others_rows(tmp_path: Path):
    one, other = filled(tmp_path, [[1]]), FeatureStore(tmp_path, IDENTITY)
    other.append(digest(2), row(2), FACTS)
    other.flush()
    assert digest(2) not in one
    one.refresh()
    assert np.array_equal(one.read([digest(2), digest(1)]), rows([2, 1]))


def test_the_oldest_of_two_rows_wins_for_everybody(tmp_path: Path):
    one, other = FeatureStore(tmp_path, IDENTITY, D), FeatureStore(tmp_path, IDENTITY, D)
    one.append(digest(1), row(1), FACTS)
    other.append(digest(1), row(1, version=3), FACTS)
    one.flush()
    other.flush()
    for store in (one, other, FeatureStore(tmp_path, IDENTITY)):
        store.refresh()
        assert len(store) == 1
        assert np.array_equal(store.read([digest(1)]), rows([1]))


WRITER = """
import hashlib, sys
import numpy as np
from pathlib import Path
from offshelf.data.decoding.limits import Facts
from offshelf.features.store.feature_store import FeatureStore
root, start = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()
store = FeatureStore(root, {"many": "writers"}, 5)
for number in range(start, start + 60):
    row = np.arange(5, dtype=np.float32) + number
    facts = Facts(width=64, height=48)
    store.append(hashlib.sha256(str(number).encode()).digest(), row, facts)
    if number % 7 == 0:
        store.flush()
store.flush()
"""


@pytest.mark.slow
def test_processes_write_into_one_store_at_once(tmp_path: Path):
    starts = [0, 20, 40]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(start)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start in starts
    ]
    results = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        results.append((writer.communicate(timeout=120)[1], writer.returncode))
    assert results == [("", 0)] * 3
    store = FeatureStore(tmp_path, {"many": "writers"})
    assert files_of(store, "*.damaged") == []
    assert len(store) == 100
    expected = np.arange(D, dtype=np.float32) + np.arange(100, dtype=np.float32)[:, None]
    assert np.array_equal(store.read([digest(n) for n in range(100)]), expected)
    assert files_of(store, ".*") == []


# --- damage -------------------------------------------------------------------


def cut(share: float) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"something": [1, 2]}), path)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "cut in the middle": cut(0.5),
    "without its end": cut(0.99),
    "a few bytes": lambda path: path.write_bytes(b"PAR1"),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not parquet at all" * 20),
    "another table": other_columns,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a longer file": lambda path: path.write_bytes(path.read_bytes() + b"PAR1"),
}


def aside(path: Path, why: str = "damaged") -> str:
    return f"{path}: {why}, set aside; its images are extracted again"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_set_aside_and_its_rows_come_again(tmp_path: Path, damage: str):
    groups = [[1, 2], [3, 4], [5]]
    victim = files_of(filled(tmp_path, groups), "part-*.parquet")[1]
    DAMAGES[damage](victim)
    with notifying(told := Silent()):
        store = FeatureStore(tmp_path, IDENTITY)
    assert told.notes == [aside(victim)]
    assert not victim.exists()
    assert victim.with_suffix(".damaged").exists()
    assert [digest(n) in store for n in (1, 2, 3, 4, 5)] == [True, True, False, False, True]
    for number in (3, 4):
        store.append(digest(number), row(number), FACTS)
    store.flush()
    with notifying(told := Silent()):
        again = FeatureStore(tmp_path, IDENTITY)
        everything = [5, 4, 3, 2, 1]
        assert np.array_equal(again.read([digest(n) for n in everything]), rows(everything))
    assert told.notes == []


def changed(path: Path, value: bytes) -> None:
    """Change one byte of *value* in the file."""
    content = path.read_bytes()
    at = content.index(value)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_a_changed_number_makes_every_image_of_its_part_unknown(tmp_path: Path):
    victim, _ = files_of(filled(tmp_path, [[1, 2], [3]]), "part-*.parquet")
    changed(victim, row(2).tobytes())
    with notifying(told := Silent()):
        store = FeatureStore(tmp_path, IDENTITY)
        # The whole part is looked through before the first of its rows is said to be known.
        assert [store.facts(digest(n)) for n in (3, 1, 2)] == [FACTS, None, None]
    assert told.notes == [aside(victim)]
    store.append(digest(1), row(1), FACTS)
    assert np.array_equal(store.read([digest(3), digest(1)]), rows([3, 1]))


def test_a_number_that_changes_meanwhile_is_never_read(tmp_path: Path):
    store = filled(tmp_path, [[1, 2], [3]])
    assert digest(1) in store
    victim = files_of(store, "part-*.parquet")[0]
    changed(victim, row(2).tobytes())
    with pytest.raises(StoreError) as caught:
        store.read([digest(3), digest(1)])
    assert str(caught.value) == (
        f"{victim}: damaged part of the feature store, set aside; run again to extract its"
        " images anew"
    )
    # The next run finds the rows missing, not damaged.
    with notifying(told := Silent()):
        again = FeatureStore(tmp_path, IDENTITY)
        assert [digest(n) in again for n in (1, 2, 3)] == [False, False, True]
    assert told.notes == []


def test_a_part_of_another_store_is_set_aside(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    other = FeatureStore(tmp_path, IDENTITY | {"pooling": "max"}, D)
    other.append(digest(2), row(2), FACTS)
    other.flush()
    (foreign,) = files_of(other, "part-*.parquet")
    stray = store.folder / foreign.name
    stray.write_bytes(foreign.read_bytes())
    with notifying(told := Silent()):
        again = FeatureStore(tmp_path, IDENTITY)
    assert told.notes == [aside(stray, "part of another feature store")]
    assert [digest(1) in again, digest(2) in again] == [True, False]


def test_two_parts_under_each_others_names_are_set_aside(tmp_path: Path):
    one, other = files_of(filled(tmp_path, [[1], [2]]), "part-*.parquet")
    third = one.with_name("swapped")
    one.rename(third)
    other.rename(one)
    third.rename(other)
    with notifying(told := Silent()):
        store = FeatureStore(tmp_path, IDENTITY)
    assert told.notes == [aside(one), aside(other)]
    assert [digest(1) in store, digest(2) in store] == [False, False]


def test_a_part_twice_is_no_damage(tmp_path: Path):
    (part,) = files_of(filled(tmp_path, [[1, 2]]), "part-*.parquet")
    stem, _, end = part.name.rpartition("-")
    part.with_name(f"{stem}9-{end}").write_bytes(part.read_bytes())
    with notifying(told := Silent()):
        store = FeatureStore(tmp_path, IDENTITY)
        assert np.array_equal(store.read([digest(2), digest(1)]), rows([2, 1]))
    assert (told.notes, len(store)) == ([], 2)


def test_damage_that_two_stores_see_is_told_once(tmp_path: Path):
    filled(tmp_path, [[1, 2]])
    one, other = FeatureStore(tmp_path, IDENTITY), FeatureStore(tmp_path, IDENTITY)
    (victim,) = files_of(one, "part-*.parquet")
    changed(victim, row(2).tobytes())
    with notifying(told := Silent()):
        assert one.facts(digest(1)) is None
        assert other.facts(digest(1)) is None
    assert told.notes == [aside(victim)]


def test_a_flush_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = filled(tmp_path, [[1], [2], [3]])
    read: list[Path] = []
    own = part_files.read_part
    monkeypatch.setattr(
        part_files, "read_part", lambda path, key: read.append(path) or own(path, key)
    )
    store.append(digest(4), row(4), FACTS)
    store.flush()
    assert read == files_of(store, "part-*.parquet")[3:]


def test_no_damage_gives_wrong_numbers_or_a_traceback(tmp_path: Path):
    """Every part of the file, cut and changed: set aside, refused by name, or still right."""
    (part,) = files_of(filled(tmp_path, [list(range(30))]), "part-*.parquet")
    good = part.read_bytes()
    draw = np.random.default_rng(0)
    flips = [(int(at), int(draw.integers(1, 256))) for at in draw.integers(0, len(good), 250)]
    contents = [good[:at] + bytes([good[at] ^ bits]) + good[at + 1 :] for at, bits in flips]
    contents += [good[:at] for at in range(0, len(good), 97)]
    refusals: list[str] = []
    for content in contents:
        for leftover in part.parent.glob("part-*"):
            leftover.unlink()
        part.write_bytes(content)
        try:
            store = FeatureStore(tmp_path, IDENTITY)
            known = [number for number in range(30) if digest(number) in store]
            found = store.read([digest(number) for number in known])
        except StoreError as error:
            refusals.append(str(error))
            continue
        assert np.array_equal(found, rows(known) if known else np.empty((0, D)))
    assert all(text.startswith(f"{part}: damaged part") for text in refusals)


def test_a_part_of_another_dimension_is_set_aside(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    wider = Rows([digest(2)], [FACTS], np.ones((1, D + 1), np.float32))
    part_files.write(store.folder, "part-9-0", IDENTITY, wider)
    (odd,) = files_of(store, "part-9-0*")
    with notifying(told := Silent()):
        store.refresh()
    assert told.notes == [aside(odd, f"rows of {D + 1} values, not {D}")]
    assert digest(2) not in store


def test_a_part_that_another_process_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = filled(tmp_path, [[1], [2], [3]])
    victim, second, _ = files_of(store, "part-*.parquet")
    victim.replace(victim.with_suffix(".damaged"))
    with pytest.raises(StoreError) as caught:
        store.read([digest(1), digest(2)])
    assert str(caught.value) == f"{victim}: cannot be read (No such file or directory); run again"
    assert digest(1) not in store
    store.refresh()
    assert [digest(1) in store, digest(2) in store] == [False, True]

    # Both find the damage, and the other one is faster.
    own = part_files.read_part

    def found_by_both(path: Path, key: str) -> Part:
        if path == second:
            path.write_bytes(b"")
            try:
                return own(path, key)
            finally:
                path.unlink()
        return own(path, key)

    monkeypatch.setattr(part_files, "read_part", found_by_both)
    with notifying(told := Silent()):
        assert len(FeatureStore(tmp_path, IDENTITY)) == 1
    assert told.notes == []


def test_a_temporary_file_that_another_process_renames_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = FeatureStore(tmp_path, {"layer": "one"}, dimension=2).folder
    own = Path.glob

    def stale(self: Path, pattern: str):
        gone = [folder / ".gone.tmp"] if pattern.endswith(".tmp") else []
        return [*gone, *own(self, pattern)]

    monkeypatch.setattr(Path, "glob", stale)
    assert len(FeatureStore(tmp_path, {"layer": "one"}, dimension=2)) == 0


@pytest.mark.parametrize("sizes", [(33, 31), (31, 32)])
def test_digests_of_another_length_never_stand_in_a_part(tmp_path: Path, sizes: tuple[int, int]):
    found = Rows([bytes(size) for size in sizes], [FACTS] * 2, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"^a digest is 32 bytes$"):
        part_files.write(tmp_path, "part", IDENTITY, found)
    assert not list(tmp_path.iterdir())


def test_what_the_system_cannot_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (part,) = files_of(filled(tmp_path, [[1]]), "part-*.parquet")

    def no_handles(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pq, "ParquetFile", no_handles)
    with pytest.raises(StoreError) as caught:
        FeatureStore(tmp_path, IDENTITY)
    assert str(caught.value) == f"{part}: cannot be read (Too many open files); run again"
    assert part.is_file()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def an_endless_footer(path: Path) -> None:
    with path.open("wb") as handle:
        handle.truncate(2**33)
        handle.seek(-8, os.SEEK_END)
        handle.write((2**31 - 1).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize(
    "lie", [a_pipe, a_folder, a_link_to_nothing, a_link_to_itself, an_endless_footer]
)
@pytest.mark.parametrize("name", ["part-0-0.parquet", "manifest.json"])
def test_what_is_no_file_is_set_aside_and_not_waited_for(
    tmp_path: Path, lie: Callable[[Path], None], name: str
):
    odd = filled(tmp_path, [[1]]).folder / name
    odd.unlink(missing_ok=True)
    lie(odd)
    with notifying(told := Silent()):
        for _ in range(2):
            store = FeatureStore(tmp_path, IDENTITY)
            assert np.array_equal(store.read([digest(1)]), rows([1]))
    again = "it is made again" if name == manifest.NAME else stores.AGAIN
    assert told.notes == [f"{odd}: damaged, set aside; {again}"]
    assert os.path.lexists(odd.with_suffix(".damaged"))


def denied(*_: Any, **__: Any) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_part_of_another_user_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    secret, part = files_of(filled(tmp_path, [[1], [2]]), "part-*.parquet")
    own = part_files._check_footer
    monkeypatch.setattr(
        part_files, "_check_footer", lambda path: denied() if path == secret else own(path)
    )
    with notifying(told := Silent()):
        store = FeatureStore(tmp_path, IDENTITY)
        store.refresh()
        assert [digest(n) in store for n in (1, 2)] == [False, True]
        store.append(digest(1), row(1), FACTS)
        assert np.array_equal(store.read([digest(1), digest(2)]), rows([1, 2]))
    assert told.notes == [f"{secret}: no permission to read it; {stores.AGAIN}"]
    assert secret.is_file()
    assert part.is_file()


def test_damage_that_nobody_may_set_aside_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    victim, _ = files_of(filled(tmp_path, [[1], [2]]), "part-*.parquet")
    victim.write_bytes(victim.read_bytes()[:-9])
    monkeypatch.setattr(Path, "replace", denied)
    with notifying(told := Silent()):
        store = FeatureStore(tmp_path, IDENTITY)
        for _ in range(3):
            store.refresh()
            assert [digest(n) in store for n in (1, 2)] == [False, True]
    assert told.notes == [aside(victim)]


@pytest.mark.parametrize("name", ["manifest.json", "used"])
def test_a_store_that_only_others_may_write_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    store = filled(tmp_path, [[1], [2]])
    (store.folder / name).unlink()
    (store.folder / ".left.tmp").touch()
    os.utime(store.folder / ".left.tmp", (0, 0))
    for change in ("unlink", "replace"):
        monkeypatch.setattr(Path, change, denied)
    monkeypatch.setattr(manifest, "write", denied)
    found = FeatureStore(tmp_path, IDENTITY, D)
    assert np.array_equal(found.read([digest(2), digest(1)]), rows([2, 1]))
    with pytest.raises(StoreError, match=r"cannot keep features there \(Permission denied\)"):
        FeatureStore(tmp_path, {"layer": "other"}, D)


def test_what_a_killed_process_left_is_swept_when_it_is_old(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    young, old = store.folder / ".a.parquet.tmp", store.folder / ".b.parquet.tmp"
    for path in (young, old):
        path.write_bytes(b"half a part")
    long_ago = time.time() - stores.STALE_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    again = FeatureStore(tmp_path, IDENTITY)
    assert young.exists()
    assert not old.exists()
    assert np.array_equal(again.read([digest(1)]), rows([1]))


# --- a store that cannot be used ----------------------------------------------


def sealed(document: dict[str, Any]) -> Callable[[Path], Any]:
    return lambda path: sealed_json.write(path, document)


WHOLE = {"schema": manifest.SCHEMA, "identity": IDENTITY, "dimension": D}
MANIFESTS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_text(""),
    "no JSON": lambda path: path.write_text("{"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "without a seal": lambda path: path.write_text(json.dumps(WHOLE)),
    "an edited dimension": lambda path: path.write_text(
        path.read_text().replace(f'"dimension": {D}', '"dimension": 7')
    ),
    "an edited identity": lambda path: path.write_text(path.read_text().replace("pool5", "pool4")),
    "of other features": sealed(WHOLE | {"identity": {"layer": "fc6"}}),
    "a wrong dimension": sealed(WHOLE | {"dimension": 7}),
    "a dimension in words": sealed(WHOLE | {"dimension": "many"}),
    "no dimension": sealed(WHOLE | {"dimension": None}),
    "a dimension of nothing": sealed(WHOLE | {"dimension": 0}),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("dimension", [D, None])
@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_damaged_manifest_costs_nothing(tmp_path: Path, damage: str, dimension: int | None):
    folder = filled(tmp_path, [[1], [2]]).folder
    found = (folder / "manifest.json").read_bytes()
    MANIFESTS[damage](folder / "manifest.json")
    with notifying(told := Silent()):
        assert exists(tmp_path, IDENTITY)
        store = FeatureStore(tmp_path, IDENTITY, dimension)
        assert np.array_equal(store.read([digest(2), digest(1)]), rows([2, 1]))
    note = f"{folder / 'manifest.json'}: damaged, set aside; it is made again"
    assert told.notes == [note]
    assert (folder / "manifest.json").read_bytes() == found
    with notifying(told := Silent()):
        FeatureStore(tmp_path, IDENTITY)
    assert told.notes == []


@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_damaged_manifest_without_parts_is_a_store_not_begun(tmp_path: Path, damage: str):
    path = FeatureStore(tmp_path, IDENTITY, D).folder / "manifest.json"
    MANIFESTS[damage](path)
    begun = damage == "a wrong dimension"
    assert exists(tmp_path, IDENTITY) == begun
    if not begun:
        with pytest.raises(StoreError) as caught:
            FeatureStore(tmp_path, IDENTITY)
        assert str(caught.value) == f"{path.parent}: no feature store; run again"
    assert FeatureStore(tmp_path, IDENTITY, D).dimension == D


def test_a_manifest_that_is_gone(tmp_path: Path):
    manifest_path = filled(tmp_path, [[1]]).folder / "manifest.json"
    manifest_path.unlink()
    assert exists(tmp_path, IDENTITY)
    assert digest(1) in FeatureStore(tmp_path, IDENTITY)
    assert manifest_path.is_file()


def test_stores_of_another_schema_are_left_alone(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    old = tmp_path / "0123456789abcdef0123456789abcdef"
    old.mkdir()
    (old / "manifest.json").write_text('{"schema": 1}')
    (tmp_path / "claims").mkdir()
    assert store.folder.name.startswith(f"{manifest.SCHEMA}-")
    assert manifest.outdated(tmp_path) == [old]
    assert digest(1) in FeatureStore(tmp_path, IDENTITY)
    assert (old / "manifest.json").read_text() == '{"schema": 1}'


def test_a_file_in_the_place_of_the_folder(tmp_path: Path):
    (tmp_path / "features").write_text("I was here first")
    with pytest.raises(StoreError) as caught:
        FeatureStore(tmp_path / "features", IDENTITY, D)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/features/")
    assert ": cannot keep features there (" in text
    assert text.endswith("); choose another --cache-dir")
    assert "\n" not in text


def test_a_folder_that_is_lost_while_rows_are_waiting(tmp_path: Path):
    store = FeatureStore(tmp_path / "features", IDENTITY, D)
    store.append(digest(1), row(1), FACTS)
    shutil.rmtree(store.folder)
    store.folder.write_text("a file")
    with pytest.raises(StoreError) as caught:
        store.flush()
    text = str(caught.value)
    assert text.startswith(f"{store.folder}: cannot write features (")
    assert text.endswith("); free space there or choose another --cache-dir")
    # Nothing was lost: where the cause is gone, the same rows are written.
    store.folder.unlink()
    store.flush()
    assert digest(1) in FeatureStore(tmp_path / "features", IDENTITY, D)
    assert np.array_equal(store.read([digest(1)]), rows([1]))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FeatureStore(tmp_path, IDENTITY, D)
    store.append(digest(1), row(1), FACTS)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StoreError) as caught:
        store.flush()
    assert str(caught.value) == (
        f"{store.folder}: cannot write features (No space left on device);"
        " free space there or choose another --cache-dir"
    )
    assert sorted(path.name for path in store.folder.iterdir()) == ["manifest.json", "used"]
