"""One Parquet part of a feature store: fixed-size rows, written whole, read in pieces.

Everything in a part is bound to it. Its name ends in a hash of its footer; the footer says
which store it belongs to and holds a hash of the hashes and facts of all rows and a checksum
of the features of each row group. So nothing is read that is not what was written, however
the file was damaged, and reading a few rows looks at their row groups alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files
from offshelf.data.facts import Facts
from offshelf.errors import StoreError

ROW_GROUP_BYTES = 8 * 2**20
HASH_COLUMN = "image_sha256"
FEATURES_COLUMN = "features"
_ARROW_TYPES = {"int": "int64", "float": "float64", "str": "string"}
FACT_TYPES = {field.name: _ARROW_TYPES[str(field.type)] for field in dataclasses.fields(Facts)}
_DESCRIPTION = b"offshelf"
_MAGIC = b"PAR1"
_NAME_DIGITS = 24


class DamagedPartError(StoreError):
    """A part whose content is not what was written."""


class ForeignPartError(DamagedPartError):
    """A part of another store."""


class GonePartError(StoreError):
    """A part that another process has set aside or removed."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to write.

    Attributes:
        digests: N hashes of 32 bytes.
        facts: of the N images.
        matrix: float32, N x D.
    """

    digests: Sequence[bytes]
    facts: Sequence[Facts]
    matrix: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part whose footer, hashes and facts are sound.

    Attributes:
        path: the file.
        dimension: values of a row.
        hashes: ``S32``, one for each row.
        facts: by name of the fact, one value for each row.
        groups: rows of each row group.
        checksums: of the features of each row group.
    """

    path: Path
    dimension: int
    hashes: NDArray[np.bytes_]
    facts: dict[str, NDArray[Any]]
    groups: tuple[int, ...]
    checksums: tuple[str, ...]

    def facts_of(self, row: int) -> Facts:
        """Return the facts of the image of *row*."""
        return Facts(
            **{name: values[row : row + 1].tolist()[0] for name, values in self.facts.items()}
        )


