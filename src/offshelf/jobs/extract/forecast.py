"""Forecast of an extraction on this machine: seconds, peak memory, disk.

Seconds come from a timed sample of the very same work, memory from the sample's process
and the known bounds of the store's buffers, disk from the dimensions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from offshelf.errors import DataError, EngineError
from offshelf.jobs.extract.timed_sample import Sample, SampleRequest, sample_apart
from offshelf.jobs.setup.run_costs import WARM_BATCHES, disk_bytes, held
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Progress, Silent
from offshelf.report.result import Block, Result
from offshelf.report.tables.result_rows import Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import counted, duration, noun

MAX_SAMPLED = 2000
PARTS = 5
UNCALIBRATED = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class ForecastRow:
    """The forecast of one extraction.

    Attributes:
        layer: the layer, or ``all in one pass``.
        pooling: the pooling; "" for all.
        dimension: features of one image.
        images: how many images.
        images_per_second: measured, from file to features.
        start: seconds until the network is ready.
        seconds: of the whole extraction, start included.
        low: the same at the speed of the fastest part of the sample, a fifth or more of it.
        high: the same at the speed of the slowest part.
        memory: peak resident memory in bytes; None where it cannot be measured.
        disk: bytes of the feature store.
        sampled: images that were timed.
    """

    layer: str
    pooling: str
    dimension: int
    images: int
    images_per_second: float
    start: float
    seconds: float
    low: float
    high: float
    memory: int | None
    disk: int
    sampled: int


@dataclass(frozen=True, repr=False)
class Forecast(Result):
    """What extractions of one backbone from one set of images will cost.

    Attributes:
        backbone: its name.
        engine: what ran the sample.
        rows: one for each layer and pooling taken alone, and one for all together where
            there are several.
    """

    backbone: str
    engine: str
    rows: tuple[ForecastRow, ...]

    def table(self) -> Table:
        """Return the rows as a table."""
        columns = (
            Column("layer"),
            Column("pooling"),
            Column("dimension", "integer"),
            Column("images/s", "number"),
            Column("time", "seconds"),
            Column("from", "seconds"),
            Column("to", "seconds"),
            Column("peak memory", "bytes"),
            Column("disk", "bytes"),
        )
        cells = tuple(
            (
                row.layer,
                row.pooling or None,
                row.dimension,
                row.images_per_second,
                row.seconds,
                row.low,
                row.high,
                row.memory,
                row.disk,
            )
            for row in self.rows
        )
        count = self.rows[0].images
        images = f"{format_cell(count, 'integer')} {noun(count, 'image')}"
        return Table(f"Extraction of {images} on this machine", columns, cells)

    def remark(self) -> str:
        """Return how the figures came about, for a person."""
        timed = counted(self.rows[0].sampled, "timed image")
        return (
            f"from {timed} of this set ({self.engine}); 'from' and 'to' are the "
            "fastest and the slowest part of them: other work on this machine moves the time; "
            "disk is the store's, features.parquet takes as much again"
        )

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the seconds of each extraction."""
        yield "network", f"{self.backbone} ({self.engine})"
        for row in self.rows:
            took = f"{duration(row.seconds)} for {row.images:,} {noun(row.images, 'image')}"
            yield f"{row.layer} {row.pooling}".rstrip(), took

    def blocks(self) -> Iterator[Block]:
        """Yield the rows, and how the figures came about."""
        yield self.table()
        yield self.remark()

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"backbone": self.backbone, "engine": self.engine, "rows": rows}


