"""From image files to the feature store: one pass, bounded memory, no row lost.

Threads read, hash, decode and resize a bounded number of images ahead; the engine keeps
several requests under way; rows go to the store as they come. What the store already
holds is neither decoded nor run. One bad image is a line in the ledger, nothing more.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import cache
from offshelf.backbones.backbone import Backbone
from offshelf.card import Card
from offshelf.data.digests import Digests
from offshelf.engine.contract import EngineOptions
from offshelf.engine.selection import choose
from offshelf.errors import DataError
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.loop import Job, Row
from offshelf.features.profile import Profile, Stopwatch
from offshelf.features.reader import Digested, KnownFiles, Picture, ReadOptions, read_ahead
from offshelf.features.store.feature_store import FeatureStore
from offshelf.progress import Progress, Silent, notifying
from offshelf.text import shown

__all__ = ["Extraction", "Row", "extract"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Extraction(Card):
    """The ledger of an extraction and the stores that hold its features.

    Attributes:
        rows: one per image, in the order of the paths.
        stores: one per kind of features.
        engine: the engine and device that ran, for example ``openvino on cpu``.
        computed: images that went through the network.
        seconds: ``start`` (loading and compiling) and ``extract`` (files to features).
        profile: where the time of ``extract`` went.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``int8-`` and the calibration.
        reason: why precision ``auto`` chose it; "" where it was asked for.
        reread: whether every file was read again, known or not.
    """

    rows: tuple[Row, ...]
    stores: dict[FeatureKind, FeatureStore]
    engine: str
    computed: int
    seconds: dict[str, float]
    profile: Profile
    precision: str
    reason: str = ""
    reread: bool = False

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images have features, of which kinds, and what computed them."""
        yield "images", f"{len(self.ok):,}, {len(self.failures):,} left out{self.origin}"
        for kind, store in self.stores.items():
            yield "features", f"{kind.column}: {store.dimension:,} float32 of an image"
        yield "engine", self.ran

    @property
    def ran(self) -> str:
        """What ran, and in which precision, for example ``openvino on cpu, int8``."""
        return f"{self.engine}, {self.precision.partition('-')[0]}"

    @property
    def origin(self) -> str:
        """Where the features come from, to end a line on the images; "" where there are none."""
        if not len(self.ok):
            return ""
        read = "; all files were read" if self.reread else ""
        different = len({row.digest for row in self.rows if row.status == "ok"})
        stored, copies = different - self.computed, len(self.ok) - different
        if not self.computed:
            return f"; all features from the store{read}"
        if not stored and not copies:
            return f"; all features computed{read}"
        parts = [f"{self.computed:,} computed"]
        parts = [f"{stored:,} from the store", *parts] if stored else parts
        if copies:
            parts.append("1 is a copy" if copies == 1 else f"{copies:,} are copies")
        return f"; features: {', '.join(parts)}{read}"

    @property
    def images_per_second(self) -> float | None:
        """Images from file to features per second, start-up apart; None if none was computed.

        Where some came from the store, only those that were computed count.
        """
        if not self.computed:
            return None
        different = len({row.digest for row in self.rows if row.status == "ok"})
        done = len(self.rows) if self.computed == different else self.computed
        return done / max(self.seconds["extract"], 1e-9)

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
        reading: threads that read and decode, bounds on bytes and pixels, place of the stores.
        progress: counts the images that are done.

    Raises:
        EngineError: the engine or device is not available.
        LayerError: the weights do not reach a layer.
        StoreError: the store cannot be written.
    """
    reading, progress = reading or ReadOptions(), progress or Silent()
    options = options or EngineOptions()
    options = dataclasses.replace(options, images=options.images or len(paths))
    began = time.perf_counter()
    name, device = choose(options)
    job = Job(backbone, tuple(kinds), options, progress)
    place = reading.stores or cache.features_folder(options.cache_dir)

    with notifying(progress):
        job.open_stores(place, reading.limits.background)
        started, opened = time.perf_counter(), job.opening
        watch = _run(job, paths, reading)
    profile = watch.profile(apart=job.opening - opened)
    start = started - began + job.opening - opened
    return Extraction(
        rows=tuple(job.rows[place] for place in range(len(paths))),
        stores=job.stores,
        engine=f"{name} on {device}",
        computed=job.computed,
        seconds={"start": start, "extract": profile.wall},
        profile=profile,
        precision=options.precision_key,
        reason=options.reason,
        reread=reading.rehash,
    )


def _run(job: Job, paths: Sequence[str | Picture], reading: ReadOptions) -> Stopwatch:
    """Work through all images; files whose bytes and features are known are not read."""
    watch = Stopwatch()
    files = [path for path in paths if isinstance(path, str)]
    digests = Digests(cache.cache_root(job.options.cache_dir), files, reading.rehash)
    known_files = KnownFiles(digests, job.stored)

    def read(places: Sequence[int]) -> Iterator[Digested]:
        chosen = [paths[place] for place in places]
        return read_ahead(chosen, job.known, job.backbone.input, reading, watch, known_files)

    try:
        job.run(read, len(paths), watch)
    finally:
        digests.keep()
    if changed := digests.changed:
        more = f" (and {len(changed) - 1:,} more)" if len(changed) > 1 else ""
        job.progress.note(
            f"{shown(changed[0])}{more}: other bytes than before, with the same size and times; "
            "something changes files and sets their times back"
        )
    return watch


def as_sources(images: Sequence[Any]) -> list[str | Picture]:
    """Return images in memory or on disk as :func:`extract` takes them.

    A file's rows are those of ``offshelf extract``. An image in memory is addressed by
    its pixels, so the second call finds it in the store, too.

    Raises:
        DataError: there is none.
    """
    if not len(images):
        raise DataError("no images: an empty list has no features")
    return [
        str(image) if isinstance(image, str | Path) else Picture(f"image {number}", image)
        for number, image in enumerate(images)
    ]


def refuse_failures(extraction: Extraction) -> None:
    """Raise a DataError that names the first image without features, where there is one.

    A row cannot be left out where row i belongs to label i.
    """
    if extraction.failures:
        first = extraction.failures[0]
        raise DataError(
            f"{first.path}: {first.status}, {first.reason} "
            f"({len(extraction.failures)} of {len(extraction.rows)} images cannot be used)"
        )
