"""Extraction for a comparison: all layers and poolings of a network in one pass; its speed.

As one pass gives all layers, only the deepest is timed. A layer before it gets the share that
its multiply-accumulates have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf import cache, files, sealed_json
from offshelf.backbones.backbone import Backbone, chosen_layers, open_backbone
from offshelf.backbones.named_layers import INPUT_SUFFIX
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.contract import EngineOptions
from offshelf.engine.selection import platform_of
from offshelf.errors import BackboneError, DataError, LayerError, OffshelfError
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.jobs.compare.feature_sets import Part, Source, View
from offshelf.jobs.extract.forecast import speed
from offshelf.jobs.extract.timed_sample import SampleRequest, take_sample
from offshelf.jobs.setup.labelled_features import (
    contradictions,
    finished_options,
    run_mirrored,
    run_network,
)
from offshelf.jobs.setup.precision import AUTO
from offshelf.jobs.setup.settings import FeatureSettings, JobContext, RunSettings
from offshelf.locks import alone
from offshelf.progress import Progress, note_all

SAMPLED = 512
# No image takes longer than a day.
MAX_MS = 86_400_000.0
VERSION = 2


class Networks:
    """The opened backbones of a comparison, each weights file read once."""

    def __init__(self, run: RunSettings, progress: Progress, download: bool = True) -> None:
        self._run, self._progress, self._download = run, progress, download
        self._opened: dict[Source, Backbone] = {}

    def open(self, source: Source) -> Backbone:
        """Return the backbone of *source*.

        Raises:
            BackboneError: the name or the resize mode is unknown.
            WeightsError: the weights are not here.
        """
        if source not in self._opened:
            self._opened[source] = self._open(source)
        return self._opened[source]

    def layers(self, source: Source, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return the layers that *words* stand for; see :func:`.chosen_layers`."""
        return chosen_layers(self.open(source), words)

    def check(self, view: View) -> None:
        """Raise LayerError for a view that has a layer twice, under two names or sizes."""
        seen = {
            (self.open(part.source), self.open(part.source).path_of(part.layer), part.pooling)
            for part in view.parts
        }
        if len(seen) < len(view.parts):
            raise LayerError(f"the concatenation {view.text!r} names a layer twice")

    def _open(self, source: Source) -> Backbone:
        if source.precision == AUTO:
            raise BackboneError(
                "a comparison needs a stated precision: give fp32 and int8 as two rows, not auto"
            )
        backbone = open_backbone(
            source.backbone,
            weights="random" if source.weights == "random" else None,
            resize=source.resize,
            grey=source.grey,
            size=source.size,
            cache_dir=self._run.engine.cache_dir,
            download=self._download,
            progress=self._progress,
        )
        if not source.mirrored:
            backbone.note_untrained(self._progress)
        if source.scaling == "none":
            backbone = backbone.without_normalisation()
        if source.mirrored:
            mirrored = dataclasses.replace(backbone.input, mirrored=True)
            backbone = dataclasses.replace(backbone, input=mirrored)
        return backbone


@dataclass(frozen=True, eq=False)
class Extracted:
    """The features of one source.

    Attributes:
        backbone: the network as it was run.
        extraction: ledger, stores and times.
        kinds: part -> kind of features.
        options: of the engine as it ran, with its calibration.
    """

    backbone: Backbone
    extraction: Extraction
    kinds: Mapping[Part, FeatureKind]
    options: EngineOptions

    @property
    def unique_kinds(self) -> tuple[FeatureKind, ...]:
        """What the one pass took, each once."""
        return tuple(dict.fromkeys(self.kinds.values()))

    def identity(self, part: Part) -> dict[str, object]:
        """Return what decides the numbers of *part*, the key of its store."""
        return self.extraction.stores[self.kinds[part]].identity


def extract_all(
    table: ImageTable,
    views: Sequence[View],
    networks: Networks,
    run: RunSettings,
    progress: Progress,
) -> dict[Source, Extracted]:
    """Extract every part of every view, each source in one pass.

    Raises:
        DataError: none of the images can be used.
        OffshelfError: what opening and running a network raises.
    """
    parts: dict[Source, list[Part]] = {}
    for part in dict.fromkeys(part for view in views for part in view.needs):
        parts.setdefault(part.source, []).append(part)
    found: dict[Source, Extracted] = {}
    for source, wanted in parts.items():
        before = found.get(source.plain) if source.mirrored else None
        job = JobContext.of(run, progress)
        found[source] = _extract(table, source, wanted, networks, before, job)
    note_all(progress, contradictions(table, next(iter(found.values())).extraction))
    return found


def usable(extracted: Iterable[Extracted]) -> NDArray[np.int64]:
    """Return the rows that have features everywhere.

    Raises:
        DataError: there is none.
    """
    rows: NDArray[np.int64] | None = None
    for one in extracted:
        ok = one.extraction.ok
        rows = ok if rows is None else np.intersect1d(rows, ok)
    if rows is None or not len(rows):
        raise DataError("none of the images can be used; 'offshelf audit' says why")
    return rows


