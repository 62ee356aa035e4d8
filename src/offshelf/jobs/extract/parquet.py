"""Features of a job as one Parquet file: a row for every image, failed ones included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from offshelf import files
from offshelf.data.tables.image_table import ImageTable
from offshelf.errors import DataError
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind
from offshelf.features.store.part_files import texts, vectors
from offshelf.text import shown, spelled

# Of one row group. A smaller one costs more to write, a larger one more memory.
MAX_ROWS, MAX_BYTES = 8192, 8 * 2**20
# A dictionary of features would be as long as they are, and is made in vain.
_TEXTS = ("path", "label", "split", "status", "reason", "sha256")
_REPEATED = ["label", "split", "status", "reason"]
SUFFIXES = ("", ".parquet", ".pq")
_MAGIC = b"PAR1"


def check_target(out: Path, data: Path) -> None:
    """Refuse a place where the features cannot or should not be written, before any work.

    Args:
        out: the Parquet file to be.
        data: where the images come from; it is never replaced.

    Raises:
        DataError: *out* is a folder, a file that is no Parquet file, or *data* itself, or has
            the ending of another format.
    """
    if refusal := files.target_refusal(out, "Parquet file", "features.parquet", [_MAGIC]):
        raise DataError(refusal)
    if out.exists() and data.exists() and out.samefile(data):
        raise DataError(f"{shown(out)}: is DATA itself, so it is not replaced; choose another name")
    if not out.exists() and out.suffix.lower() not in SUFFIXES:
        better = shown(out.with_suffix(".parquet"))
        raise DataError(f"{shown(out)}: features are written as Parquet; name it {better}")


def write_features(
    out: Path, table: ImageTable, extraction: Extraction, kinds: Sequence[FeatureKind]
) -> Path:
    r"""Write the ledger and the features of a job, whole or not at all, and return *out*.

    The columns are path, label, split, status, reason and sha256 (texts), then a list of
    float32 for each kind of features, null where the image could not be used. A path or
    label that is no UTF-8 is written with ``\xNN`` for what is not. Memory does not grow
    with the number of images.

    Raises:
        DataError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    batches = _batches(table, extraction, kinds)
    first = next(batches)
    try:
        with (
            files.atomic_path(out) as temporary,
            pq.ParquetWriter(
                temporary,
                first.schema,
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
