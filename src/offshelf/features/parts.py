"""One Parquet part of a feature store: fixed-size rows, written whole, read in pieces."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.errors import StoreError

ROW_GROUP_BYTES = 8 * 2**20
HASH_COLUMN = "image_sha256"
FEATURES_COLUMN = "features"


class DamagedPartError(StoreError):
    """A part whose content is not what was written."""


def write(path: Path, digests: Sequence[bytes], matrix: NDArray[np.float32]) -> None:
    """Write rows to *path*, whole or not at all.

    Args:
        path: the part.
        digests: N hashes of 32 bytes.
        matrix: float32, N x D.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            HASH_COLUMN: _hashes(digests),
            FEATURES_COLUMN: vectors(matrix),
        }
    )
    rows = max(1, ROW_GROUP_BYTES // (4 * matrix.shape[1]))
    with files.atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=rows,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )


def vectors(matrix: NDArray[np.float32]) -> Any:
    """Return an Arrow array of fixed-size float32 lists from an N x D matrix."""
    import pyarrow as pa

    # pyarrow's array would load pandas, to ask whether it was given a part of a frame.
    values = np.ascontiguousarray(matrix, np.float32).reshape(-1)
    flat = pa.Array.from_buffers(pa.float32(), len(values), [None, pa.py_buffer(values)])
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _hashes(digests: Sequence[bytes]) -> Any:
    import pyarrow as pa

    if any(len(digest) != 32 for digest in digests):
        raise ValueError("a digest is 32 bytes")
    buffers = [None, pa.py_buffer(b"".join(digests))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digests), buffers)


def read_hashes(path: Path) -> NDArray[np.bytes_] | None:
    """Return the hashes of a part as ``S32`` strings, or None when it is damaged.

    A part that another process has just set aside has none.

    Raises:
        StoreError: the system cannot read the file, which says nothing of its content.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # pyarrow's read_table would load its datasets, and pandas.
        with pq.ParquetFile(path) as part:
            column = part.read(columns=[HASH_COLUMN])[HASH_COLUMN]
    except FileNotFoundError:
        return np.empty(0, "S32")
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        _refuse_system_error(path, error)
        return None
    return np.array(column.to_pylist(), "S32")


def read_rows(
    path: Path,
    rows: NDArray[np.int64],
    into: NDArray[np.float32],
    at: NDArray[np.int64],
) -> None:
    """Copy rows of a part into ``into[at]``, one row group in memory at a time.

    Raises:
        DamagedPartError: the part is damaged.
        StoreError: the system cannot read the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as part:
            start = 0
            for group in range(part.num_row_groups):
                count = part.metadata.row_group(group).num_rows
                chosen = np.flatnonzero((rows >= start) & (rows < start + count))
                if len(chosen):
                    column = part.read_row_group(group, columns=[FEATURES_COLUMN])
                    # to_numpy would load pandas.
                    values = np.from_dlpack(column[FEATURES_COLUMN].combine_chunks().flatten())
                    matrix = values.reshape(count, into.shape[1])
                    into[at[chosen]] = matrix[rows[chosen] - start]
                start += count
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        _refuse_system_error(path, error)
        raise DamagedPartError(
            f"{path}: damaged part of the feature store, set aside; "
            "run again to extract its images anew"
        ) from error


def _refuse_system_error(path: Path, error: Exception) -> None:
    # Arrow's own errors have no number; those of the system do (no such file, no handles).
    if isinstance(error, OSError) and error.errno is not None:
        raise StoreError(
            f"{path}: cannot be read ({os.strerror(error.errno)}); run again"
        ) from error


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a store's manifest.

    Raises:
        StoreError: it is missing or no JSON object.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: no manifest of a feature store; delete this folder") from error
    if not isinstance(document, dict) or not isinstance(document.get("dimension"), int):
        raise StoreError(f"{path}: no manifest of a feature store; delete this folder")
    return document
