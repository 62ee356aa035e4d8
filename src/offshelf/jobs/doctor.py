"""Diagnosis of the installation, and removal of leftovers from the cache.

The removal is safe while other processes run: whatever has a living owner stays.
"""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import cache, files
from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue.names import names
from offshelf.backbones.construct.torch_context import import_torchvision
from offshelf.cache import own_folders, remove_unused, size_of
from offshelf.engine.contract import EngineOptions
from offshelf.engine.openvino_engine.graph_cache import is_current
from offshelf.engine.processor import WINOGRAD_SWITCH
from offshelf.engine.selection import choose, installed
from offshelf.errors import OffshelfError
from offshelf.features.sharing import FOLDER as CLAIMS
from offshelf.features.store import manifest
from offshelf.features.store.merging import doubled, remove_doubled
from offshelf.jobs.catalogue import backbone_rows
from offshelf.locks import is_held, remove_if_free
from offshelf.machine_code import has_llvm, is_measured, is_possible
from offshelf.report.tables.table_formats import format_cell
from offshelf.version import library_versions


@dataclass(frozen=True)
class Check:
    """Result of one check: its name, and the finding with what to do where it is not ok."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """Versions of the libraries, and the results of all checks."""

    versions: dict[str, str]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check is."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the findings as one JSON document."""
        return {
            "ok": self.ok,
            "versions": self.versions,
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in self.checks],
        }


