"""Read, hash, decode and resize a bounded number of images ahead, in order."""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.specification.spec import InputSpec
from offshelf.data.decode import Limits, as_rgb
from offshelf.data.decoding.limits import Facts, check_bytes, check_facts, kept_share, read_stamped
from offshelf.data.digests import Digests
from offshelf.errors import DataError, ImageError
from offshelf.features.network_input import network_input
from offshelf.features.profile import Stopwatch
from offshelf.progress import listen, listener

AHEAD_PER_WORKER = 8
Known = Callable[[bytes], Facts | None]
T = TypeVar("T")
R = TypeVar("R")
# Instead of facts: another process computes the features, and will know the facts.
ELSEWHERE = Facts(width=0, height=0)


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Attributes:
        workers: threads that read and decode; None for one per processor.
        limits: bounds on bytes and pixels of an image.
        rehash: read every file, also those that have not changed since they were read.
        stores: folder of the feature stores; None for that of the cache.
    """

    workers: int | None = None
    limits: Limits = field(default_factory=Limits)
    rehash: bool = False
    stores: Path | None = None

    @property
    def threads(self) -> int:
        """The number of threads."""
        return self.workers or processors()


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in memory: a PIL image or a uint8 array, and the name that messages call it by."""

    name: str
    image: Any


@dataclass(frozen=True, kw_only=True)
class Digested:
    """One file, read.

    Attributes:
        path: the file.
        status: ``ok`` or why there are no pixels.
        reason: the same in a sentence.
        digest: sha256 of the bytes, 32 bytes; empty when they could not be read.
        pixels: uint8, S x S x 3; None for a bad file and for one already known.
        facts: what the decoder learned of it; None for a bad file.
    """

    path: str
    status: str
    reason: str
    digest: bytes
    pixels: NDArray[np.uint8] | None = None
    facts: Facts | None = None


@dataclass(frozen=True, eq=False)
class KnownFiles:
    """Files that need not be read: their *digests* are known, and their features are *stored*."""

    digests: Digests
    stored: Known

    def find(self, path: str | Picture, limits: Limits) -> Digested | None:
        """Return what reading the file at *path* would give, None where it must be read."""
        if isinstance(path, Picture) or (found := self.digests.find(path)) is None:
            return None
        digest, size = found
        facts = self.stored(digest)
        if facts is None:
            return None
        try:
            check_bytes(size, limits)
        except ImageError as error:
            return _refused(path, error)
        return _of_known(path, digest, facts, limits)


def read_ahead(
    paths: Sequence[str | Picture],
    known: Known,
    spec: InputSpec,
    options: ReadOptions,
    watch: Stopwatch,
    known_files: KnownFiles | None = None,
) -> Iterator[Digested]:
    """Yield one :class:`Digested` per path, in order, by :func:`in_threads`.

    Args:
        paths: the files, or images in memory.
        known: the facts of bytes whose features need no pixels (:data:`ELSEWHERE` where
            they are to be looked at again), None for others.
        spec: the preprocessing.
        options: threads and limits.
        watch: measures reading, decoding and resizing.
        known_files: what need not be read; None reads every file.
    """
    limits = options.limits
    # Without what is not needed, as a test may put another function there.
    more = () if known_files is None else (known_files.digests,)

    def work(path: str | Picture) -> Digested:
        if isinstance(path, Picture):
            return digest_picture(path, known, spec, limits)
        return digest_one(path, known, spec, limits, watch, *more)

    def find(path: str | Picture) -> Digested | None:
        if known_files is None:
            return None
        with watch.stage("read"):
            return known_files.find(path, limits)

    return in_threads(work, paths, options.threads, find)


def in_threads(
    work: Callable[[T], R],
    items: Iterable[T],
    threads: int,
    find: Callable[[T], R | None] = lambda _: None,
) -> Iterator[R]:
    """Yield the result of *work* for each item, in order; eight per thread are held at most.

    What *find* returns for an item needs no work, and is not handed to a thread, which would
    take longer.

    >>> list(in_threads(str.upper, "abc", threads=2))
    ['A', 'B', 'C']
    """
    window: collections.deque[Future[R] | tuple[R]] = collections.deque()
    pool = ThreadPoolExecutor(threads, "offshelf-reader", listen, (listener(),))
    try:
        for item in items:
            found = find(item)
            window.append(pool.submit(work, item) if found is None else (found,))
            if len(window) >= AHEAD_PER_WORKER * threads:
                yield _result(window.popleft())
        while window:
            yield _result(window.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(item: Future[R] | tuple[R]) -> R:
    return item[0] if isinstance(item, tuple) else item.result()


def digest_one(
    path: str,
    known: Known,
    spec: InputSpec,
    limits: Limits,
    watch: Stopwatch,
    digests: Digests | None = None,
) -> Digested:
    """Read one file and add its hash to *digests*; nothing about the file can raise.

    An image that is known is judged by its facts, as the decoder would judge it.
    """
    digest = b""
    try:
        with watch.stage("read"):
            content, stamp = read_stamped(path, limits)
            digest = hashlib.sha256(content).digest()
        if digests is not None and stamp is not None:
            digests.note(path, stamp, digest)
        facts = known(digest)
        if facts is not None:
            return _of_known(path, digest, facts, limits)
        found = network_input(content, spec, limits, watch)
    except ImageError as error:
        return _refused(path, error, digest)
    return _accepted(path, digest, found.facts, found.pixels)


def _of_known(path: str, digest: bytes, facts: Facts, limits: Limits) -> Digested:
    try:
        check_facts(facts, limits)
    except ImageError as error:
        return _refused(path, error, digest)
    return _accepted(path, digest, facts)


def digest_picture(picture: Picture, known: Known, spec: InputSpec, limits: Limits) -> Digested:
    """Digest an image in memory; it is addressed by its pixels.

    Raises:
        DataError: it is no image; the message begins with its name.
    """
    try:
        # Decoded again however well it is known, so that the limits hold of themselves.
        rgb = as_rgb(picture.image, limits)
    except ImageError as error:
        return _refused(picture.name, error)
    except DataError as error:
        raise DataError(f"{picture.name}: {error}") from error
    content = f"rgb {rgb.shape}".encode() + np.ascontiguousarray(rgb).tobytes()
    digest = hashlib.sha256(content).digest()
    facts = known(digest)
    if facts is not None:
        return _accepted(picture.name, digest, facts)
    found = network_input(rgb, spec, limits)
    return _accepted(picture.name, digest, found.facts, found.pixels)


def _refused(path: str, error: ImageError, digest: bytes = b"") -> Digested:
    return Digested(path=path, status=error.status, reason=error.reason, digest=digest)


def _accepted(
    path: str, digest: bytes, facts: Facts, pixels: NDArray[np.uint8] | None = None
) -> Digested:
    reason = kept_share(facts)
    return Digested(
        path=path, status="ok", reason=reason, digest=digest, pixels=pixels, facts=facts
    )


def processors() -> int:
    """Return how many processors this process may use.

    >>> processors() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
