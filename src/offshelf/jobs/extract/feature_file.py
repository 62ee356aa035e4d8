"""The Parquet file of an extraction: a row for every image, a column for each kind of features."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offshelf import files
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.features.extraction import Extraction
from offshelf.features.store.part_files import texts, vectors
from offshelf.jobs.extract.feature_columns import FeatureColumn
from offshelf.text import counted, listed, shown, spelled

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


def replaced(out: Path) -> str:
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
    out: Path,
    table: ImageTable,
    extraction: Extraction,
    columns: Sequence[FeatureColumn],
    described: Mapping[str, Any],
) -> Path:
    r"""Write the ledger and the features of a job, whole or not at all, and return *out*.

    The columns are path, label, split, status, reason and sha256 (texts), then a list of
    float32 for each of *columns*, null where the image could not be used. A path or
    label that is no UTF-8 is written with ``\xNN`` for what is not. What the features are
    of is JSON under the key ``offshelf`` of the schema. Memory does not grow with the number
    of images.

    Args:
        out: the file.
        table: the images.
        extraction: their ledger.
        columns: their features.
        described: what the features are of, as JSON values.

    Raises:
        DataError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    parts = batches(table, extraction, columns)
    first = next(parts)
    document = json.dumps(described, allow_nan=False)
    try:
        with (
            files.atomic_path(out) as temporary,
            pq.ParquetWriter(
                temporary,
                first.schema.with_metadata({"offshelf": document}),
                compression="none",
                use_dictionary=_REPEATED,
                write_statistics=list(_TEXTS),
            ) as writer,
        ):
            writer.write_table(first)
            for part in parts:
                writer.write_table(part)
    except OSError as error:
        raise DataError(files.unwritable(out, error)) from error
    return out


def batches(
    table: ImageTable, extraction: Extraction, columns: Sequence[FeatureColumn]
) -> Iterator[Any]:
    """Yield the rows of the file as Arrow tables, some at a time."""
    # Wide features (a flattened map) go in fewer rows, so that memory stays bounded.
    width = 4 * sum(column.dimension for column in columns)
    step = max(1, min(MAX_ROWS, MAX_BYTES // width))
    for start in range(0, len(table), step):
        rows = range(start, min(start + step, len(table)))
        yield _batch(rows, table, extraction, columns)


def _batch(
    rows: range, table: ImageTable, extraction: Extraction, columns: Sequence[FeatureColumn]
) -> Any:
    import pyarrow as pa

    ledger = [extraction.rows[row] for row in rows]
    words = {
        "path": [row.path for row in ledger],
        "label": [table.labels[row] for row in rows],
        "split": [table.splits[row] for row in rows],
        "status": [row.status for row in ledger],
        "reason": [row.reason for row in ledger],
        "sha256": [row.digest.hex() for row in ledger],
    }
    arrays = {name: texts([spelled(text) for text in words[name]]) for name in _TEXTS}
    usable = np.array([row.status == "ok" for row in ledger], bool)
    ok = np.flatnonzero(usable) + rows.start
    for column in columns:
        arrays[column.name] = vectors(column.read(ok), usable)
    return pa.table(arrays)