def diagnose(cache_dir: str | Path | None = None) -> Diagnosis:
    """Look at versions, engines, devices, caches and weights; nothing is changed."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("machine", _machine),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("openvino", _openvino),
        ("compiled code", _compiled_code),
        ("convolutions", _convolutions),
        ("int8", _int8),
        ("engine", lambda: " on ".join(choose(EngineOptions()))),
        ("default weights", lambda: _default_weights(cache_dir)),
        ("other weights", lambda: _other_weights(cache_dir)),
        ("cache folder", lambda: _cache(cache_dir)),
        ("cache contents", lambda: _contents(cache_dir)),
    ]
    return Diagnosis(library_versions(), tuple(_check(name, work) for name, work in checks))


def _check(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, True, work())
    except (OffshelfError, ImportError, OSError, RuntimeError) as error:
        return Check(name, False, " ".join(str(error).split()) or type(error).__name__)


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


def _torch() -> str:
    import torch

    devices = ["cpu"]
    devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return f"{torch.__version__}; devices: {', '.join(devices)}"


def _torchvision() -> str:
    vision = import_torchvision()
    return f"{vision.__version__}; {len(vision.models.list_models())} models"


def _openvino() -> str:
    from offshelf.engine.openvino_runtime import import_openvino, the_core

    name = the_core().get_property("CPU", "FULL_DEVICE_NAME")
    return f"{import_openvino().get_version()}; {str(name).strip()}"


def _compiled_code() -> str:
    if not is_measured():
        return f"none for {platform.machine()}: convolutions are direct, Pillow resizes"
    if not has_llvm():
        raise OffshelfError(
            "llvmlite is missing or cannot be loaded: convolutions (VGG, ResNet-18) and resizing "
            "are as exact, and slower; pip install llvmlite"
        )
    return f"llvmlite {installed('llvmlite')}"


def _convolutions() -> str:
    from offshelf.engine.openvino_engine.winograd import kernel

    found = kernel.registers()
    if found is None:
        if os.environ.get(WINOGRAD_SWITCH) == "0":
            return f"direct ({WINOGRAD_SWITCH}=0)"
        return f"direct ({'no AVX2' if is_possible() else 'no compiled code'})"
    halves = ", bf16 in pairs" if kernel.has_fast_bf16() else ""
    fours = "; F(2 x 2, 3 x 3), int8 in fours" if kernel.has_fast_int8() else ""
    return f"Winograd F(4 x 4, 3 x 3), {found.width} floats at a time{halves}{fours}"


def _int8() -> str:
    from offshelf.engine.openvino_engine.int8 import has_nncf

    if not has_nncf():
        raise OffshelfError(
            "nncf is missing: precision auto leaves int8 out, and --precision int8 can calibrate "
            "no network; pip install nncf"
        )
    return f"nncf {installed('nncf')}"


def _default_weights(cache_dir: str | Path | None) -> str:
    backbone = open_backbone(names()[0], cache_dir=cache_dir, download=False)
    digest = backbone.file.sha256[:16]
    return f"{backbone.spec.name}: {backbone.file.origin}, sha256 {digest}... checked"


def _other_weights(cache_dir: str | Path | None) -> str:
    found = [row.name for row in backbone_rows(cache_dir)[1:] if row.available]
    return ", ".join(found) or "none on this machine"


def _cache(cache_dir: str | Path | None) -> str:
    root = cache.cache_root(cache_dir)
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not existing.is_dir():
        raise OffshelfError(f"{existing}: is a file, no folder; choose another with --cache-dir")
    if not os.access(existing, os.W_OK):
        raise OffshelfError(f"{existing}: cannot be written; choose another with --cache-dir")
    free = shutil.disk_usage(existing).free
    used = cache.size_of(root)
    return f"{root}: {used / 2**20:,.0f} MiB used, {free / 2**30:,.1f} GiB free"


def _contents(cache_dir: str | Path | None) -> str:
    root = cache.cache_root(cache_dir)
    most = cache.limit(root)
    sizes = [f"{kind} {size / 2**20:,.1f} MiB" for kind, size in cache.sizes(root).items()]
    bounded = "no bound" if most is None else f"bound {most / 2**30:,.1f} GiB without weights"
    return f"{', '.join(sizes)}; {bounded}"


# The names of temporary files before they said whose they are.
_FORMER = re.compile(r"\.[0-9a-f]{32}(\.[a-z]+)?(\.tmp)?")
# Of a network, and of what was measured of one.
_LOCK = re.compile(r"\.(?:[0-9a-f]{32}|speed-[0-9a-f]{32}\.json)\.lock")
_DAMAGED = ".damaged"
_DAY = 24 * 3600.0
TEMPORARY, DAMAGED, LOCKS = "temporary files", "damaged files", "claims and locks"
STORES, NETWORKS, ROWS = "stores of another version", "networks of another version", "doubled rows"
OLDEST = "least recently used"


@dataclass(frozen=True)
class Removal:
    """Files or rows of one kind that were removed, or would be; their size in bytes."""

    kind: str
    count: int
    size: int


@dataclass(frozen=True)
class Cleaning:
    """Everything that was removed, by kind; where *dry*, would be."""

    removals: tuple[Removal, ...]
    dry: bool

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(one.size for one in self.removals)

    def lines(self) -> list[tuple[str, str]]:
        """Return a pair of a kind and its figures for each, and the sum."""
        verb = "would be removed" if self.dry else "removed"
        found = [
            (one.kind, f"{one.count:,}, {format_cell(one.size, 'bytes')}") for one in self.removals
        ]
        return [*found, (verb, format_cell(self.size, "bytes") if found else "nothing")]

    def to_json(self) -> dict[str, Any]:
        """Return the removals as one JSON document."""
        return {
            "dry_run": self.dry,
            "bytes": self.size,
            "removed": [
                {"kind": one.kind, "count": one.count, "bytes": one.size} for one in self.removals
            ],
        }


def clean(
    cache_dir: str | Path | None = None, *, cache_size: str | None = None, dry: bool = False
) -> Cleaning:
    """Remove leftovers, and what the cache holds over its bound.

    Args:
        cache_dir: the cache.
        cache_size: the bound, such as ``20G``; None for the usual one.
        dry: only say what would be removed.

    Raises:
        OffshelfError: *cache_size* is no size, or something cannot be removed.
    """
    root = cache.cache_root(cache_dir)
    most = cache.limit(root, cache_size)
    try:
        found = [_gone(TEMPORARY, _temporary(root), _remove_unowned, dry)]
        found.append(_gone(DAMAGED, _damaged(root), _remove, dry))
        found.append(_gone(LOCKS, _locks(root), remove_if_free, dry))
        found.append(
            _gone(STORES, manifest.outdated(cache.features_folder(root)), remove_unused, dry)
        )
        found.append(_gone(NETWORKS, _networks(root), remove_unused, dry))
        found.append(_rows(root, dry))
        oldest = cache.keep_to(root, most, dry)
        found.append(Removal(OLDEST, len(oldest.entries), oldest.size))
    except OSError as error:
        raise OffshelfError(
            f"{error.filename or root}: cannot be removed ({error.strerror or error})"
        ) from error
    return Cleaning(tuple(one for one in found if one.count), dry)


def _gone(kind: str, places: Iterable[Path], remove: Callable[[Path], bool], dry: bool) -> Removal:
    count = size = 0
    for place in sorted(set(places)):
        # Another process may clean, too, or be done with it.
        with contextlib.suppress(FileNotFoundError):
            found = size_of(place) if place.is_dir() else place.lstat().st_size
            if dry or remove(place):
                count, size = count + 1, size + found
    return Removal(kind, count, size)


def _remove(place: Path) -> bool:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    return True


def _remove_unowned(place: Path) -> bool:
    if files.FOLDER_NAME.fullmatch(place.name):
        return files.remove_leftover(place)
    return remove_if_free(place) if files.FILE_NAME.fullmatch(place.name) else _remove(place)


def _temporary(root: Path) -> Iterator[Path]:
    yield from files.leftover_folders(Path(tempfile.gettempdir()))
    for place in _places(root):
        yield from files.leftover_folders(place)
        yield from files.leftover_files(place)
        former = (path for path in place.iterdir() if _FORMER.fullmatch(path.name))
        yield from (path for path in former if _age(path) > _DAY)


def _places(root: Path) -> Iterator[Path]:
    """Yield the folders that we write into; a person's own files may lie in some of them."""
    above = (
        cache.features_folder(root),
        cache.compiled_folder(root),
        cache.compared_folder(root),
        cache.digests_folder(root),
    )
    weights = cache.weights_folder(root)
    for place in (root, *above, *own_folders(root), weights, *weights.glob("*/")):
        if place.is_dir():
            yield place


