"""From image files to the feature store: one pass, bounded memory, no row lost.

Threads read, hash, decode and resize a bounded number of images ahead; the engine keeps
several requests under way; rows go to the store as they come. What the store already
holds is neither decoded nor run. One bad image is a line in the ledger, nothing more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offshelf import home
from offshelf.backbones.backbone import Backbone
from offshelf.engine.base import Engine, EngineOptions, Tap, choose, open_engine
from offshelf.errors import StoreError
from offshelf.features import store as stores
from offshelf.features.kind import FeatureKind
from offshelf.features.reader import Digested, Picture, ReadOptions, read_ahead
from offshelf.features.store import FeatureStore
from offshelf.progress import Progress, Silent


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


@dataclass(frozen=True)
class Extraction:
    """The ledger of an extraction and the stores that hold its features.

    Attributes:
        rows: one per image, in the order of the paths.
        stores: one per kind of features.
        engine: the engine and device that ran, for example ``openvino on cpu``.
        computed: images that went through the network.
        seconds: ``start`` (loading and compiling) and ``extract`` (files to features).
    """

    rows: tuple[Row, ...]
    stores: dict[FeatureKind, FeatureStore]
    engine: str
    computed: int
    seconds: dict[str, float]

    @property
    def images_per_second(self) -> float:
        """Images from file to features per second, start-up apart."""
        return len(self.rows) / max(self.seconds["extract"], 1e-9)

    @property
    def ok(self) -> NDArray[np.int64]:
        """Row numbers of the images that have features."""
        return np.flatnonzero(np.array([row.status == "ok" for row in self.rows], bool))

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows without features."""
        return tuple(row for row in self.rows if row.status != "ok")

    def matrix(
        self, kind: FeatureKind, rows: Sequence[int] | NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the features of *rows*, float32, N x D.

        Raises:
            StoreError: one of the rows has no features.
        """
        return self.stores[kind].read([self.rows[row].digest for row in rows])


def extract(
    paths: Sequence[str | Picture],
    backbone: Backbone,
    kinds: Sequence[FeatureKind],
    options: EngineOptions | None = None,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Make sure that the store holds the features of every readable image.

    Args:
        paths: N image files or images in memory; order and repetitions are kept.
        backbone: the network, its weights and preprocessing.
        kinds: the features wanted, all taken in one pass.
        options: the engine and its settings.
        reading: threads that read and decode, bounds on bytes and pixels.
        progress: is told how many images are done.

    Raises:
        EngineError: the engine or device is not available.
        LayerError: the weights do not reach a layer.
        StoreError: the store cannot be written.
    """
    options, progress = options or EngineOptions(), progress or Silent()
    began = time.perf_counter()
    name, device = choose(options)
    folder = home.features_folder(options.cache_dir)
    identities = {kind: kind.identity(backbone, name, options.precision) for kind in kinds}
    job = _Job(backbone, tuple(kinds), options, progress)
    if all(stores.exists(folder, identity) for identity in identities.values()):
        job.stores = {kind: FeatureStore(folder, identities[kind]) for kind in kinds}
    else:
        job.open_engine()
        job.stores = {
            kind: FeatureStore(
                folder, identities[kind], int(np.prod(job.engine().shapes[kind.tap]))
            )
            for kind in kinds
        }
    for kind, store in job.stores.items():
        for part in store.damaged:
            progress.note(f"{part}: damaged part of the store of {kind.column}, set aside")
    started = time.perf_counter()
    ahead = read_ahead(paths, job.has, backbone.input, reading or ReadOptions())
    job.run(ahead, len(paths))
    seconds = time.perf_counter() - started - job.opening
    return Extraction(
        tuple(job.rows),
        job.stores,
        f"{name} on {device}",
        job.computed,
        {"start": started - began + job.opening, "extract": seconds},
    )


class _Job:
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

    def has(self, digest: bytes) -> bool:
        """Return whether every store has the row, or is about to."""
        return digest in self._under_way or all(digest in s for s in self.stores.values())

    def open_engine(self) -> Engine:
        """Load or compile the network."""
        self._engine = open_engine(self.backbone, [kind.tap for kind in self.kinds], self.options)
        return self._engine

    def engine(self) -> Engine:
        """Return the engine, opened at the first image that needs it."""
        if self._engine is None:
            began = time.perf_counter()
            self.open_engine()
            self.opening += time.perf_counter() - began
        if self._engine is None:
            raise StoreError("the engine did not open")
        return self._engine

    def run(self, ahead: Iterator[Digested], total: int) -> None:
        """Work through *ahead*; on any way out, what was computed is on disk."""
        self.progress.start("images", total)
        try:
            first = self._next_new(ahead)
            if first is not None:
                for digests, outputs in self.engine().stream(self._batches(first, ahead)):
                    self._keep(digests, outputs)
        finally:
            for store in self.stores.values():
                store.flush()
            if self._engine is not None:
                self._engine.close()
            self.progress.finish()

    def _next_new(self, ahead: Iterator[Digested]) -> Digested | None:
        for item in ahead:
            self.rows.append(Row(item.path, item.status, item.reason, item.digest))
            if item.pixels is not None and not self.has(item.digest):
                self._under_way.add(item.digest)
                return item
            self.progress.advance()
        return None

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
                store.append(digest, row.reshape(-1))
        self._under_way.difference_update(digests)
        self.computed += len(digests)
        self.progress.advance(len(digests))
