"""One pass over images: new ones through the engine, every one into the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.engine.base import Engine, EngineOptions, Tap, open_engine
from offshelf.features import store as stores
from offshelf.features.derive import Flattened, find_flattened
from offshelf.features.kind import FeatureKind
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import Digested
from offshelf.features.store import FeatureStore
from offshelf.progress import Progress


@dataclass(frozen=True)
class Row:
    """What became of one image.

    Attributes:
        path: the file.
        status: ``ok``, or a word of :data:`offshelf.data.decode.STATUSES`.
        reason: why it is not ``ok``; empty otherwise.
        digest: sha256 of the file's bytes, empty when it could not be read.
    """

    path: str
    status: str
    reason: str
    digest: bytes

    def to_json(self) -> dict[str, str]:
        """Return path, status and reason."""
        return {"path": self.path, "status": self.status, "reason": self.reason}


class Job:
    """One pass: takes what the reader gives, runs what is new, fills ledger and stores."""

    def __init__(
        self,
        backbone: Backbone,
        kinds: tuple[FeatureKind, ...],
        options: EngineOptions,
        progress: Progress,
    ) -> None:
        self.backbone = backbone
        self.kinds = kinds
        self.options = options
        self.progress = progress
        self.stores: dict[FeatureKind, FeatureStore] = {}
        self.rows: list[Row] = []
        self.computed = 0
        self.opening = 0.0
        self._engine: Engine | None = None
        self._under_way: set[bytes] = set()
        self._flattened: dict[FeatureKind, Flattened] = {}
        self._derivable: list[bytes] = []
        self._watch = Stopwatch()

    def has(self, digest: bytes) -> bool:
        """Return whether every store has the row, or is about to."""
        return digest in self._under_way or all(
            digest in store or self._can_derive(kind, digest) for kind, store in self.stores.items()
        )

    def _can_derive(self, kind: FeatureKind, digest: bytes) -> bool:
        return kind in self._flattened and digest in self._flattened[kind].store

    def open_stores(self, folder: Path, engine: str) -> None:
        """Open every store; one that is new needs the engine to tell its dimension."""
        for kind in self.kinds:
            identity = kind.identity(self.backbone, engine, self.options.precision_key)
            precision = self.options.precision_key
            flattened = find_flattened(folder, kind, self.backbone, engine, precision)
            if flattened is not None:
                self._flattened[kind] = flattened
            dimension = None
            if not stores.exists(folder, identity):
                dimension = (
                    flattened.channels
                    if flattened is not None
                    else int(np.prod(self.engine().shapes[kind.tap]))
                )
            self.stores[kind] = FeatureStore(folder, identity, dimension)
            for part in self.stores[kind].damaged:
                self.progress.note(f"{part}: damaged part of the store of {kind.column}, set aside")

    def engine(self) -> Engine:
        """Return the engine, opened when it is needed first."""
        if self._engine is None:
            began = time.perf_counter()
            taps = [kind.tap for kind in self.kinds]
            self._engine = open_engine(self.backbone, taps, self.options)
            self.opening += time.perf_counter() - began
        return self._engine

    def run(self, ahead: Iterator[Digested], total: int, watch: Stopwatch) -> None:
        """Work through *ahead*; on any way out, what was computed is on disk."""
        self._watch = watch
        self.progress.start("images", total)
        try:
            first = self._next_new(ahead)
            if first is not None:
                for digests, outputs in self.engine().stream(self._batches(first, ahead)):
                    with watch.stage("store"):
                        self._keep(digests, outputs)
        finally:
            with watch.stage("store"):
                self._derive()
                for store in self.stores.values():
                    store.flush()
            if self._engine is not None:
                self._engine.close()
            self.progress.finish()

    def _next_new(self, ahead: Iterator[Digested]) -> Digested | None:
        while True:
            with self._watch.waiting():
                item = next(ahead, None)
            if item is None:
                return None
            self.rows.append(Row(item.path, item.status, item.reason, item.digest))
            if item.pixels is not None and not self.has(item.digest):
                self._under_way.add(item.digest)
                return item
            if item.status == "ok" and self._flattened:
                self._derivable.append(item.digest)
            self.progress.advance()

    def _batches(
        self, first: Digested, ahead: Iterator[Digested]
    ) -> Iterator[tuple[list[bytes], NDArray[np.uint8]]]:
        item: Digested | None = first
        while item is not None:
            group: list[Digested] = []
            while item is not None and len(group) < self.engine().batch_size:
                group.append(item)
                item = self._next_new(ahead) if len(group) < self.engine().batch_size else None
            pixels = [one.pixels for one in group if one.pixels is not None]
            yield [one.digest for one in group], np.stack(pixels)
            item = self._next_new(ahead)

    def _derive(self) -> None:
        """Pool what was found flattened; the network is not needed for these rows."""
        for kind, flattened in self._flattened.items():
            store = self.stores[kind]
            todo = [d for d in dict.fromkeys(self._derivable) if d not in store]
            flattened.fill(store, [d for d in todo if d in flattened.store])
        self._derivable.clear()

    def _keep(self, digests: list[bytes], outputs: dict[Tap, NDArray[np.float32]]) -> None:
        for kind, store in self.stores.items():
            values = outputs[kind.tap]
            for digest, row in zip(digests, values, strict=True):
                store.append(digest, row.reshape(-1))
        self._under_way.difference_update(digests)
        self.computed += len(digests)
        self.progress.advance(len(digests))
