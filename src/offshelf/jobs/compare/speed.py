"""The speed of networks: milliseconds for an image up to each layer.

One pass gives all layers of a network, so only the deepest is timed. A layer before it
gets the share that its multiply-accumulates have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from offshelf import cache, files, sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.backbones.named_layers import INPUT_SUFFIX
from offshelf.data.tables.image_table import ImageTable
from offshelf.engine.selection.numeric_environment import made_on
from offshelf.errors import OffshelfError
from offshelf.jobs.compare.feature_sets import Part, Source, View
from offshelf.jobs.compare.source_features import Extracted
from offshelf.jobs.extract.forecast import speed
from offshelf.jobs.extract.timed_sample import SampleRequest, take_sample
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.locks import alone

SAMPLED = 512
# No image takes longer than a day.
MAX_MS = 86_400_000.0
VERSION = 2


@dataclasses.dataclass(frozen=True)
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
    return {source: speed_of(source, found[source], table, run) for source in plain}


def speed_of(source: Source, extracted: Extracted, table: ImageTable, run: RunSettings) -> Speed:
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
    """Return what the extraction took, if all of its images went through the network.

    Of images with the same bytes only one does.
    """
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
        plain = dataclasses.replace(part.source, mirrored=False)
        ms = speeds[plain].of(found[part.source].kinds[part].path)
        deepest[part.source] = max(ms, deepest.get(part.source, 0.0))
    return sum(deepest.values())


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
    part: Part = next(iter(extracted.kinds))
    layers = tuple(dict.fromkeys(one.layer for one in extracted.kinds))
    weights = "random" if source.weights == "random" else None
    features = FeatureSettings(
        source.backbone,
        layer=part.layer,
        pooling=part.pooling,
        weights=weights,
        resize=source.resize,
    )
    options = dataclasses.replace(run, engine=extracted.options)
    request = SampleRequest(
        paths=table.paths[:SAMPLED],
        features=features,
        layers=layers,
        poolings=(part.pooling,),
        run=options,
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
        made_on(extracted.options),
        extracted.options.precision,
        extracted.options.threads or os.cpu_count(),
    ]
    folder = cache.compiled_folder(run.engine.cache_dir)
    return folder / f"speed-{files.sha256_json(key)[:32]}.json"