def _extract(
    table: ImageTable,
    source: Source,
    parts: Sequence[Part],
    networks: Networks,
    before: Extracted | None,
    job: JobContext,
) -> Extracted:
    """Extract parts of a source; *before* is the same source without mirror images, if known."""
    backbone = networks.open(source)
    kinds = {part: feature_kinds(backbone, [part.layer], [part.pooling])[0] for part in parts}
    unique = tuple(dict.fromkeys(kinds.values()))
    if len(unique) > 1:
        job.progress.note(f"{source.backbone}: {len(unique)} kinds of features in one pass")
    if before is not None:
        # The mirror images run in the same int8 network, which was made for these layers.
        options = finished_options(before.backbone, before.unique_kinds, before.options)
        extraction = run_mirrored(table, backbone, before.unique_kinds, options, job)
        return Extracted(backbone, extraction, kinds, options)
    engine = dataclasses.replace(job.run.engine, precision=source.precision)
    run = dataclasses.replace(job.run, engine=engine)
    extraction, options = run_network(table, backbone, unique, JobContext.of(run, job.progress))
    return Extracted(backbone, extraction, kinds, options)


@dataclass(frozen=True)
class Speed:
    """How fast a source runs.

    Attributes:
        ms: milliseconds for an image, files to features, all layers.
        macs: multiply-accumulates up to each layer, by module path.
    """

    ms: float
    macs: Mapping[str, int]

    def of(self, path: str) -> float:
        """Return the milliseconds up to the layer at *path*."""
        return self.ms * self.macs[path] / max(1, *self.macs.values())


def speeds_of(
    found: Mapping[Source, Extracted], table: ImageTable, run: RunSettings
) -> dict[Source, Speed]:
    """Return the speed of every source; that of mirror images is the same."""
    plain = [source for source in found if not source.mirrored]
    return {source: _speed_of(source, found[source], table, run) for source in plain}


def _speed_of(source: Source, extracted: Extracted, table: ImageTable, run: RunSettings) -> Speed:
    """Return the speed of a source: as just seen, as seen before, or of a sample."""
    paths = [kind.path for kind in extracted.kinds.values()]
    macs = {path: macs_up_to(extracted.backbone, path) for path in paths}
    place = _record(extracted, max(macs, key=lambda path: macs[path]), run)
    with alone(place):
        ms = _seen(extracted) or _recorded(place) or _sampled(source, extracted, table, run)
        if ms is None:
            return Speed(0.0, macs)
        # Not being able to remember only costs the next comparison a sample.
        with contextlib.suppress(OSError):
            sealed_json.write(place, {"ms": ms})
        return Speed(ms, macs)


def _seen(extracted: Extracted) -> float | None:
    """Return what the extraction took, if all different images went through the network."""
    extraction = extracted.extraction
    new = len({row.digest for row in extraction.rows if row.status == "ok"})
    if not new or extraction.computed < new:
        return None
    return 1000 * extraction.seconds["extract"] / extraction.computed


def _recorded(place: Path) -> float | None:
    document = sealed_json.read(place)
    if document is None:
        return None
    ms = document.get("ms")
    if type(ms) is float and 0 < ms < MAX_MS:
        return ms
    sealed_json.set_aside(place)
    return None


def milliseconds(
    view: View, found: Mapping[Source, Extracted], speeds: Mapping[Source, Speed]
) -> float:
    """Return milliseconds for an image: of each source the deepest of its parts."""
    deepest: dict[Source, float] = {}
    for part in view.needs:
        ms = speeds[part.source.plain].of(found[part.source].kinds[part].path)
        deepest[part.source] = max(ms, deepest.get(part.source, 0.0))
    return sum(deepest.values())


def weights_bytes(view: View, found: Mapping[Source, Extracted]) -> int:
    """Return bytes of the weights of a view's networks, each file once; of random ones in fp32."""
    backbones = [found[part.source].backbone for part in view.parts]
    different = {(one.spec.name, one.file.sha256): one for one in backbones}
    return sum(
        one.file.path.stat().st_size if one.file.path else 4 * one.spec.parameters
        for one in different.values()
    )


def macs_up_to(backbone: Backbone, path: str) -> int:
    """Return multiply-accumulates of one image up to the layer at *path*.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> vgg = open_backbone("vgg16", weights="random")
    >>> macs_up_to(vgg, "features.30")
    15346630656
    """
    from offshelf.backbones.parameter_table.parameters import layer_rows

    name = path.removesuffix(INPUT_SUFFIX)
    rows = layer_rows(backbone.spec, backbone.input.size)
    inside = [i for i, row in enumerate(rows) if f"{row.path}.".startswith(f"{name}.")]
    if not inside:
        return sum(row.macs for row in rows)
    end = inside[0] if path.endswith(INPUT_SUFFIX) else inside[-1] + 1
    return sum(row.macs for row in rows[:end])


def _sampled(
    source: Source, extracted: Extracted, table: ImageTable, run: RunSettings
) -> float | None:
    pooling = next(iter(extracted.kinds)).pooling
    weights = "random" if source.weights == "random" else None
    features = FeatureSettings(
        source.backbone,
        weights=weights,
        resize=source.resize,
        grey=source.grey,
        input_size=source.size,
    )
    request = SampleRequest(
        paths=table.paths[:SAMPLED],
        features=features,
        layers=tuple(dict.fromkeys(part.layer for part in extracted.kinds)),
        poolings=(pooling,),
        run=dataclasses.replace(run, engine=extracted.options),
    )
    try:
        return 1000 / max(speed(take_sample(request).steps)[0], 1e-9)
    except OffshelfError:
        # The comparison stands without this column.
        return None


def _record(extracted: Extracted, deepest: str, run: RunSettings) -> Path:
    key = [
        VERSION,
        extracted.backbone.identity() | {"input": extracted.backbone.input.size},
        deepest,
        platform_of(extracted.options),
        extracted.options.precision,
        extracted.options.threads or os.cpu_count(),
    ]
    folder = cache.compiled_folder(run.engine.cache_dir)
    return folder / f"speed-{files.sha256_json(key)[:32]}.json"
