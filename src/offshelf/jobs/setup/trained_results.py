"""Results of training in the cache, so that unchanged features are not trained on again.

A result is arrays and a JSON document in one safetensors file, in a folder of its own that is named
by a hash of all that decides the result. What is damaged is set aside and made again; over the
limit of the cache, the least recently used goes first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf import cache, files, sealed_json
from offshelf.engine.processor import processor_kind
from offshelf.engine.selection import installed
from offshelf.errors import OffshelfError
from offshelf.jobs.setup.settings import RunSettings
from offshelf.version import __version__

# Raised with every change of what a result holds or of how it is written.
SCHEMA = 1
NAME = "result.safetensors"
# Of larger results (all rows of knn, say), reading costs as much as making them.
MOST_BYTES = 64 * 2**20
_DOCUMENT, _SEAL = "document", "seal"
# The code that decides results, in the folder of the package.
_CODE = ("heads", "jobs/audit", "jobs/fit")
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Form(Generic[T]):
    """How a result becomes arrays with a JSON document, and is made of them again.

    *unpack* raises an OffshelfError, or a ValueError, LookupError or TypeError, for what is no
    such result.
    """

    pack: Callable[[T], tuple[Arrays, Any]]
    unpack: Callable[[Arrays, Any], T]


@dataclass(frozen=True, kw_only=True)
class Kept(Generic[T]):
    """The place of one result in the cache.

    Attributes:
        root: of the cache.
        digest: hash of all that decides the result.
        form: what it is.
        size: bound of the cache as it was asked for, None for the usual one.
        anew: take nothing for known; what is made is kept all the same.
    """

    root: Path
    digest: str
    form: Form[T]
    size: str | None = None
    anew: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return cache.trained_folder(self.root) / f"{SCHEMA}-{self.digest[:32]}" / NAME

    def find(self) -> T | None:
        """Return the result, None where it is not kept; a damaged one is set aside."""
        path = self.path
        if self.anew or not path.is_file():
            return None
        with contextlib.closing(cache.Usage(path.parent)):
            try:
                return self.form.unpack(*_read(path, self.digest))
            except OSError:
                # It says nothing of the content.
                return None
            except (OffshelfError, ValueError, LookupError, TypeError, RecursionError):
                sealed_json.set_aside(path)
        return None

    def keep(self, result: T) -> None:
        """Write the result; where it cannot be written, the next run makes it again."""
        arrays, document = self.form.pack(result)
        if sum(array.nbytes for array in arrays.values()) > MOST_BYTES:
            return
        path, content = self.path, _content(self.digest, arrays, json.dumps(document))
        with contextlib.suppress(OSError):
            with contextlib.closing(cache.Usage(path.parent, make=True)):
                files.write_bytes(path, content)
            cache.keep_to(self.root, cache.limit(self.root, self.size))

    def take(self, make: Callable[[], T]) -> T:
        """Return the result, which *make* makes where it is not kept."""
        found = self.find()
        if found is None:
            found = make()
            self.keep(found)
        return found


def kept(run: RunSettings, key: Mapping[str, Any], form: Form[T]) -> Kept[T]:
    """Return the place of a result.

    Args:
        run: the cache, and whether anything in it is taken for known.
        key: JSON values, all that decides the result beside :func:`environment`.
        form: what it is.
    """
    return Kept(
        root=cache.cache_root(run.engine.cache_dir),
        digest=files.sha256_json({**environment(), "key": key}),
        form=form,
        size=run.engine.cache_size,
        anew=run.reading.rehash,
    )


def environment() -> dict[str, Any]:
    """Return what decides the bits of every training on this machine, as JSON values."""
    return {
        "offshelf": [__version__, _code()],
        "libraries": {name: installed(name) for name in _LIBRARIES},
        "processor": processor_kind(),
        "blas": _blas(),
    }


def array_digest(array: NDArray[Any]) -> str:
    """Return a hash of an array, for a key.

    >>> array_digest(np.zeros(2)) == array_digest(np.zeros((1, 2)))
    False
    """
    found = np.ascontiguousarray(array)
    head = f"{found.dtype.str} {found.shape}\0".encode()
    return hashlib.sha256(head + found.tobytes()).hexdigest()


@functools.cache
def _code() -> str:
    """Return a hash of the code, so that no result outlives the solver that gave it."""
    package = Path(__file__).parents[2]
    paths = [path for part in _CODE for path in sorted((package / part).rglob("*.py"))]
    return files.sha256_json([files.sha256_file(path) for path in paths])


def _blas() -> list[Any]:
    """Return kinds of processor and threads of BLAS: sums are added up in their order."""
    from threadpoolctl import ThreadpoolController

    pools = [pool for pool in ThreadpoolController().info() if pool["user_api"] == "blas"]
    kinds = sorted({str(pool.get("architecture")) for pool in pools})
    return [kinds, max((pool["num_threads"] for pool in pools), default=1)]


def _content(digest: str, arrays: Arrays, document: str) -> bytes:
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(whole, {_DOCUMENT: document, _SEAL: _seal(digest, whole, document)})


def _read(path: Path, digest: str) -> tuple[Arrays, Any]:
    """Return what is kept at *path*; a ValueError or LookupError where it is something else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = path.read_bytes()
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    document = header["__metadata__"][_DOCUMENT]
    if header["__metadata__"][_SEAL] != _seal(digest, arrays, document):
        raise ValueError("it is not what was written")
    return arrays, json.loads(document)


def _seal(digest: str, arrays: Arrays, document: str) -> str:
    # Bound to its key: in the place of another it is as wrong as one that was changed.
    found = {name: array_digest(array) for name, array in arrays.items()}
    return files.sha256_json([digest, found, document])
