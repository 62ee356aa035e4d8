"""The profile of an extraction: processor seconds by stage, and time waiting for images."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Processor seconds of all threads by stage, and wall seconds.

    Attributes:
        stages: ``read`` (with hashing), ``decode``, ``resize``, ``network`` (pooling is
            inside it), ``store``: processor seconds.
        wall: seconds from the first file to the last feature.
        starved: wall seconds in which the network waited for images.
    """

    stages: dict[str, float]
    wall: float
    starved: float

    def shares(self) -> dict[str, float]:
        """Return each stage's share of the processor time; they add up to one.

        >>> Profile({"read": 1.0, "network": 3.0}, 2.0, 0.0).shares()
        {'read': 0.25, 'network': 0.75}
        """
        total = sum(self.stages.values()) or 1.0
        return {stage: seconds / total for stage, seconds in self.stages.items()}


class Stopwatch:
    """Adds up processor time from several threads. Time of no other stage is the network's."""

    def __init__(self) -> None:
        self._stages = dict.fromkeys(("read", "decode", "resize", "store"), 0.0)
        self._lock = threading.Lock()
        self._starved = 0.0
        self._began = time.perf_counter(), time.process_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Claim this thread's processor time in the block for *name*."""
        began = time.thread_time()
        try:
            yield
        finally:
            seconds = time.thread_time() - began
            with self._lock:
                self._stages[name] += seconds

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as time in which the network had no images."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._starved += time.perf_counter() - began

    def profile(self, apart: float = 0.0) -> Profile:
        """Return what was measured; *apart* wall seconds were start-up."""
        wall = time.perf_counter() - self._began[0] - apart
        total = time.process_time() - self._began[1]
        stages = dict(self._stages)
        store = stages.pop("store")
        stages["network"] = max(0.0, total - sum(stages.values()) - store)
        return Profile(stages | {"store": store}, wall, self._starved)
