"""Work sharing: processes that fill the same stores at once do not compute an image twice.

Each has a file of the images that it has claimed, under a lock for as long as it works; so
the claims of a process that was killed end with it. An image that another process has
claimed is left to it; at the end one waits for those, and computes what is still missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from offshelf.locks import Lock, is_held, remove_if_free, wait_for

FOLDER = "claims"
# An owner that neither claims nor finishes anything for so long is not waited for.
STALL_SECONDS = 60.0
# Asking in turn takes microseconds; a process that has the turn for longer was stopped in it.
TURN_SECONDS = 2.0
_CLAIMED, _GIVEN_UP = b"+", b"-"
_RECORD = 33
_ATTEMPTS = 100


class Sharing:
    """The claims of one pass, and those of others.

    Args:
        folder: of the stores.
        stores: names of the stores that the pass fills.
        stall: seconds after which an owner without progress is not waited for; None for 60.
    """

    def __init__(self, folder: Path, stores: Iterable[str], stall: float | None = None) -> None:
        self._folder = folder / FOLDER
        self._stall = STALL_SECONDS if stall is None else stall
        self._others: dict[str, _Other] = {}
        self._mine: set[bytes] = set()
        self._threads = threading.Lock()
        self._turn: Lock | None = None
        self._beaten = time.monotonic()
        self._own: Lock | None = None
        with contextlib.suppress(OSError):
            self._own = self._begin(sorted(stores))
            self._turn = Lock(self._folder / "turn.lock")

    def _begin(self, stores: list[str]) -> Lock | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            own = Lock(self._folder / f"{os.getpid()}-{uuid.uuid4().hex}.claim")
            # Another process may just be looking whether the new file has an owner.
            if own.take():
                own.write(json.dumps(stores).encode() + b"\n")
                return own
        return None

    def take(self, digest: bytes, missing: frozenset[str]) -> bool:
        """Claim an image that is in none of the stores *missing*, unless another process has it.

        To be called from any thread.
        """
        if self._own is None:
            return True
        try:
            with self._threads, self._in_turn():
                self._look()
                if self._held(digest, missing):
                    return False
                if digest not in self._mine:
                    self._own.write(_CLAIMED + digest)
                    self._mine.add(digest)
        except OSError:
            # The folder has gone or the disk is full: go on alone.
            pass
        return True

    def give_up(self, digest: bytes) -> None:
        """Tell others that the features of a claimed image will not come."""
        with self._threads, contextlib.suppress(OSError):
            if self._own is not None and digest in self._mine:
                self._own.write(_GIVEN_UP + digest)

    def beat(self) -> None:
        """Show that this pass goes on."""
        if self._own is not None and time.monotonic() - self._beaten > 1.0:
            self._beaten = time.monotonic()
            self._own.beat()

    def settle(self) -> None:
        """Forget processes that have ended; what they finished is in the stores by now."""
        with self._threads:
            with contextlib.suppress(OSError):
                self._look()
            for name, other in list(self._others.items()):
                if not is_held(self._folder / name):
                    remove_if_free(self._folder / name)
                    del self._others[name]
                    other.close()

    def held(self, digest: bytes, missing: frozenset[str]) -> bool:
        """Return whether a living process that makes progress has claimed the image."""
        with self._threads:
            return self._held(digest, missing)

    def close(self) -> None:
        """Give back whatever was claimed."""
        with self._threads:
            if self._own is not None:
                self._own.release()
            self._own = None
            for other in self._others.values():
                other.close()
            self._others.clear()

    def _held(self, digest: bytes, missing: frozenset[str]) -> bool:
        now = time.monotonic()
        return any(
            digest in other.digests and missing <= other.stores and now - other.since < self._stall
            for other in self._others.values()
        )

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        turn = self._turn
        if turn is not None and not wait_for(turn, TURN_SECONDS, lambda: None):
            # Its owner was stopped: at worst an image is now computed twice.
            turn = self._turn = None
        try:
            yield
        finally:
            if turn is not None:
                turn.release(remove=False)

    def _look(self) -> None:
        own = self._own.path.name if self._own is not None else ""
        for path in self._folder.glob("*.claim"):
            if path.name == own or path.name in self._others:
                continue
            if not is_held(path):
                remove_if_free(path)
                continue
            with contextlib.suppress(FileNotFoundError):
                self._others[path.name] = _Other(path)
        for other in self._others.values():
            other.look()


class _Other:
    """What another process has claimed, read as far as it was written.

    Its file stays open: it can be read to its end also when its owner has removed it.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        self.stores: frozenset[str] = frozenset()
        self._begun = False
        self.digests: set[bytes] = set()
        self.since = time.monotonic()
        self._stamp = (0, 0)
        self._rest = b""

    def look(self) -> None:
        """Read what is new."""
        found = os.fstat(self._handle)
        stamp = (found.st_size, found.st_mtime_ns)
        if stamp == self._stamp:
            return
        self._stamp, self.since = stamp, time.monotonic()
        while piece := os.read(self._handle, 1 << 20):
            self._rest += piece
        self._read()

    def _read(self) -> None:
        if not self._begun:
            head, found, rest = self._rest.partition(b"\n")
            if not found:
                return
            self._begun, self.stores, self._rest = True, _names(head), rest
        end = len(self._rest) - len(self._rest) % _RECORD
        for start in range(0, end, _RECORD):
            mark, digest = self._rest[start : start + 1], self._rest[start + 1 : start + _RECORD]
            (self.digests.add if mark == _CLAIMED else self.digests.discard)(digest)
        self._rest = self._rest[end:]

    def close(self) -> None:
        os.close(self._handle)


def _names(head: bytes) -> frozenset[str]:
    try:
        return frozenset(map(str, json.loads(head)))
    except (ValueError, TypeError):
        return frozenset()