def write(folder: Path, stem: str, identity: dict[str, Any], rows: Rows) -> None:
    """Write *rows* as one part into the store at *folder*, whole or not at all.

    Args:
        folder: of the store; its name is bound to the part.
        stem: what the name of the part begins with.
        identity: of the store, for whoever finds the part alone.
        rows: what it holds.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, dimension = rows.matrix.shape
    size = max(1, ROW_GROUP_BYTES // (4 * dimension))
    table = pa.table(
        {HASH_COLUMN: _hashes(rows.digests), **_facts(rows.facts)}
        | {FEATURES_COLUMN: vectors(rows.matrix)}
    )
    groups = [min(size, count - start) for start in range(0, count, size)]
    description = {
        "store": folder.name,
        "identity": identity,
        "dimension": dimension,
        "groups": groups,
        "index": _index_digest(_index(table)),
        "features": [
            checksum(rows.matrix[start : start + size]) for start in range(0, count, size)
        ],
    }
    table = table.replace_schema_metadata({_DESCRIPTION: json.dumps(description)})
    with files.atomic_path(folder / f"{stem}.parquet", _named_by_footer) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=size,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )


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
    with _opened(path) as part:
        if path != _named_by_footer(path, path.with_name(path.name.rpartition("-")[0])):
            raise ValueError("the footer is not that of the name")
        found = json.loads(part.metadata.metadata[_DESCRIPTION])
        if found["store"] != store:
            raise ForeignPartError(f"{path}: part of another feature store, set aside; run again")
        # pyarrow's read_table would load its datasets, and pandas.
        index = _index(part.read(columns=[HASH_COLUMN, *FACT_TYPES]))
        hashes = index[HASH_COLUMN]
        if len(hashes) != sum(found["groups"]) or _index_digest(index) != found["index"]:
            raise ValueError("hashes and facts are not those of the rows")
        return Part(
            path=path,
            dimension=found["dimension"],
            hashes=hashes,
            facts={name: index[name] for name in FACT_TYPES},
            groups=tuple(found["groups"]),
            checksums=tuple(found["features"]),
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
    with _opened(part.path) as opened:
        for group, (start, end) in enumerate(itertools.pairwise(starts)):
            chosen = np.flatnonzero((rows >= start) & (rows < end))
            if len(chosen):
                into[at[chosen]] = _group(opened, part, group)[rows[chosen] - start]


def verify(part: Part) -> None:
    """Read all features of a part once, to know that they are sound.

    Raises:
        DamagedPartError: they are not.
        GonePartError: the part is no longer there.
        StoreError: the system cannot read the file.
    """
    with _opened(part.path) as opened:
        for group in range(len(part.groups)):
            _group(opened, part, group)


def vectors(matrix: NDArray[np.float32]) -> Any:
    """Return an Arrow array of fixed-size float32 lists from an N x D matrix."""
    import pyarrow as pa

    # pyarrow's array would load pandas, to ask whether it was given a part of a frame.
    values = np.ascontiguousarray(matrix, np.float32).reshape(-1)
    flat = pa.Array.from_buffers(pa.float32(), len(values), [None, pa.py_buffer(values)])
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def checksum(matrix: NDArray[np.float32]) -> str:
    """Return 96 bits of the values of *matrix*: their CRC-32, and the sum of their bits.

    Against accidents, at several times the speed of a cryptographic hash: each change of a
    bit changes both, and what is left of others goes unseen once in 2**96.

    >>> checksum(np.zeros((1, 2), np.float32))
    '6522df690000000000000000'
    """
    content = np.ascontiguousarray(matrix, np.float32).reshape(-1)
    pairs = content[: len(content) // 2 * 2].view(np.uint64)
    return f"{zlib.crc32(content.data):08x}{int(pairs.sum(dtype=np.uint64)):016x}"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the part at *path*; whatever is wrong with it is an error of the store."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as part:
            yield part
    except FileNotFoundError as error:
        raise GonePartError(_unreadable(path, error)) from error
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        # Arrow's own errors have no number; those of the system do (no handles, no right).
        if isinstance(error, OSError) and error.errno is not None:
            raise StoreError(_unreadable(path, error)) from error
        raise DamagedPartError(
            f"{path}: damaged part of the feature store, set aside; "
            "run again to extract its images anew"
        ) from error


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path}: cannot be read ({os.strerror(error.errno or 0)}); run again"


def _group(opened: Any, part: Part, group: int) -> NDArray[np.float32]:
    column = opened.read_row_group(group, columns=[FEATURES_COLUMN])[FEATURES_COLUMN]
    # to_numpy would load pandas.
    values = np.from_dlpack(column.combine_chunks().flatten())
    if values.dtype != np.float32:
        raise ValueError("features are no float32")
    matrix: NDArray[np.float32] = np.asarray(values, np.float32)
    matrix = matrix.reshape(part.groups[group], part.dimension)
    if checksum(matrix) != part.checksums[group]:
        raise ValueError("features are not what was written")
    return matrix


def _hashes(digests: Sequence[bytes]) -> Any:
    import pyarrow as pa

    if any(len(digest) != 32 for digest in digests):
        raise ValueError("a digest is 32 bytes")
    buffers = [None, pa.py_buffer(b"".join(digests))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digests), buffers)


def _facts(facts: Sequence[Facts]) -> dict[str, Any]:
    return {
        name: _array([getattr(one, name) for one in facts], kind)
        for name, kind in FACT_TYPES.items()
    }


def _array(values: list[Any], kind: str) -> Any:
    """Return an Arrow array without pyarrow.array, which would load pandas."""
    import pyarrow as pa

    if kind != "string":
        numbers = np.array(values, kind)
        buffers = [None, pa.py_buffer(numbers)]
        return pa.Array.from_buffers(getattr(pa, kind)(), len(numbers), buffers)
    texts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts))
    )


def _index(table: Any) -> dict[str, NDArray[Any]]:
    """Return hashes and facts of a table as arrays.

    Raises:
        ValueError: a value is missing.
    """
    columns = {name: table[name].combine_chunks() for name in (HASH_COLUMN, *FACT_TYPES)}
    if any(column.null_count for column in columns.values()):
        raise ValueError("a value is missing")
    hashes = columns.pop(HASH_COLUMN)
    content = hashes.buffers()[1][32 * hashes.offset : 32 * (hashes.offset + len(hashes))]
    index: dict[str, NDArray[Any]] = {HASH_COLUMN: np.frombuffer(content, "S32")}
    for name, column in columns.items():
        texts = FACT_TYPES[name] == "string"
        index[name] = np.array(column.to_pylist(), object) if texts else np.from_dlpack(column)
    return index


def _index_digest(index: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, values in index.items():
        texts = values.dtype == object
        content = "\0".join(values).encode() if texts else values.tobytes()
        digest.update(f"{name} {values.dtype} {len(values)} {len(content)}\0".encode() + content)
    return digest.hexdigest()


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
