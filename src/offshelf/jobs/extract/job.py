"""Extraction of features, into the store and as one Parquet file with a row for every image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from offshelf.backbones.backbone import Backbone
from offshelf.data.folders.class_folders import has_splits
from offshelf.data.folders.image_files import TABLE_SUFFIXES, LeftOut, listed_once, subfolders
from offshelf.data.tables.columns import read_cells
from offshelf.data.tables.image_table import ImageTable, list_images, read_labelled, read_table
from offshelf.data.tables.sources import existing, is_several
from offshelf.errors import OffshelfError
from offshelf.feature_sets.feature_set import NO_FLIPS, FeatureSet, check_flips
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.jobs.extract.extract_result import ExtractResult
from offshelf.jobs.extract.feature_file import check_target, replaced, write_features
from offshelf.jobs.setup.labelled_features import run_network, run_networks
from offshelf.jobs.setup.settings import (
    FeatureSettings,
    JobContext,
    RunSettings,
    backbone_for,
    feature_set_for,
)
from offshelf.progress import Progress, note_all
from offshelf.text import shown


def extract_features(
    data: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    features: FeatureSettings | None = None,
    layers: Sequence[str] = (),
    poolings: Sequence[str] = (),
    run: RunSettings | None = None,
    progress: Progress | None = None,
) -> ExtractResult:
    """Extract features of images and write them as a Parquet table.

    Args:
        data: labelled data as for ``fit``, or an image, any folder of images, a file with
            a list of paths (``-`` for standard input) or a pattern; or several of the latter.
        out: the Parquet file; None leaves the features in the store alone.
        features: the backbone, and the layer and pooling where the next two are empty; or a
            feature set, whose joined rows are one column.
        layers: layers to take in one pass; none with a feature set.
        poolings: what to do with each of them; with a feature set at most one, of its parts
            without a pooling.
        run: engine, limits, cache folder.
        progress: receives notes, and how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.
    """
    features, job = features or FeatureSettings(), JobContext.of(run, progress)
    _check(features, layers, poolings)
    sources = [data] if isinstance(data, str | Path) else list(data)
    target = _target(out, sources, job.progress)
    with job.clock.stage("read"):
        with listed_once():
            table = list_images(sources) if len(sources) != 1 else _table(sources[0], job.run)
        note_all(job.progress, table.warnings)
        wanted = _wanted(features, layers, poolings, job)
    extraction: Extraction
    if isinstance(wanted, FeatureSet):
        extraction, _ = run_networks(table, wanted, job)
        backbone, kinds = wanted.backbone, tuple(part.kind for part in wanted.parts)
    else:
        backbone, kinds = wanted
        extraction, _ = run_network(table, backbone, kinds, job)
    result = ExtractResult(
        table=table, extraction=extraction, backbone=backbone, kinds=kinds, out=target, seconds={}
    )
    if target is not None:
        with job.clock.stage("save"):
            write_features(target, table, extraction, result.columns, result.described())
    return dataclasses.replace(result, seconds=job.clock.total())


def _target(
    out: str | Path | None, sources: Sequence[str | Path], progress: Progress
) -> Path | None:
    if out is None:
        return None
    check_target(Path(out), sources)
    if Path(out).exists():
        progress.note(replaced(Path(out)))
    return Path(out)


def _check(features: FeatureSettings, layers: Sequence[str], poolings: Sequence[str]) -> None:
    """Refuse settings that contradict each other, or would be of no effect, before any work."""
    if check_flips(features.flips) != NO_FLIPS:
        raise OffshelfError(
            f"flips {features.flips!r}: extract gives the features of images as they are; "
            "fit, curve, audit and compare use mirror images"
        )
    if features.features is None:
        return
    if layers or len(poolings) > 1:
        word, given = ("layer", layers) if layers else ("pooling", poolings)
        raise OffshelfError(
            f"features {features.features!r} and {word} {', '.join(map(repr, given))}: the "
            "features are one column that names its layers and poolings; leave one of the two out"
        )


def _wanted(
    features: FeatureSettings, layers: Sequence[str], poolings: Sequence[str], job: JobContext
) -> FeatureSet | tuple[Backbone, tuple[FeatureKind, ...]]:
    """Open the networks, and return the features that become one column, or several."""
    if features.features is not None:
        pooling = poolings[0] if poolings else features.pooling
        joined = dataclasses.replace(features, pooling=pooling)
        return feature_set_for(joined, job.run, job.progress)
    backbone = backbone_for(features, job.run, job.progress)
    given = layers or [features.layer], poolings or [features.pooling]
    return backbone, feature_kinds(backbone, *given)


def _table(data: str | Path, run: RunSettings) -> ImageTable:
    """Read *data* with labels and the split of ``fit`` where it has them, else as images.

    Broken labelled data is an error, not a set of unlabelled images.
    """
    if is_several(data):
        return list_images([data])
    place = existing(data)
    labelled, warnings = _layout(place)
    if not labelled:
        table = list_images([data])
        return dataclasses.replace(table, warnings=(*table.warnings, *warnings))
    table = read_labelled(data, classes=run.classes)
    if len(table.classes) < 2:
        return table
    return read_table(data, test_size=run.test_size, seed=run.seed, classes=run.classes)


def _layout(place: Path) -> tuple[bool, tuple[str, ...]]:
    """Return whether *place* holds labelled data, and what to say when it half looks so."""
    if not place.is_dir():
        is_table = place.suffix.lower() in TABLE_SUFFIXES
        return is_table and any(cells.label for cells in read_cells(place, ("path",))), ()
    folders, images = subfolders(place, LeftOut())
    if not images or has_splits(place):
        return bool(folders), ()
    beside = f"{shown(place)}: images lie beside its folders, so folders are not taken as classes"
    return False, (beside,) if folders else ()
