"""Features of images as one Parquet file, a row for every image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.data.folders.class_folders import has_splits
from offshelf.data.folders.image_files import TABLE_SUFFIXES, LeftOut, listed_once, subfolders
from offshelf.data.tables.columns import read_cells
from offshelf.data.tables.image_table import ImageTable, list_images, read_labelled, read_table
from offshelf.data.tables.sources import existing, is_several
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.jobs.extract.parquet import check_target, write_features
from offshelf.jobs.setup.labelled_features import run_network
from offshelf.jobs.setup.opening import JobContext, backbone_for, describe, note_all
from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
from offshelf.progress import Progress
from offshelf.text import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class ExtractResult:
    """Features of a set of images.

    Attributes:
        table: the images.
        extraction: the ledger and the stores.
        backbone: network and weights in use.
        kinds: what was taken.
        out: the Parquet file, or None.
    """

    table: ImageTable
    extraction: Extraction
    backbone: Backbone
    kinds: tuple[FeatureKind, ...]
    out: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        extraction = self.extraction
        return {
            "n_ok": len(extraction.ok),
            "n_failed": len(extraction.failures),
            "failures": [row.to_json() for row in extraction.failures],
            "images_per_second": extraction.images_per_second,
            "computed": extraction.computed,
            "layers": [
                {
                    "name": kind.layer,
                    "path": kind.path,
                    "pooling": kind.pooling,
                    "dimension": extraction.stores[kind].dimension,
                    "column": kind.column,
                    "store": str(extraction.stores[kind].folder),
                }
                for kind in self.kinds
            ],
            **describe(self.backbone),
            "engine": extraction.engine,
            "precision": extraction.precision,
            "profile": extraction.profile.shares(),
            "seconds": extraction.seconds,
            "warnings": list(self.table.warnings),
            "out": str(self.out) if self.out else None,
        }


def extract_features(
    data: str | Path,
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
        data: labelled data as for ``fit``, or an image, any folder of images, a list of
            paths (``-`` for standard input) or a pattern.
        out: the Parquet file; None leaves the features in the store alone.
        features: the backbone, and the layer and pooling where the next two are empty.
        layers: layers to take in one pass.
        poolings: what to do with each of them.
        run: engine, limits, cache folder.
        progress: receives notes, and how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.
    """
    features, job = features or FeatureSettings(), JobContext.of(run, progress)
    target = Path(out) if out is not None else None
    if target is not None:
        check_target(target, Path(data))
    with listed_once():
        table = _table(data, job.run)
    note_all(job.progress, table.warnings)
    backbone = backbone_for(features, job.run, job.progress)
    kinds = feature_kinds(backbone, layers or [features.layer], poolings or [features.pooling])
    extraction, _ = run_network(table, backbone, kinds, job)
    if target is not None:
        write_features(target, table, extraction, kinds)
    return ExtractResult(
        table=table, extraction=extraction, backbone=backbone, kinds=kinds, out=target
    )


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
