"""What a part of a feature store is, and how one that cannot be read is told apart."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.data.decoding.facts import Facts
from offshelf.errors import StoreError


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
        facts: of the N images, or by name of the fact the values of all.
        matrix: float32, N x D.
    """

    digests: Sequence[bytes]
    facts: Sequence[Facts] | Mapping[str, NDArray[Any]]
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
        places: where the features of each row group begin in the file, bytes.
    """

    path: Path
    dimension: int
    hashes: NDArray[np.bytes_]
    facts: dict[str, NDArray[Any]]
    groups: tuple[int, ...]
    checksums: tuple[str, ...]
    places: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its features."""
        return 4 * len(self.hashes) * self.dimension

    def digests(self) -> list[bytes]:
        """Return the hashes as bytes; an item of an ``S32`` array lacks the zeros at its end."""
        content = self.hashes.tobytes()
        return [content[at : at + 32] for at in range(0, len(content), 32)]

    def facts_of(self, row: int) -> Facts:
        """Return the facts of the image of *row*."""
        return Facts(**{name: values.item(row) for name, values in self.facts.items()})


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the Parquet file of the part at *path*."""
    import pyarrow.parquet as pq

    with judged(path), pq.ParquetFile(path) as part:
        yield part


@contextmanager
def judged(path: Path) -> Iterator[None]:
    """Make whatever is wrong with the part at *path* an error of the store."""
    import pyarrow as pa

    try:
        yield
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
