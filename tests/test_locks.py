"""Locks: one owner, gone with its process, not waited for when it is stopped."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from offshelf import locks
from offshelf.locks import Lock, alone, is_held, remove_if_free, wait_for

OWNER = """
import sys, time
from pathlib import Path
from offshelf.locks import Lock
lock = Lock(Path(sys.argv[1]))
print(lock.take(), flush=True)
time.sleep(600)
"""


def owner(place: Path) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    command = [sys.executable, "-c", OWNER, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_a_lock_has_one_owner_and_leaves_nothing(tmp_path: Path):
    first, second = Lock(tmp_path / "a"), Lock(tmp_path / "a")
    assert first.take()
    assert not second.take()
    assert is_held(tmp_path / "a")
    assert not remove_if_free(tmp_path / "a")
    first.release()
    assert not (tmp_path / "a").exists()
    assert second.take()
    second.release()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_shared_lock_keeps_out_only_who_wants_it_alone(tmp_path: Path):
    first, second, third = (Lock(tmp_path / "a") for _ in range(3))
    assert first.take(shared=True)
    assert second.take(shared=True)
    assert not third.take()
    first.release(remove=False)
    assert not third.take()
    second.release(remove=False)
    assert third.take()
    third.release()


def test_whoever_took_a_file_that_was_removed_under_its_hands_takes_the_new_one(tmp_path: Path):
    first = Lock(tmp_path / "a")
    assert first.take()
    (tmp_path / "a").unlink()
    second = Lock(tmp_path / "a")
    assert second.take()
    assert is_held(tmp_path / "a")
    first.release(remove=False)
    assert is_held(tmp_path / "a")
    second.release()


def test_a_killed_owner_holds_nothing_and_its_file_can_go(tmp_path: Path):
    process = owner(tmp_path / "a")
    try:
        assert is_held(tmp_path / "a")
    finally:
        process.kill()
        process.communicate()
    assert not is_held(tmp_path / "a")
    assert remove_if_free(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not remove_if_free(tmp_path / "a")


def test_a_stopped_owner_is_not_waited_for(tmp_path: Path):
    process = owner(tmp_path / ".graph.lock")
    try:
        process.send_signal(signal.SIGSTOP)
        with alone(tmp_path / "graph", patience=0.05):
            assert is_held(tmp_path / ".graph.lock")
    finally:
        process.kill()
        process.communicate()


def test_an_owner_that_goes_on_is_waited_for(tmp_path: Path):
    first, second, looks = Lock(tmp_path / "a"), Lock(tmp_path / "a"), [0]
    assert first.take()

    def progress() -> int:
        looks.append(len(looks))
        if len(looks) == 5:
            first.release()
        return looks[-1]

    assert wait_for(second, 60.0, progress)
    assert len(looks) == 5
    second.release()


def test_only_one_at_a_time(tmp_path: Path):
    inside, most = [], []

    def work() -> None:
        with alone(tmp_path / "made"):
            inside.append(1)
            most.append(len(inside))
            if not (tmp_path / "made").exists():
                (tmp_path / "made").write_text("once")
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_where_there_are_no_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(handle: int, shared: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "try_lock", refuse)
    with alone(tmp_path / "graph"):
        pass
    with pytest.raises(OSError, match="No locks available"):
        Lock(tmp_path / "a").take()
    # Nobody can tell, so nothing is taken from anybody.
    assert is_held(tmp_path / "a")
    assert not remove_if_free(tmp_path / "a")


def test_where_nothing_can_be_written_work_goes_on(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with alone(tmp_path / "file" / "graph"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_in_its_place_makes_nothing_where_it_leads(tmp_path: Path):
    (tmp_path / ".made.lock").symlink_to(tmp_path / "elsewhere")
    with locks.alone(tmp_path / "made"):
        assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / ".made.lock").is_symlink()
