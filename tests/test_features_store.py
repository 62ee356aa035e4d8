"""The feature store: addressed by content, whole or absent, shared, and what breaks it."""

from __future__ import annotations

import hashlib
import json
import os
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

from offshelf.errors import StoreError
from offshelf.features import parts
from offshelf.features import store as stores
from offshelf.features.store import FeatureStore, exists

IDENTITY = {"weights": "abc", "layer": "pool5", "pooling": "avg"}
D = 5


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
            store.append(digest(number), row(number))
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
    store.append(digest(1), row(1))
    assert digest(1) in store
    assert digest(2) not in store
    assert len(store) == 1
    assert files_of(store, "part-*") == []
    assert np.array_equal(store.read([digest(1)]), rows([1]))
    assert len(files_of(store, "part-*.parquet")) == len(store) == 1


def test_the_first_row_of_a_hash_stays(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    store.append(digest(1), row(1, version=2))
    store.append(digest(2), row(2))
    store.append(digest(2), row(2, version=2))
    assert len(store) == 2
    assert np.array_equal(store.read([digest(1), digest(2)]), rows([1, 2]))


def test_hashes_with_zeros_at_either_end_are_told_apart(tmp_path: Path):
    odd = [bytes(32), b"\0" * 31 + b"\1", b"\1" + bytes(31), b"\1\1" + bytes(30), b"\xff" * 32]
    store = FeatureStore(tmp_path, IDENTITY, D)
    for number, key in enumerate(odd[:-1]):
        store.append(key, row(number))
    store.flush()
    for opened in (store, FeatureStore(tmp_path, IDENTITY)):
        assert [key in opened for key in odd] == [True] * 4 + [False]
        assert np.array_equal(opened.read(odd[:-1]), rows([0, 1, 2, 3]))


def test_a_row_that_is_not_there(tmp_path: Path):
    store = filled(tmp_path, [[1, 2]])
    with pytest.raises(StoreError) as caught:
        store.read([digest(1), digest(7), digest(8)])
    assert str(caught.value) == f"{store.folder}: 2 rows are not in the store"


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
            store.append(digest(number), row(number, version))
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
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 3 * 4 * D)
    store = filled(tmp_path, [list(range(20)), list(range(20, 31))])
    assert pq.ParquetFile(files_of(store, "part-*")[0]).num_row_groups == 7
    wanted = [30, 0, 19, 2, 3, 20, 7]
    assert np.array_equal(store.read([digest(n) for n in wanted]), rows(wanted))


# --- parts --------------------------------------------------------------------


def test_a_part_is_plain_parquet(tmp_path: Path):
    store = filled(tmp_path, [[1, 2]])
    (part,) = files_of(store, "part-*.parquet")
    frame = pd.read_parquet(part)
    assert list(frame.columns) == ["image_sha256", "features"]
    assert list(frame["image_sha256"]) == [digest(1), digest(2)]
    assert np.array_equal(np.stack(frame["features"]), rows([1, 2]))
    schema = pq.read_schema(part)
    assert schema.field("features").type == pa.list_(pa.float32(), D)
    assert json.loads((store.folder / "manifest.json").read_text()) == {
        "schema": 1,
        "identity": IDENTITY,
        "dimension": D,
    }


def test_a_full_buffer_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stores, "FLUSH_BYTES", 3 * 4 * D)
    store = FeatureStore(tmp_path, IDENTITY, D)
    counts = []
    for number in range(7):
        store.append(digest(number), row(number))
        counts.append(len(files_of(store, "part-*.parquet")))
    assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_an_old_buffer_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(stores.time, "monotonic", lambda: now[0])
    store = FeatureStore(tmp_path, IDENTITY, D)
    store.append(digest(1), row(1))
    now[0] += stores.FLUSH_SECONDS - 1
    store.append(digest(2), row(2))
    assert files_of(store, "part-*.parquet") == []
    now[0] += 2
    store.append(digest(3), row(3))
    assert len(files_of(store, "part-*.parquet")) == 1


def test_nothing_to_write_writes_nothing(tmp_path: Path):
    store = FeatureStore(tmp_path, IDENTITY, D)
    store.flush()
    store.flush()
    assert [path.name for path in store.folder.iterdir()] == ["manifest.json"]


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
    other.append(digest(2), row(2))
    other.flush()
    assert digest(2) not in one
    one.refresh()
    assert np.array_equal(one.read([digest(2), digest(1)]), rows([2, 1]))


def test_the_oldest_of_two_rows_wins_for_everybody(tmp_path: Path):
    one, other = FeatureStore(tmp_path, IDENTITY, D), FeatureStore(tmp_path, IDENTITY, D)
    one.append(digest(1), row(1))
    other.append(digest(1), row(1, version=3))
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
from offshelf.features.store import FeatureStore
root, start = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()
store = FeatureStore(root, {"many": "writers"}, 5)
for number in range(start, start + 60):
    row = np.arange(5, dtype=np.float32) + number
    store.append(hashlib.sha256(str(number).encode()).digest(), row)
    if number % 7 == 0:
        store.flush()
