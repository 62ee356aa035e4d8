"""One line for whoever waits for a long extraction: how long, how much memory and disk.

It costs nothing: the extraction's own first seconds are the sample. A short extraction
says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from offshelf import home
from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import EngineOptions
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.store import manifest
from offshelf.jobs.extract.forecast import disk_bytes, held
from offshelf.jobs.extract.timed_sample import SECONDS, WARM_BATCHES, peak_memory
from offshelf.progress import Progress
from offshelf.report.tables.table_formats import format_cell

LONG = 30.0


class Announcing:
    """A progress that passes everything on and adds that line, once.

    Args:
        progress: who is told.
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
        folder = home.features_folder(self._options.cache_dir)
        keys = [
            kind.identity(self._backbone, self._options, beside=self._kinds) for kind in self._kinds
        ]
        found = [manifest.read_dimension(manifest.store_folder(folder, key), key) for key in keys]
        sizes = [size for size in found if size is not None]
        return sizes if len(sizes) == len(keys) else []
