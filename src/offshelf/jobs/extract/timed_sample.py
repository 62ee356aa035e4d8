"""A timed sample of the real extraction, in this process or in one of its own.

It runs into a store that is thrown away, and stops when it has seen enough. In a process of its
own (``python -m offshelf.jobs.extract.timed_sample``) its peak memory is the extraction's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import cache, files
from offshelf.data.decode import Limits
from offshelf.engine.contract import EngineOptions
from offshelf.engine.selection import choose
from offshelf.errors import DataError, EngineError, OffshelfError
from offshelf.features.extraction import extract
from offshelf.features.feature_kind import feature_kinds
from offshelf.features.reader import ReadOptions
from offshelf.features.store import manifest
from offshelf.jobs.setup.run_costs import SECONDS, WARM_BATCHES, peak_memory
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings, backbone_for
from offshelf.progress import Silent
from offshelf.text import counted

BATCHES = 6
# A slow network is timed on the batches that it finishes in this time.
MAX_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """Extraction to take a sample of.

    Attributes:
        paths: image files in an order that is fair to the whole set.
        features: the network.
        layers: layers to take in one pass.
        poolings: what to do with each of them.
        run: engine, limits, cache folder; ``engine.images`` is the size of the whole set.
    """

    paths: tuple[str, ...]
    features: FeatureSettings
    layers: tuple[str, ...]
    poolings: tuple[str, ...]
    run: RunSettings


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Measurements of a timed sample.

    Attributes:
        start: seconds until the network was loaded, compiled and ready.
        steps: pairs (seconds since the first image was asked for, images done so far),
            one for each batch.
        memory: peak resident memory of the process in bytes; None where it is not known.
        dimensions: features of one image, by layer and pooling (``pool5_avg``).
        engine: what ran, for example ``openvino on cpu``.
        converted: the network was converted for the engine, which happens only once.
    """

    start: float
    steps: tuple[tuple[float, int], ...]
    memory: int | None
    dimensions: dict[str, int]
    engine: str
    converted: bool


def take_sample(request: SampleRequest) -> Sample:
    """Run the extraction until enough is known, in this process.

    Raises:
        DataError: none of the images can be used.
        OffshelfError: the names or settings cannot be used.
    """
    began = time.perf_counter()
    options = request.run.engine
    backbone = backbone_for(request.features, request.run, Silent())
    kinds = feature_kinds(backbone, request.layers, request.poolings)
    before, watch = _graphs(options), _Watch()
    with _temporary_cache(options) as apart_dir:
        apart = dataclasses.replace(options, cache_dir=apart_dir)
        try:
            extraction = extract(request.paths, backbone, kinds, apart, request.run.reading, watch)
        except _EnoughError:
            pass
        else:
            if not len(extraction.ok):
                first = extraction.failures[0]
                raise DataError(
                    f"none of {counted(len(request.paths), 'image')} can be used; "
                    f"the first: {first.path}: {first.status}, {first.reason}"
                )
        stores = [manifest.read(folder) for folder in cache.features_folder(apart_dir).iterdir()]
        sizes = {
            (one["identity"]["layer"], one["identity"]["pooling"]): one["dimension"]
            for one in stores
            if one is not None
        }
    return Sample(
        start=watch.began - began,
        steps=tuple(watch.steps),
        memory=peak_memory(),
        dimensions={kind.column: sizes[kind.path, kind.pooling] for kind in kinds},
        engine=" on ".join(choose(options)),
        converted=_graphs(options) != before,
    )


def sample_apart(request: SampleRequest) -> Sample:
    """Take the sample in a process of its own; again if the network was converted first.

    Raises:
        OffshelfError: what :func:`take_sample` raises there.
    """
    sample = _spawn(request)
    return _spawn(request) if sample.converted else sample


class _EnoughError(Exception):
    """Ends the extraction; never leaves this module."""


class _Watch(Silent):
    """Notes when each batch was done, and stops the work when that is enough."""

    def __init__(self) -> None:
        super().__init__()
        self.began = 0.0
        self.steps: list[tuple[float, int]] = []

    def start(self, what: str, total: int | None, unit: str = "") -> None:
        super().start(what, total, unit)
        self.began = time.perf_counter()

    def advance(self, done: int = 1) -> None:
        now = time.perf_counter() - self.began
        self.steps.append((now, done + (self.steps[-1][1] if self.steps else 0)))
        timed = len(self.steps) - WARM_BATCHES
        if timed < 1:
            return
        if now >= MAX_SECONDS:
            raise _EnoughError
        if timed >= BATCHES and now - self.steps[WARM_BATCHES - 1][0] >= SECONDS:
            raise _EnoughError


@contextmanager
def _temporary_cache(options: EngineOptions) -> Iterator[Path]:
    """Yield a cache folder for a while that shares compiled networks with the real one."""
    root, compiled = cache.cache_root(options.cache_dir), cache.compiled_folder(options.cache_dir)
    with ExitStack() as stack:
        try:
            compiled.mkdir(parents=True, exist_ok=True)
            place = stack.enter_context(files.temporary_folder(root))
        except OSError as error:
            raise EngineError(
                f"{files.unwritable(root, error)}; choose another --cache-dir"
            ) from error
        shared = cache.compiled_folder(place)
        # Where links are not allowed the network is converted once more.
        with suppress(OSError):
            shared.symlink_to(compiled.resolve(), target_is_directory=True)
        yield place


def _graphs(options: EngineOptions) -> set[str]:
    folder = cache.compiled_folder(options.cache_dir)
    return {path.parent.name for path in folder.glob("*/graph.xml")}


def _spawn(request: SampleRequest) -> Sample:
    source = str(Path(__file__).resolve().parents[2])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "offshelf.jobs.extract.timed_sample"],
        input=json.dumps(dataclasses.asdict(request), default=str),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EngineError(f"the timed sample ended without a result: {last}") from error
    if "error" in document:
        raise OffshelfError(document["error"])
    ready = document.pop("ready")
    steps = tuple((seconds, images) for seconds, images in document.pop("steps"))
    # Starting Python and importing belong to what a person waits for.
    return Sample(**{**document, "start": ready - began, "steps": steps})


def _serve() -> None:
    document = json.load(sys.stdin)
    run = document["run"]
    reading = run["reading"]
    request = SampleRequest(
        paths=tuple(document["paths"]),
        features=FeatureSettings(**document["features"]),
        layers=tuple(document["layers"]),
        poolings=tuple(document["poolings"]),
        run=RunSettings(
            engine=EngineOptions(**run["engine"]),
            reading=ReadOptions(reading["workers"], _limits(reading["limits"])),
        ),
    )
    began = time.time()
    try:
        sample = take_sample(request)
    except OffshelfError as error:
        answer: dict[str, Any] = {"error": str(error)}
    else:
        answer = {**dataclasses.asdict(sample), "ready": began + sample.start}
    sys.stdout.write(json.dumps(answer) + "\n")


def _limits(document: dict[str, Any]) -> Limits:
    red, green, blue = document["background"]
    return Limits(**{**document, "background": (red, green, blue)})


if __name__ == "__main__":
    _serve()