store.flush()
"""


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
    assert store.damaged == []
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
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_set_aside_and_its_rows_come_again(tmp_path: Path, damage: str):
    groups = [[1, 2], [3, 4], [5]]
    victim = files_of(filled(tmp_path, groups), "part-*.parquet")[1]
    DAMAGES[damage](victim)
    store = FeatureStore(tmp_path, IDENTITY)
    assert store.damaged == [victim.name]
    assert not victim.exists()
    assert victim.with_suffix(".damaged").exists()
    assert [digest(n) in store for n in (1, 2, 3, 4, 5)] == [True, True, False, False, True]
    for number in (3, 4):
        store.append(digest(number), row(number))
    again = FeatureStore(tmp_path, IDENTITY)
    assert again.damaged == []
    store.flush()
    again.refresh()
    everything = [5, 4, 3, 2, 1]
    assert np.array_equal(again.read([digest(n) for n in everything]), rows(everything))


def test_a_changed_number_is_never_read(tmp_path: Path):
    store = filled(tmp_path, [[1, 2], [3]])
    victim = files_of(store, "part-*.parquet")[0]
    content = victim.read_bytes()
    at = content.index(row(2).tobytes())
    victim.write_bytes(content[:at] + b"\7" + content[at + 1 :])
    assert digest(1) in FeatureStore(tmp_path, IDENTITY)
    with pytest.raises(StoreError) as caught:
        store.read([digest(3), digest(1)])
    assert str(caught.value) == (
        f"{victim}: damaged part of the feature store, set aside; run again to extract its"
        " images anew"
    )
    # The next run finds the rows missing, not damaged.
    again = FeatureStore(tmp_path, IDENTITY)
    assert [digest(n) in again for n in (1, 2, 3)] == [False, False, True]
    assert again.damaged == []


def test_no_damage_gives_wrong_numbers_or_a_traceback(tmp_path: Path):
    """Every part of the file, cut and changed: set aside, refused by name, or still right."""
    (part,) = files_of(filled(tmp_path, [list(range(30))]), "part-*.parquet")
    good = part.read_bytes()
    draw = np.random.default_rng(0)
    changed = [(int(at), int(draw.integers(1, 256))) for at in draw.integers(0, len(good), 250)]
    contents = [good[:at] + bytes([good[at] ^ bits]) + good[at + 1 :] for at, bits in changed]
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


def test_a_part_of_another_dimension_is_refused(tmp_path: Path):
    store = filled(tmp_path, [[1]])
    odd = store.folder / "part-0-0.parquet"
    parts.write(odd, [digest(2)], np.ones((1, D + 1), np.float32))
    store.refresh()
    with pytest.raises(StoreError, match=r"part-0-0\.parquet: damaged part"):
        store.read([digest(2)])


def test_a_part_that_another_process_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = filled(tmp_path, [[1], [2]])
    victim = files_of(store, "part-*.parquet")[0]
    victim.replace(victim.with_suffix(".damaged"))
    with pytest.raises(StoreError) as caught:
        store.read([digest(1), digest(2)])
    assert str(caught.value) == f"{victim}: cannot be read (No such file or directory); run again"
    store.refresh()
    assert [digest(1) in store, digest(2) in store] == [False, True]

    # Both find the damage, and the other one is faster.
    def found_by_both(path: Path) -> None:
        path.unlink()

    monkeypatch.setattr(parts, "read_hashes", found_by_both)
    store.refresh()
    assert len(store) == 0


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
    path = tmp_path / "part.parquet"
    with pytest.raises(ValueError, match=r"^a digest is 32 bytes$"):
        parts.write(path, [bytes(size) for size in sizes], np.zeros((2, 3), np.float32))
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


@pytest.mark.parametrize(
    ("content", "dimension", "message"),
    [
        ("", D, "no manifest of a feature store; delete this folder"),
        ("{", D, "no manifest of a feature store; delete this folder"),
        ("[1, 2]", D, "no manifest of a feature store; delete this folder"),
        ('{"schema": 1}', D, "no manifest of a feature store; delete this folder"),
        (
            {"schema": 1, "identity": {"layer": "fc6"}, "dimension": D},
            D,
            "belongs to other features; delete this folder",
        ),
        (
            {"schema": 2, "identity": IDENTITY, "dimension": D},
            None,
            "belongs to other features; delete this folder",
        ),
        (
            {"schema": 1, "identity": IDENTITY, "dimension": 7},
            D,
            "dimension 7, expected 5; delete this folder",
        ),
        (
            {"schema": 1, "identity": IDENTITY, "dimension": "many"},
            None,
            "no manifest of a feature store; delete this folder",
        ),
        (
            {"schema": 1, "identity": IDENTITY, "dimension": None},
            None,
            "no manifest of a feature store; delete this folder",
        ),
    ],
)
def test_another_manifest(tmp_path: Path, content: Any, dimension: int | None, message: str):
    manifest = filled(tmp_path, [[1]]).folder / "manifest.json"
    manifest.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(StoreError) as caught:
        FeatureStore(tmp_path, IDENTITY, dimension)
    assert str(caught.value) == f"{manifest}: {message}"


def test_a_manifest_that_is_gone(tmp_path: Path):
    manifest = filled(tmp_path, [[1]]).folder / "manifest.json"
    manifest.unlink()
    with pytest.raises(StoreError, match="no manifest of a feature store; delete this folder"):
        FeatureStore(tmp_path, IDENTITY)
    # Whoever knows the dimension writes it again, and the rows are there.
    assert digest(1) in FeatureStore(tmp_path, IDENTITY, D)


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
    store.append(digest(1), row(1))
    (store.folder / "manifest.json").unlink()
    store.folder.rmdir()
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
    store.append(digest(1), row(1))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StoreError) as caught:
        store.flush()
    assert str(caught.value) == (
        f"{store.folder}: cannot write features (No space left on device);"
        " free space there or choose another --cache-dir"
    )
    assert [path.name for path in store.folder.iterdir()] == ["manifest.json"]
