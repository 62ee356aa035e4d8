"""Whole or absent; and what a killed process left goes, where it is certainly ours."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from offshelf import files
from offshelf.data.tables.delimited import read_csv
from offshelf.errors import DataError
from offshelf.files import (
    atomic_path,
    leftover_files,
    leftover_folders,
    put,
    temporary_folder,
    write_bytes,
)
from offshelf.locks import Lock, is_held
from offshelf.text import shown

KILLED = """
import os, sys
from pathlib import Path
from offshelf.files import atomic_path, temporary_folder
kind, place = sys.argv[1:]
if kind == "file":
    with atomic_path(Path(place)) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), 9)
with temporary_folder(Path(place)) as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""


def killed(kind: str, place: Path) -> None:
    """Let a process be killed while it writes *place*."""
    done = subprocess.run([sys.executable, "-c", KILLED, kind, str(place)], check=False)
    assert done.returncode == -9


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_writers_file_goes_with_the_next_write_to_the_same_target(tmp_path: Path):
    killed("file", tmp_path / "my.offshelf")
    killed("file", tmp_path / "other.offshelf")
    assert len(leftover_files(tmp_path)) == 2
    write_bytes(tmp_path / "my.offshelf", b"whole")
    (left,) = leftover_files(tmp_path)
    assert names(tmp_path) == sorted([left.name, "my.offshelf"])
    write_bytes(tmp_path / "other.offshelf", b"whole")
    assert names(tmp_path) == ["my.offshelf", "other.offshelf"]


def test_a_living_writers_file_stays(tmp_path: Path):
    with atomic_path(tmp_path / "a") as first:
        first.write_text("first")
        write_bytes(tmp_path / "a", b"second")
        assert leftover_files(tmp_path) == []
    assert (tmp_path / "a").read_text() == "first"
    assert names(tmp_path) == ["a"]


def test_nothing_of_a_persons_is_ever_taken_for_ours(tmp_path: Path):
    killed("file", tmp_path / "a")
    (ours,) = leftover_files(tmp_path)
    kept = [
        ".offshelf.tmp",
        ".offshelf-notes.tmp",
        f"{ours.name}.txt",
        ours.name.removeprefix("."),
        ".a.tmp",
        ".0123456789abcdef0123456789abcdef.tmp",
    ]
    for name in kept:
        (tmp_path / name).write_text("a person's")
    (tmp_path / ours.name.replace(".tmp", "")).mkdir()
    ours.unlink()
    ours.symlink_to(tmp_path / ".a.tmp")
    before = names(tmp_path)
    write_bytes(tmp_path / "a", b"whole")
    assert names(tmp_path) == sorted([*before, "a"])


def test_a_name_of_any_length_can_be_written(tmp_path: Path):
    write_bytes(tmp_path / ("n" * 255), b"whole")
    assert names(tmp_path) == ["n" * 255]


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("new")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_finished_file_is_put_in_place(tmp_path: Path):
    (tmp_path / "part").write_text("whole")
    put(tmp_path / "part", tmp_path / "a")
    assert names(tmp_path) == ["a"]


def test_a_temporary_folder_goes_with_its_block_and_a_killed_ones_with_the_next(tmp_path: Path):
    for name in (".offshelf-persons1", ".offshelf-notes"):
        (tmp_path / name).mkdir()
    killed("folder", tmp_path)
    assert len(leftover_folders(tmp_path)) == 1
    with temporary_folder(tmp_path) as mine, temporary_folder(tmp_path) as other:
        assert names(tmp_path) == sorted(
            [mine.name, other.name, ".offshelf-notes", ".offshelf-persons1"]
        )
    assert names(tmp_path) == [".offshelf-notes", ".offshelf-persons1"]


def test_a_temporary_folder_is_where_the_system_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
    assert names(tmp_path) == []


# --- at the same time -----------------------------------------------------------


def test_a_new_folder_survives_whoever_looked_before_its_owner_had_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with temporary_folder(tmp_path) as folder:
        monkeypatch.setattr(files, "is_held", lambda _: False)
        assert leftover_folders(tmp_path) == [folder]
        with temporary_folder(tmp_path):
            assert (folder / "owner.lock").is_file()


def test_who_just_looks_at_a_new_file_takes_nobody_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    take = Lock.take
    looked: set[Path] = set()

    def take_second(self: Lock, shared: bool = False) -> bool:
        if self.path in looked:
            return take(self, shared)
        looked.add(self.path)
        return False

    monkeypatch.setattr(Lock, "take", take_second)
    with temporary_folder(tmp_path), atomic_path(tmp_path / "a") as temporary:
        assert is_held(temporary)
        assert (leftover_files(tmp_path), leftover_folders(tmp_path)) == ([], [])
        temporary.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "why"),
    [("a\0.csv", "embedded null byte"), ("a\ud800.csv", "surrogates not allowed")],
)
def test_a_name_that_no_file_can_have_is_an_obstacle(tmp_path: Path, name: str, why: str):
    refusal = files.target_refusal(tmp_path / name, "table", "a.csv", [b"a"])
    assert refusal.startswith(f"{shown(tmp_path / name)}: cannot be written (")
    assert refusal.endswith(f"{why})")
    with pytest.raises(DataError, match=why):
        read_csv(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_or_device_is_not_replaced(tmp_path: Path, linked: bool):
    pipe = target = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        target = tmp_path / "link"
        target.symlink_to(pipe)
    refusal = files.target_refusal(target, "table", "a.csv", [b"a"])
    assert refusal == f"{target}: cannot be written (is a pipe, socket or device)"
    with pytest.raises(OSError, match="is a pipe, socket or device"):
        files.write_bytes(target, b"a")
    assert pipe.is_fifo()
    assert target.is_symlink() == linked
