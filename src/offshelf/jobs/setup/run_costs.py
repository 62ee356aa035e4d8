"""What a run costs: seconds by stage, disk, peak memory, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import EngineOptions
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.store import manifest
from offshelf.features.store.feature_store import FLUSH_BYTES
from offshelf.progress import Progress
from offshelf.report.tables.table_formats import format_cell

# A rate is measured after so many batches, over so many seconds.
WARM_BATCHES = 3
SECONDS = 2.5
# Seconds from which on an extraction is long.
LONG = 30.0
# Beside the features of a row: hash and facts of its image, Parquet's own marks.
ROW_BYTES = 32 + 42 + 6
# What a part says of itself.
PART_BYTES = 3000
# Path, status and hash of an image in the ledger, and its place in the store.
LEDGER_BYTES = 500


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
        self.add({name: time.perf_counter() - began})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take over stages that were timed elsewhere; a stage that comes again takes longer."""
        for name, spent in seconds.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def total(self) -> dict[str, float]:
        """Return seconds by stage, and ``total`` since the clock was made."""
        return {**self._seconds, "total": time.perf_counter() - self._began}


def disk_bytes(dimensions: Sequence[int], images: int) -> int:
    """Return bytes that the stores of *images* images take on disk.

    >>> disk_bytes([1280], 4485)
    23325000
    """
    return sum(images * (4 * dimension + ROW_BYTES) + PART_BYTES for dimension in dimensions)


def held(dimensions: Sequence[int], images: int) -> int:
    """Return bytes of memory that stores and ledger hold at most after *images* images.

    Every store buffers rows up to its bound; one at a time copies them into a matrix and
    writes that.

    >>> held([25088], 10**4) == 2 * 32 * 2**20 + 500 * 10**4
    True
    """
    buffers = [min(4 * dimension * images, FLUSH_BYTES) for dimension in dimensions]
    return sum(buffers) + max(buffers) + LEDGER_BYTES * images


def peak_memory() -> int | None:
    """Return the largest resident memory of this process so far, in bytes.

    >>> (peak_memory() or 10**7) > 10**6
    True
    """
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count the parent's memory at the time of the fork.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class EtaProgress:
    """A progress that passes everything on, and adds once how long a long extraction takes.

    The line says time, disk and memory. It costs nothing: the first seconds of the extraction
    itself are the sample. A short extraction has none.

    Args:
        progress: receives everything.
        backbone: the network of the extraction.
        kinds: the features it takes.
        options: its engine and cache folder.
    """

    def __init__(
        self,
        progress: Progress,
        backbone: Backbone,
        kinds: Sequence[FeatureKind],
        options: EngineOptions,
    ) -> None:
        self._progress = progress
        self._backbone = backbone
        self._kinds = tuple(kinds)
        self._options = options
        self._told = False
        self._begin(None)

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        """See :class:`offshelf.progress.Progress`."""
        self._begin(total)
        self._progress.start(what, total, unit)

    def advance(self, done: int = 1) -> None:
        """See :class:`offshelf.progress.Progress`."""
        self._progress.advance(done)
        self._done += done
        self._calls += 1
        now = time.perf_counter()
        if self._calls == WARM_BATCHES:
            self._mark = now, self._done
        elif self._calls > WARM_BATCHES and not self._told and now - self._mark[0] >= SECONDS:
            self._consider((self._done - self._mark[1]) / (now - self._mark[0]))
            # Images that the store held already went by quickly: look again.
            self._mark = now, self._done

    def finish(self) -> None:
        """See :class:`offshelf.progress.Progress`."""
        self._progress.finish()

    def note(self, message: str) -> None:
        """See :class:`offshelf.progress.Progress`."""
        self._progress.note(message)

    def _begin(self, total: int | None) -> None:
        self._total = total
        self._done = self._calls = 0
        self._mark = time.perf_counter(), 0

    def _consider(self, rate: float) -> None:
        left = (self._total or 0) - self._done
        if left / max(rate, 1e-9) < LONG:
            return
        self._told = True
        sizes = self._dimensions()
        memory = peak_memory()
        parts = [f"about {format_cell(left / rate, 'seconds')} more for {left:,} images"]
        if sizes:
            parts.append(f"{format_cell(disk_bytes(sizes, self._total or 0), 'bytes')} on disk")
        if memory and sizes:
            grown = held(sizes, self._total or 0) - held(sizes, self._done)
            parts.append(f"{format_cell(memory + grown, 'bytes')} of memory at most")
        self.note(f"{', '.join(parts)} ({rate:.1f} images/s)")

    def _dimensions(self) -> list[int]:
        """Return the features of an image as the open stores state them, [] if they do not."""
        folder = cache.features_folder(self._options.cache_dir)
        keys = [
            kind.identity(self._backbone, self._options, beside=self._kinds) for kind in self._kinds
        ]
        found = [manifest.read_dimension(manifest.store_folder(folder, key), key) for key in keys]
        sizes = [size for size in found if size is not None]
        return sizes if len(sizes) == len(keys) else []