def forecast(
    paths: Sequence[str],
    features: FeatureSettings | None = None,
    layers: Sequence[str] = (),
    poolings: Sequence[str] = (),
    run: RunSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Forecast:
    """Forecast what extracting features of *paths* costs, from a sample of a few seconds.

    Args:
        paths: the image files.
        features: the backbone, and layer and pooling where the next two are empty.
        layers: layers to forecast, each alone and all together.
        poolings: poolings of each of them.
        run: engine, limits, cache folder; precision fp32.
        progress: receives which layer is timed.

    Raises:
        DataError: there are no images, or none of the sampled ones can be used.
        OffshelfError: the names or settings cannot be used.
    """
    features, run = features or FeatureSettings(), run or RunSettings()
    _check(paths, run)
    names = tuple(dict.fromkeys(layers or [features.layer]))
    words = tuple(dict.fromkeys(poolings or [features.pooling]))
    engine = dataclasses.replace(run.engine, images=len(paths))
    request = SampleRequest(
        paths=_picked(paths),
        features=features,
        layers=names,
        poolings=words,
        run=dataclasses.replace(run, engine=engine),
    )
    progress = progress or Silent()
    rows = []
    for layer in names:
        progress.note(f"timing a few images: {layer}")
        sample = sample_apart(dataclasses.replace(request, layers=(layer,)))
        for word in words:
            sizes = [sample.dimensions[f"{layer}_{word}"]]
            rows.append(_costs(layer, word, sizes, sample, len(paths)))
    if len(names) > 1:
        progress.note("timing a few images: all layers in one pass")
        sample = sample_apart(request)
    if len(rows) > 1:
        sizes = list(sample.dimensions.values())
        rows.append(_costs("all in one pass", "", sizes, sample, len(paths)))
    return Forecast(features.backbone, sample.engine, tuple(rows))


def _check(paths: Sequence[str], run: RunSettings) -> None:
    if not paths:
        raise DataError("no images to forecast an extraction for")
    if run.engine.precision not in UNCALIBRATED:
        raise EngineError(
            f"a forecast needs a network that is not calibrated first: precision "
            f"{', '.join(UNCALIBRATED)}, not {run.engine.precision!r}"
        )


def speed(steps: Sequence[tuple[float, int]]) -> tuple[float, float, float]:
    """Return images per second: over the timed batches, and in the slowest and fastest part.

    Batches finish in bursts, several at a time, so no part is shorter than three. A sample
    too short for that is judged as a whole, with its warm-up: rather too slow than too fast.

    Args:
        steps: pairs (seconds, images so far); the first batches only warm up.

    >>> speed([(1.0, 4), (2.0, 8), (3.0, 12), (4.0, 16), (5.0, 20), (6.0, 24)])
    (4.0, 4.0, 4.0)
    """
    timed = np.array(steps[WARM_BATCHES - 1 :], float)
    parts = min(PARTS, (len(timed) - 1) // 3)
    if parts < 1:
        timed, parts = np.array([(0.0, 0), steps[-1]], float), 1
    edges = np.linspace(0, len(timed) - 1, parts + 1).round().astype(int)
    passed = np.maximum(np.diff(timed[edges], axis=0), 1e-9)
    rates = passed[:, 1] / passed[:, 0]
    whole = passed.sum(0)
    return float(whole[1] / whole[0]), float(rates.min()), float(rates.max())


def _picked(paths: Sequence[str]) -> tuple[str, ...]:
    """Draw images so that wherever the sample ends, it was fair to the whole set."""
    order = np.random.default_rng(0).permutation(len(paths))[:MAX_SAMPLED]
    return tuple(paths[place] for place in order)


def _costs(
    layer: str, pooling: str, dimensions: Sequence[int], sample: Sample, images: int
) -> ForecastRow:
    rate, slowest, fastest = speed(sample.steps)
    sampled = sample.steps[-1][1]
    memory = sample.memory
    if memory is not None:
        memory += held(dimensions, images) - held(dimensions, min(sampled, images))
    return ForecastRow(
        layer=layer,
        pooling=pooling,
        dimension=sum(dimensions),
        images=images,
        images_per_second=rate,
        start=sample.start,
        seconds=sample.start + images / rate,
        low=sample.start + images / fastest,
        high=sample.start + images / slowest,
        memory=memory,
        disk=disk_bytes(dimensions, images),
        sampled=sampled,
    )
