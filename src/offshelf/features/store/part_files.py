"""One Parquet part of a feature store: fixed-size rows, written whole, read in pieces.

The name of a part ends in a hash of its footer; the footer says which store it belongs to and
holds a hash of the hashes and facts of all rows and a checksum of the features of each row
group. So nothing is read that is not what was written, and reading a few rows checks their row
groups alone. The features of a row group are one page, not compressed: they are read as they
lie in the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.data.decoding.limits import Facts
from offshelf.features.store.part_format import (
    FEATURES_COLUMN,
    HASH_COLUMN,
    ForeignPartError,
    Part,
    Rows,
    checksum,
    features_of,
    opened,
    store_errors,
)

# Arrow ends a page after 20,000 rows.
ROW_GROUP_BYTES, ROW_GROUP_ROWS = 8 * 2**20, 2**14
_ONE_PAGE = 2**30
# Hundreds of times that of a part with the most row groups that a flush makes.
MAX_FOOTER_BYTES = 2**28
_DESCRIPTION = b"offshelf"
_NAME_DIGITS = 24


def write(folder: Path, stem: str, identity: dict[str, Any], rows: Rows) -> Path:
    """Write *rows* as one part into the store at *folder*, whole or not at all; return the part.

    Its name begins with *stem*. The name of the folder and *identity* are written into it, so that
    a part alone says where it belongs.

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

    Raises:
        DamagedPartError: it is not what was written, or belongs to another folder than *store*.
        GonePartError: it is no longer there.
        StoreError: the system cannot read the file, which says nothing of its content.
    """
    with store_errors(path):
        _check_footer(path)
    with opened(path) as part:
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


def _check_footer(path: Path) -> None:
    """Raise ValueError where the footer of a part is not that of its name, or there is no file."""
    if not path.is_file() and os.path.lexists(path):
        # A pipe would be waited for.
        raise ValueError("no file")
    if path != _named_by_footer(path, path.with_name(path.name.rpartition("-")[0])):
        raise ValueError("the footer is not that of the name")


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
    """Check all features of a part that this process has not checked yet.

    Raises:
        DamagedPartError: they are not what was written.
        GonePartError: the part is no longer there.
        StoreError: the system cannot read the file.
    """
    with features_of(part) as features:
        for group in range(len(part.groups)):
            features.ensure_checked(group)


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
        if length > MAX_FOOTER_BYTES:
            raise ValueError("the footer is too long")
        handle.seek(max(0, size - length))
        digest = hashlib.sha256(handle.read()).hexdigest()[:_NAME_DIGITS]
    return target.with_name(f"{target.stem}-{digest}.parquet")


_ARROW_TYPES = {"int": "int64", "float": "float64", "str": "string"}
_NUMPY_TYPES = {"int64": np.int64, "float64": np.float64, "string": object}
FACT_TYPES = {field.name: _ARROW_TYPES[str(field.type)] for field in dataclasses.fields(Facts)}


def vectors(matrix: NDArray[np.float32], usable: NDArray[np.bool_] | None = None) -> Any:
    """Return an Arrow array of fixed-size float32 lists from an N x D matrix.

    *usable* says where the N rows stand among more; the others are null. None for all.
    """
    import pyarrow as pa

    # pyarrow's array would load pandas, to ask whether it was given a part of a frame.
    valid = None
    if usable is not None and len(matrix) < len(usable):
        valid = pa.py_buffer(np.packbits(usable, bitorder="little"))
        spread = np.zeros((len(usable), matrix.shape[1]), np.float32)
        spread[usable] = matrix
        matrix = spread
    values = np.ascontiguousarray(matrix, np.float32).reshape(-1)
    flat = pa.Array.from_buffers(pa.float32(), len(values), [None, pa.py_buffer(values)])
    kind = pa.list_(pa.float32(), matrix.shape[1])
    return pa.Array.from_buffers(kind, len(matrix), [valid], children=[flat])


def texts(values: Sequence[str]) -> Any:
    """Return an Arrow array of texts."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    )


def hashes(digests: Sequence[bytes]) -> Any:
    """Return an Arrow array of digests.

    Raises:
        ValueError: one is not 32 bytes.
    """
    import pyarrow as pa

    if any(len(digest) != 32 for digest in digests):
        raise ValueError("a digest is 32 bytes")
    buffers = [None, pa.py_buffer(b"".join(digests))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digests), buffers)


def facts_columns(facts: Sequence[Facts] | Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return an Arrow array for each fact, by its name."""
    if not isinstance(facts, Mapping):
        facts = {
            name: np.array([getattr(one, name) for one in facts], _NUMPY_TYPES[kind])
            for name, kind in FACT_TYPES.items()
        }
    return {name: _array(facts[name]) for name in FACT_TYPES}


def _array(values: NDArray[Any]) -> Any:
    import pyarrow as pa

    if values.dtype != object:
        buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
        return pa.Array.from_buffers(getattr(pa, values.dtype.name)(), len(values), buffers)
    return texts(values.tolist())


def index_of(table: Any) -> dict[str, NDArray[Any]]:
    """Return hashes and facts of a table as arrays."""
    columns = {name: table[name].combine_chunks() for name in (HASH_COLUMN, *FACT_TYPES)}
    if any(column.null_count for column in columns.values()):
        raise ValueError("a value is missing")
    digests = columns.pop(HASH_COLUMN)
    content = digests.buffers()[1][32 * digests.offset : 32 * (digests.offset + len(digests))]
    index: dict[str, NDArray[Any]] = {HASH_COLUMN: np.frombuffer(content, "S32")}
    for name, column in columns.items():
        is_text = FACT_TYPES[name] == "string"
        index[name] = _texts(column) if is_text else np.from_dlpack(column)
    return index


def _texts(column: Any) -> NDArray[np.object_]:
    """Return texts as objects; as a rule all are the same."""
    _, ends, content = column.buffers()
    bounds = np.frombuffer(ends, np.int32)[column.offset : column.offset + len(column) + 1]
    lengths = np.diff(bounds)
    if len(lengths) and (lengths == lengths[0]).all():
        whole = bytes(content or b"")[bounds[0] : bounds[-1]]
        first = whole[: lengths[0]]
        if first * len(lengths) == whole:
            return np.full(len(lengths), first.decode(), object)
    return np.array([*column.to_pylist(), ""], object)[:-1]


def index_digest(index: dict[str, NDArray[Any]]) -> str:
    """Return the sha256 of hashes and facts."""
    digest = hashlib.sha256()
    for name, values in index.items():
        is_text = values.dtype == object
        content = "\0".join(values).encode() if is_text else values.tobytes()
        digest.update(f"{name} {values.dtype} {len(values)} {len(content)}\0".encode() + content)
    return digest.hexdigest()