def _damaged(root: Path) -> Iterator[Path]:
    """Yield what was set aside, by the names that it has from us."""
    for folder in own_folders(root):
        yield from [folder] if folder.suffix == _DAMAGED else folder.glob(f"*{_DAMAGED}")
    yield from cache.compiled_folder(root).glob(f"speed-*{_DAMAGED}")
    # A note of weights lies beside them.
    for path in cache.weights_folder(root).glob(f"*/*{_DAMAGED}"):
        if path.with_suffix("").is_file():
            yield path


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _locks(root: Path) -> Iterator[Path]:
    found = [*(cache.features_folder(root) / CLAIMS).glob("*.claim")]
    for folder in own_folders(root):
        found += folder.glob(".*.lock")
    networks = cache.compiled_folder(root).glob(".*.lock")
    found += (path for path in networks if _LOCK.fullmatch(path.name))
    for path in cache.weights_folder(root).glob("*/.*.lock"):
        # That of a download lies beside what there is of it.
        found += [path] if list(path.parent.glob(f"{glob.escape(path.name[1:-5])}*")) else []
    yield from (path for path in found if not is_held(path))


def _networks(root: Path) -> Iterator[Path]:
    for folder in own_folders(root):
        if folder.parent == cache.compiled_folder(root) and not is_current(folder):
            yield folder


def _rows(root: Path, dry: bool) -> Removal:
    above = cache.features_folder(root)
    current = set(above.glob("*/manifest.json")) if above.is_dir() else set()
    outdated = set(manifest.outdated(above))
    count = size = 0
    for folder in sorted(path.parent for path in current if path.parent not in outdated):
        for one in doubled(folder) if dry else remove_doubled(folder):
            count, size = count + one.count, size + one.size
    return Removal(ROWS, count, size)
