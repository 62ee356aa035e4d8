"""Extraction of features, into the store and as one Parquet file with a row for every image."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from offshelf import files
from offshelf.backbones.backbone import Backbone
from offshelf.data.folders.class_folders import has_splits
from offshelf.data.folders.image_files import TABLE_SUFFIXES, LeftOut, listed_once, subfolders
from offshelf.data.tables.columns import read_cells
from offshelf.data.tables.image_table import ImageTable, list_images, read_labelled, read_table
from offshelf.data.tables.sources import existing, is_several
from offshelf.errors import DataError
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind, feature_kinds
from offshelf.features.store.part_files import texts, vectors
from offshelf.jobs.setup.labelled_features import run_network
from offshelf.jobs.setup.settings import (
    FeatureSettings,
    JobContext,
    RunSettings,
    backbone_for,
    describe,
    describe_run,
    precision_facts,
)
from offshelf.progress import Progress, note_all
from offshelf.report import summary
from offshelf.report.result import Block, Facts, Result, require_pandas
from offshelf.text import counted, listed, shown, spelled
from offshelf.version import __version__

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExtractResult(Result):
    """Features of a set of images.

    Attributes:
        table: the images.
        extraction: the ledger and the stores.
        backbone: network and weights in use.
        kinds: what was taken.
        out: the Parquet file, or None.
        seconds: by stage: ``read``, ``calibrate``, ``start``, ``extract``, ``save``, ``total``.
    """

    table: ImageTable
    extraction: Extraction
    backbone: Backbone
    kinds: tuple[FeatureKind, ...]
    out: Path | None
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON document."""
        extraction = self.extraction
        return {
            "n_ok": len(extraction.ok),
            "n_failed": len(extraction.failures),
            "failures": [row.to_json() for row in extraction.failures],
            "images_per_second": extraction.images_per_second,
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
            **describe_run(extraction),
            "profile": extraction.profile.shares() if extraction.computed else None,
            "seconds": self.seconds,
            "warnings": list(self.table.warnings),
            "out": str(self.out) if self.out else None,
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many images there are, the columns of their features, and where they are."""
        extraction, n = self.extraction, len(self.extraction.ok)
        yield "images", f"{n:,}, {len(extraction.failures):,} left out{extraction.origin}"
        for kind in self.kinds:
            dimension = extraction.stores[kind].dimension
            yield "column", f"{kind.column}: {dimension:,} float32 of an image"
        yield "network", f"{self.backbone.spec.name}, {extraction.ran}{self.backbone.changed}"
        yield from precision_facts(extraction)
        rate = extraction.images_per_second
        if rate is not None:
            yield "speed", f"{rate:,.1f} images/s from files to features"
        yield "time", summary.seconds_line(self.seconds)
        yield "file", str(self.out) if self.out else "none; the features are in the store"

    def blocks(self) -> Iterator[Block]:
        """Yield the facts, and what was left out."""
        yield Facts(tuple(self.facts()))
        failures = [row.to_json() for row in self.extraction.failures]
        yield from summary.reservations(failures, self.backbone.trained)

    def to_frame(self) -> pandas.DataFrame:
        """Return a row for each image as a pandas frame, with the columns of the Parquet file.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require_pandas()
        import pyarrow as pa

        found = pa.concat_tables(_batches(self.table, self.extraction, self.kinds)).to_pandas()
        return cast("pandas.DataFrame", found)


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
    sources = [data] if isinstance(data, str | Path) else list(data)
    if target is not None:
        check_target(target, sources)
        if target.exists():
            job.progress.note(_replaced(target))
    with job.clock.stage("read"):
        with listed_once():
            table = list_images(sources) if len(sources) != 1 else _table(sources[0], job.run)
        note_all(job.progress, table.warnings)
        backbone = backbone_for(features, job.run, job.progress)
    kinds = feature_kinds(backbone, layers or [features.layer], poolings or [features.pooling])
    extraction, _ = run_network(table, backbone, kinds, job)
    if target is not None:
        with job.clock.stage("save"):
            write_features(target, table, extraction, backbone)
    return ExtractResult(
        table=table,
        extraction=extraction,
        backbone=backbone,
        kinds=kinds,
        out=target,
        seconds=job.clock.total(),
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


# Of one row group. A smaller one costs more to write, a larger one more memory.
MAX_ROWS, MAX_BYTES = 8192, 8 * 2**20
# A dictionary of features would be as long as they are, and is made in vain.
_TEXTS = ("path", "label", "split", "status", "reason", "sha256")
_REPEATED = ["label", "split", "status", "reason"]
SUFFIXES = ("", ".parquet", ".pq")
_MAGIC = b"PAR1"


def check_target(out: Path, sources: Sequence[str | Path]) -> None:
    """Refuse a place where the features cannot or should not be written, before any work.

    Args:
        out: the Parquet file to be.
        sources: where the images come from; none is ever replaced.

    Raises:
        DataError: *out* is a folder, a file that is no Parquet file, or one of *sources*, or
            has the ending of another format.
    """
    if refusal := files.target_refusal(out, "Parquet file", "features.parquet", [_MAGIC]):
        raise DataError(refusal)
    places = map(Path, sources)
    if out.exists() and any(place.exists() and out.samefile(place) for place in places):
        raise DataError(f"{shown(out)}: is DATA itself, so it is not replaced; choose another name")
    if not out.exists() and out.suffix.lower() not in SUFFIXES:
        better = shown(out.with_suffix(".parquet"))
        raise DataError(f"{shown(out)}: features are written as Parquet; name it {better}")


def _replaced(out: Path) -> str:
    """Return what is said of a file in whose place a new one will be written."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(out) as old:
            rows = counted(old.metadata.num_rows, "row")
            columns = [name for name in old.schema_arrow.names if name not in _TEXTS]
    except (pyarrow.ArrowException, OSError):
        return f"{shown(out)}: exists, and will be replaced"
    return f"{shown(out)}: holds {rows} of {listed(columns)}, and will be replaced"


def write_features(
    out: Path, table: ImageTable, extraction: Extraction, backbone: Backbone
) -> Path:
    r"""Write the ledger and the features of a job, whole or not at all, and return *out*.

    The columns are path, label, split, status, reason and sha256 (texts), then a list of
    float32 for each kind of features, null where the image could not be used. A path or
    label that is no UTF-8 is written with ``\xNN`` for what is not. What the features are
    of is JSON under the key ``offshelf`` of the schema. Memory does not grow with the number
    of images.

    Raises:
        DataError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    batches = _batches(table, extraction, tuple(extraction.stores))
    first = next(batches)
    described = json.dumps(_description(extraction, backbone), allow_nan=False)
    try:
        with (
            files.atomic_path(out) as temporary,
            pq.ParquetWriter(
                temporary,
                first.schema.with_metadata({"offshelf": described}),
                compression="none",
                use_dictionary=_REPEATED,
                write_statistics=list(_TEXTS),
            ) as writer,
        ):
            writer.write_table(first)
            for batch in batches:
                writer.write_table(batch)
    except OSError as error:
        raise DataError(files.unwritable(out, error)) from error
    return out


def _description(extraction: Extraction, backbone: Backbone) -> dict[str, Any]:
    """Return what decides the features of a file, column by column."""
    run = describe_run(extraction)
    del run["computed"]
    return {
        "offshelf": __version__,
        **describe(backbone),
        "preprocessing": backbone.input.to_json(),
        **run,
        "columns": {
            kind.column: {
                "layer": kind.layer,
                "path": kind.path,
                "pooling": kind.pooling,
                "dimension": store.dimension,
                "identity": store.identity,
            }
            for kind, store in extraction.stores.items()
        },
    }


def _batches(
    table: ImageTable, extraction: Extraction, kinds: Sequence[FeatureKind]
) -> Iterator[Any]:
    # Wide features (a flattened map) go in fewer rows, so that memory stays bounded.
    width = 4 * sum(extraction.stores[kind].dimension for kind in kinds)
    step = max(1, min(MAX_ROWS, MAX_BYTES // width))
    for start in range(0, len(table), step):
        rows = range(start, min(start + step, len(table)))
        yield _batch(rows, table, extraction, kinds)


def _batch(
    rows: range, table: ImageTable, extraction: Extraction, kinds: Sequence[FeatureKind]
) -> Any:
    import pyarrow as pa

    ledger = [extraction.rows[row] for row in rows]
    columns = {
        "path": [row.path for row in ledger],
        "label": [table.labels[row] for row in rows],
        "split": [table.splits[row] for row in rows],
        "status": [row.status for row in ledger],
        "reason": [row.reason for row in ledger],
        "sha256": [row.digest.hex() for row in ledger],
    }
    arrays = {name: texts([spelled(text) for text in columns[name]]) for name in _TEXTS}
    usable = np.array([row.status == "ok" for row in ledger], bool)
    ok = np.flatnonzero(usable) + rows.start
    for kind in kinds:
        arrays[kind.column] = vectors(extraction.matrix(kind, ok), usable)
    return pa.table(arrays)
