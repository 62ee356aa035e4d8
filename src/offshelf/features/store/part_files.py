"""One Parquet part of a feature store: fixed-size rows, written whole, read in pieces.

Everything in a part is bound to it. Its name ends in a hash of its footer; the footer says
which store it belongs to and holds a hash of the hashes and facts of all rows and a checksum
of the features of each row group. So nothing is read that is not what was written, however
the file was damaged, and reading a few rows looks at their row groups alone.

The features of a row group are one page, not compressed: they are read as they lie in the
file. A process checks each of them once, and again only where the file was touched since.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.features.store.arrow_arrays import (
    FACT_TYPES,
    FEATURES_COLUMN,
    HASH_COLUMN,
    facts_columns,
    hashes,
    index_digest,
    index_of,
    vectors,
)
from offshelf.features.store.part_format import (
    DamagedPartError,
    ForeignPartError,
    GonePartError,
    Part,
    Rows,
    checksum,
    features_of,
    opened,
)

__all__ = [
    "DamagedPartError",
    "ForeignPartError",
    "GonePartError",
    "Part",
    "Rows",
    "read_part",
    "read_rows",
    "verify",
    "write",
]
# Arrow ends a page after 20,000 rows.
ROW_GROUP_BYTES, ROW_GROUP_ROWS = 8 * 2**20, 2**14
_ONE_PAGE = 2**30
_DESCRIPTION = b"offshelf"
_MAGIC = b"PAR1"
_NAME_DIGITS = 24


def write(folder: Path, stem: str, identity: dict[str, Any], rows: Rows) -> Path:
    """Write *rows* as one part into the store at *folder*, whole or not at all; return the part.

    Args:
        folder: of the store; its name is bound to the part.
        stem: what the name of the part begins with.
        identity: of the store, so that a part alone says where it belongs.
        rows: what it holds.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = min(max(1, ROW_GROUP_BYTES // (4 * rows.matrix.shape[1])), ROW_GROUP_ROWS)
    table = pa.table(
        {HASH_COLUMN: hashes(rows.digests), **facts_columns(rows.facts)}
        | {FEATURES_COLUMN: vectors(rows.matrix)}
    )
    description = {"store": folder.name, "identity": identity, **_description(table, rows, size)}
    table = table.replace_schema_metadata({_DESCRIPTION: json.dumps(description)})
    made: list[Path] = []

    def named(temporary: Path, target: Path) -> Path:
        made.append(_named_by_footer(temporary, target))
        return made[0]

    with files.atomic_path(folder / f"{stem}.parquet", named) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=size,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
            data_page_size=_ONE_PAGE,
        )
    return made[0]


def _description(table: Any, rows: Rows, size: int) -> dict[str, Any]:
    count, dimension = rows.matrix.shape
    starts = range(0, count, size)
    return {
        "dimension": dimension,
        "groups": [min(size, count - start) for start in starts],
        "index": index_digest(index_of(table)),
        "features": [checksum(rows.matrix[start : start + size]) for start in starts],
    }


def read_part(path: Path, store: str) -> Part:
    """Return what the part at *path* holds besides its features.

    Args:
        path: the part.
        store: name of the folder that it must belong to.

    Raises:
        DamagedPartError: it is not what was written, or belongs to another store.
        GonePartError: it is no longer there.
        StoreError: the system cannot read the file, which says nothing of its content.
    """
    with opened(path) as part:
        if path != _named_by_footer(path, path.with_name(path.name.rpartition("-")[0])):
            raise ValueError("the footer is not that of the name")
        found = json.loads(part.metadata.metadata[_DESCRIPTION])
        if found["store"] != store:
            raise ForeignPartError(f"{path}: part of another feature store, set aside; run again")
        # pyarrow's read_table would load its datasets, and pandas.
        index = index_of(part.read(columns=[HASH_COLUMN, *FACT_TYPES]))
        digests, groups = index[HASH_COLUMN], tuple(found["groups"])
        if len(digests) != sum(groups) or index_digest(index) != found["index"]:
            raise ValueError("hashes and facts are not those of the rows")
        sizes = [4 * count * found["dimension"] for count in groups]
        return Part(
            path=path,
            dimension=found["dimension"],
            hashes=digests,
            facts={name: index[name] for name in FACT_TYPES},
            groups=groups,
            checksums=tuple(found["features"]),
            places=tuple(_end(part.metadata, g) - size for g, size in enumerate(sizes)),
        )


def read_rows(
    part: Part,
    rows: NDArray[np.int64],
    into: NDArray[np.float32],
    at: NDArray[np.int64],
) -> None:
    """Copy rows of a part into ``into[at]``, one row group in memory at a time.

    Raises:
        DamagedPartError: the part is damaged.
        GonePartError: it is no longer there.
        StoreError: the system cannot read the file.
    """
    starts = np.concatenate([[0], np.cumsum(part.groups)])
    with features_of(part) as features:
        for group, (start, end) in enumerate(itertools.pairwise(starts)):
            chosen = np.flatnonzero((rows >= start) & (rows < end))
            if len(chosen):
                local = rows[chosen] - start
                first = int(local.min())
                into[at[chosen]] = features.read(group, first, int(local.max()) + 1)[local - first]


def verify(part: Part) -> None:
    """Look through all features of a part that this process has not seen, to know them sound.

    Raises:
        DamagedPartError: they are not.
        GonePartError: the part is no longer there.
        StoreError: the system cannot read the file.
    """
    with features_of(part) as features:
        for group in range(len(part.groups)):
            features.make_sure(group)


def _end(metadata: Any, group: int) -> int:
    """Return where the features of a row group end, the last of its columns."""
    column = metadata.row_group(group).column(metadata.num_columns - 1)
    return int(column.data_page_offset + column.total_compressed_size)


def _named_by_footer(path: Path, target: Path) -> Path:
    """Return *target* with the hash of the footer of the Parquet file at *path* in its name."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - 8))
        end = handle.read()
        length = int.from_bytes(end[:4], "little") + 8
        handle.seek(max(0, size - length))
        digest = hashlib.sha256(handle.read()).hexdigest()[:_NAME_DIGITS]
    return target.with_name(f"{target.stem}-{digest}.parquet")
