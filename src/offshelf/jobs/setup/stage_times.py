"""How long each stage of a job took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """Collects seconds by stage.

    >>> clock = Clock()
    >>> with clock.stage("read"):
    ...     pass
    >>> sorted(clock.total())
    ['read', 'total']
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as *name*."""
        began = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - began

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take over stages that were timed elsewhere."""
        self._seconds.update(seconds)

    def total(self) -> dict[str, float]:
        """Return seconds by stage, and ``total`` since the clock was made."""
        return {**self._seconds, "total": time.perf_counter() - self._began}
