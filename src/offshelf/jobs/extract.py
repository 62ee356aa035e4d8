"""From images to one Parquet file of features, a row for every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import files
from offshelf.backbones.backbone import Backbone
from offshelf.data.table import ImageTable, list_images, read_table
from offshelf.errors import DataError
from offshelf.features.extract import Extraction, extract
from offshelf.features.kind import FeatureKind, feature_kinds
from offshelf.features.parts import vectors
from offshelf.jobs.precision import settled
from offshelf.jobs.settings import FeatureSettings, RunSettings
from offshelf.jobs.training import backbone_for, describe
from offshelf.progress import Progress, Silent

ROWS_AT_A_TIME = 512
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, eq=False)
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
        data: labelled data as for ``fit``, or an image, or any folder of images.
        out: the Parquet file; None leaves the features in the store alone.
        features: the backbone, and the layer and pooling where the next two are empty.
        layers: layers to take in one pass.
        poolings: what to do with each of them.
        run: engine, limits, cache folder.
        progress: is told how far the work is.

    Raises:
        OffshelfError: the data, names or settings cannot be used; one line says why.
    """
    features, run = features or FeatureSettings(), run or RunSettings()
    progress = progress or Silent()
    table = _table(Path(data), run)
    for warning in table.warnings:
        progress.note(warning)
    backbone = backbone_for(features, run, progress)
    kinds = feature_kinds(backbone, layers or [features.layer], poolings or [features.pooling])
    engine = settled(table, backbone, kinds[0], run, progress)
    extraction = extract(table.paths, backbone, kinds, engine, run.reading, progress)
    target = Path(out) if out is not None else None
    if target is not None:
        _write(target, table, extraction, kinds)
    return ExtractResult(table, extraction, backbone, kinds, target)


def _table(data: Path, run: RunSettings) -> ImageTable:
    if data.is_dir() or data.suffix.lower() in TABLES:
        try:
            return read_table(data, test_size=run.test_size, seed=run.seed)
        except DataError:
            if not data.is_dir():
                raise
    return list_images([data])


def _write(
    out: Path, table: ImageTable, extraction: Extraction, kinds: Sequence[FeatureKind]
) -> None:
    import pyarrow.parquet as pq

    try:
        with files.atomic_path(out) as temporary:
            writer: Any = None
            for start in range(0, len(table), ROWS_AT_A_TIME):
                batch = _batch(
                    range(start, min(start + ROWS_AT_A_TIME, len(table))), table, extraction, kinds
                )
                writer = writer or pq.ParquetWriter(temporary, batch.schema, compression="none")
                writer.write_table(batch)
            writer.close()
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error})") from error


def _batch(
    rows: range, table: ImageTable, extraction: Extraction, kinds: Sequence[FeatureKind]
) -> Any:
    import pyarrow as pa

    ledger = [extraction.rows[row] for row in rows]
    columns = {
        "path": pa.array([row.path for row in ledger], pa.string()),
        "label": pa.array([table.labels[row] for row in rows], pa.string()),
        "split": pa.array([table.splits[row] for row in rows], pa.string()),
        "status": pa.array([row.status for row in ledger], pa.string()),
        "reason": pa.array([row.reason for row in ledger], pa.string()),
        "sha256": pa.array([row.digest.hex() for row in ledger], pa.string()),
    }
    ok = [row for row, entry in zip(rows, ledger, strict=True) if entry.status == "ok"]
    place = pa.array(
        [
            ok.index(row) if entry.status == "ok" else None
            for row, entry in zip(rows, ledger, strict=True)
        ],
        pa.int64(),
    )
    for kind in kinds:
        columns[kind.column] = vectors(extraction.matrix(kind, ok)).take(place)
    return pa.table(columns)
