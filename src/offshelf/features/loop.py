"""The extraction loop: images that are new go through the engine, all into the ledger."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.data.decoding.colour import RGB
from offshelf.data.decoding.limits import Facts
from offshelf.engine.contract import Engine, EngineOptions, Tap
from offshelf.engine.selection import open_engine
from offshelf.errors import StoreError
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.profile import Stopwatch
from offshelf.features.reader import ELSEWHERE, Digested
from offshelf.features.sharing import Sharing
from offshelf.features.store import feature_store as stores
from offshelf.features.store.feature_store import FeatureStore
from offshelf.progress import Progress
from offshelf.text import counted, shown, spelled

# A wait of so long is reported.
WAITING_SECONDS = 5.0
PAUSE_SECONDS = 0.1
Reader = Callable[[Sequence[int]], Iterator[Digested]]


@dataclass(frozen=True)
class Row:
    """What became of one image.

    Attributes:
        path: the file.
        status: ``ok``, or a word of :data:`offshelf.data.decode.STATUSES`.
        reason: why it is not ``ok``, or what share of a damaged image was taken; else empty.
        digest: sha256 of the file's bytes, empty when it could not be read.
    """

    path: str
    status: str
    reason: str
    digest: bytes

    def to_json(self) -> dict[str, str]:
        """Return path, status and reason."""
        return {"path": spelled(self.path), "status": self.status, "reason": self.reason}


class Job:
    """One extraction: takes what the reader yields, runs what is new, fills ledger and stores."""

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
        self._root = cache.cache_root(options.cache_dir)
        self._most = cache.limit(self._root, options.cache_size)
        self.stores: dict[FeatureKind, FeatureStore] = {}
        self.rows: dict[int, Row] = {}
        self.computed = 0
        self.opening = 0.0
        self._engine: Engine | None = None
        self._under_way: dict[bytes, Facts] = {}
        self._assumed: dict[str, list[str]] = {}
        self._left: dict[int, bytes] = {}
        self._counted: set[int] = set()
        self._places: Iterator[int] = iter(())
        self._sharing: Sharing | None = None
        self._watch = Stopwatch()

    def known(self, digest: bytes) -> Facts | None:
        """Return the facts of an image of which this pass needs no pixels, else None.

        It is stored, or under way, or another process's: then ``ELSEWHERE``.
        """
        found = self.stored(digest)
        if found is not None or self._sharing is None:
            return found
        if not self._sharing.take(digest, self._missing(digest)):
            return ELSEWHERE
        # Whoever has finished it since the stores were read has no claim any more.
        changed = [store.refresh(always=False) for store in self.stores.values()]
        found = self.stored(digest) if any(changed) else None
        if found is not None:
            self._sharing.give_up(digest)
        return found

    def stored(self, digest: bytes) -> Facts | None:
        """Return the facts of an image whose row every store has or is about to, else None."""
        found = self._under_way.get(digest)
        if found is not None:
            return found
        for store in self.stores.values():
            found = store.facts(digest)
            if found is None:
                return None
        return found

    def _missing(self, digest: bytes) -> frozenset[str]:
        return frozenset(store.folder.name for store in self.stores.values() if digest not in store)

    def open_stores(self, folder: Path, background: RGB) -> None:
        """Open every store; one that is new needs the engine to tell its dimension."""
        for kind in self.kinds:
            identity = kind.identity(self.backbone, self.options, background, self.kinds)
            dimension = None
            if not stores.exists(folder, identity):
                dimension = int(np.prod(self.engine().shapes[kind.tap]))
            self.stores[kind] = FeatureStore(folder, identity, dimension)

    def engine(self) -> Engine:
        """Return the engine, opened when it is needed first."""
        if self._engine is None:
            began = time.perf_counter()
            taps = [kind.tap for kind in self.kinds]
            self._engine = open_engine(self.backbone, taps, self.options)
            self.opening += time.perf_counter() - began
        return self._engine

    def run(self, read: Reader, total: int, watch: Stopwatch) -> None:
        """Work through all images; on any way out, what was computed is on disk.

        *read* reads the images of some places, in order.
        """
        self._watch = watch
        self.progress.start("images", total)
        folders = [store.folder for store in self.stores.values()]
        try:
            with contextlib.closing(
                Sharing(folders[0].parent, [f.name for f in folders])
            ) as shared:
                self._sharing = shared
                places: Sequence[int] = range(total)
                while places:
                    self._places = iter(places)
                    self._pass(read(places))
                    places = self._remaining(shared)
        finally:
            try:
                with watch.stage("store"):
                    self._flush()
            finally:
                if self._engine is not None:
                    self._engine.close()
                self._note_assumed()
                self.progress.finish()
        gone = cache.keep_to(self._root, self._most) if self.computed else cache.Removed()
        if gone.entries:
            self.progress.note(f"{self._root}: over its size limit, {gone}")

    def _pass(self, ahead: Iterator[Digested]) -> None:
        first = self._next_new(ahead)
        if first is not None:
            for digests, outputs in self.engine().stream(self._batches(first, ahead)):
                with self._watch.stage("store"):
                    self._keep(digests, outputs)

    def _flush(self) -> None:
        for store in self.stores.values():
            self._with_room(store, store.flush)

    def _with_room(self, store: FeatureStore, write: Callable[[], None]) -> None:
        """Write to a store; on a full disk, the least recently used is removed."""
        try:
            write()
        except StoreError as error:
            gone = cache.make_room(self._root, error)
            if not gone.entries:
                raise
            self.progress.note(f"{store.folder}: the disk is full; {gone}")
            store.flush()

    def _remaining(self, sharing: Sharing) -> list[int]:
        """Wait for what was left to others, and return the places to look at again.

        That is as soon as one of them is nobody's, or when all are stored.
        """
        # Others may be waiting for these rows.
        self._flush()
        began, noted = time.monotonic(), False
        while self._left:
            # In this order: a process that has ended has stored its rows before.
            sharing.settle()
            for store in self.stores.values():
                store.refresh()
            gone = [place for place, digest in self._left.items() if not self._is_held(digest)]
            stored = {place for place in gone if self.stored(self._left[place]) is not None}
            self._count(stored)
            if len(gone) == len(self._left) or len(stored) < len(gone):
                for place in gone:
                    del self._left[place]
                return gone
            if not noted and time.monotonic() - began > WAITING_SECONDS:
                noted = True
                count = len(self._left) - len(gone)
                images = counted(count, "image")
                self.progress.note(f"waiting for {images} that another process is computing")
            with self._watch.waiting():
                time.sleep(PAUSE_SECONDS)
        return []

    def _count(self, stored: set[int]) -> None:
        """Advance the progress while others work; otherwise waiting looks like a rate."""
        new = stored - self._counted
        self._counted |= new
        if new:
            self.progress.advance(len(new))

    def _is_held(self, digest: bytes) -> bool:
        missing = self._missing(digest)
        return bool(missing) and self._sharing is not None and self._sharing.held(digest, missing)

    def _note_assumed(self) -> None:
        """Say once what the decoder decided where no standard does, for stored images, too."""
        for assumed, paths in self._assumed.items():
            others = len(paths) - 1
            more = f" (and {others:,} more image{'s' if others > 1 else ''})" if others else ""
            self.progress.note(f"{shown(paths[0])}: {assumed}{more}")

    def _next_new(self, ahead: Iterator[Digested]) -> Digested | None:
        while True:
            with self._watch.waiting():
                item = next(ahead, None)
            if item is None:
                return None
            place = next(self._places)
            has = self.stored(item.digest) is not None
            again = item.facts is ELSEWHERE or not has
            if item.status == "ok" and item.pixels is None and again:
                self._left[place] = item.digest
                continue
            self.rows[place] = Row(item.path, item.status, item.reason, item.digest)
            if item.facts is not None and item.facts.assumed:
                self._assumed.setdefault(item.facts.assumed, []).append(item.path)
            if item.pixels is not None and item.facts is not None and not has:
                self._under_way[item.digest] = item.facts
                return item
            if item.status != "ok" and self._sharing is not None:
                self._sharing.give_up(item.digest)
            if place not in self._counted:
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

    def _keep(self, digests: list[bytes], outputs: dict[Tap, NDArray[np.float32]]) -> None:
        for kind, store in self.stores.items():
            values = outputs[kind.tap]
            for digest, row in zip(digests, values, strict=True):
                add = functools.partial(
                    store.append, digest, row.reshape(-1), self._under_way[digest]
                )
                self._with_room(store, add)
        for digest in digests:
            del self._under_way[digest]
        if self._sharing is not None:
            self._sharing.beat()
        self.computed += len(digests)
        self.progress.advance(len(digests))
