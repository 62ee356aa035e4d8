"""Arrow arrays of what a part holds, and back; made so that pyarrow does not load pandas."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.decoding.facts import Facts

HASH_COLUMN = "image_sha256"
FEATURES_COLUMN = "features"
_ARROW_TYPES = {"int": "int64", "float": "float64", "str": "string"}
_NUMPY_TYPES = {"int64": np.int64, "float64": np.float64, "string": object}
FACT_TYPES = {field.name: _ARROW_TYPES[str(field.type)] for field in dataclasses.fields(Facts)}


def vectors(matrix: NDArray[np.float32], usable: NDArray[np.bool_] | None = None) -> Any:
    """Return an Arrow array of fixed-size float32 lists from an N x D matrix.

    Args:
        matrix: float32, N x D.
        usable: where the N rows stand among more; the others are null. None for all.
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
    """Return hashes and facts of a table as arrays.

    Raises:
        ValueError: a value is missing.
    """
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
