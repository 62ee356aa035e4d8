"""Diagnosis of the installation: versions, engines, devices, cache and weights."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf import cache
from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue.names import names
from offshelf.backbones.construct.torch_context import import_torchvision
from offshelf.engine.contract import EngineOptions
from offshelf.engine.processor import (
    WINOGRAD_SWITCH,
    adds_bytes_exactly,
    bytes_added_by,
    computes_bfloat16,
)
from offshelf.engine.selection import choose, installed
from offshelf.errors import OffshelfError
from offshelf.jobs.catalogue import backbone_rows
from offshelf.machine_code import has_llvm, is_measured, is_possible
from offshelf.report.result import Block, Facts, Result
from offshelf.report.tables.result_rows import Column, Table
from offshelf.text import counted
from offshelf.version import library_versions


@dataclass(frozen=True)
class Check:
    """Result of one check: its name, and the finding with what to do where it is not ok."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, repr=False)
class Diagnosis(Result):
    """Versions of the libraries, and the results of all checks."""

    versions: dict[str, str]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check is."""
        return all(check.ok for check in self.checks)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the problems, or that there is none."""
        wrong = [check for check in self.checks if not check.ok]
        yield "checks", f"{len(self.checks)}, {counted(len(wrong), 'problem')}"
        for check in wrong:
            yield "PROBLEM", f"{check.name}: {check.detail}"

    def blocks(self) -> Iterator[Block]:
        """Yield versions and checks."""
        width = max(len(check.name) for check in self.checks)
        yield Facts(tuple(self.versions.items()))
        yield ""
        yield Facts(
            tuple(
                ("ok" if check.ok else "PROBLEM", f"{check.name:<{width}}  {check.detail}")
                for check in self.checks
            )
        )

    def data_table(self) -> Table:
        """Return a row for each check."""
        cells = ((one.name, "yes" if one.ok else "no", one.detail) for one in self.checks)
        return Table("Checks", tuple(map(Column, ("check", "ok", "detail"))), tuple(cells))

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
        ("precision", _precision),
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
    also = " and bf16" if kernel.has_fast_bf16() else ""
    small = "; int8 of VGG: 2.25 times fewer" if kernel.has_fast_int8() else ""
    return (
        f"VGG, ResNet-18 and -34 need a quarter of the multiplications in fp32{also} (Winograd, "
        f"{found.width} at a time){small}"
    )


def _int8() -> str:
    from offshelf.engine.openvino_engine.int8 import has_nncf

    if not has_nncf():
        raise OffshelfError(
            "nncf is missing: precision auto leaves int8 out, and --precision int8 can calibrate "
            "no network; pip install nncf"
        )
    return f"nncf {installed('nncf')}"


def _precision() -> str:
    """Return what of fp32, bf16 and int8 is fast on this processor."""
    from offshelf.engine.openvino_engine.int8_winograd import is_slower_in_int8

    if not installed("openvino"):
        return "fp32; int8 and bf16 on a processor need openvino"
    half = "bf16 native" if computes_bfloat16() else "bf16 emulated, so refused"
    small = "int8 fast"
    if multiplying := bytes_added_by():
        small = f"int8 fast ({multiplying})"
    elif not adds_bytes_exactly():
        slower = ", slower than fp32 for VGG" if is_slower_in_int8("vgg16") else ""
        small = f"int8 with weights of 7 bits (no VNNI){slower}"
    return f"fp32; {half}; {small}"


def _default_weights(cache_dir: str | Path | None) -> str:
    backbone = open_backbone(names()[0], cache_dir=cache_dir, download=False)
    digest = backbone.file.sha256[:16]
    return f"{backbone.spec.name}: {backbone.file.origin}, sha256 {digest}... checked"


def _other_weights(cache_dir: str | Path | None) -> str:
    found = [row.name for row in backbone_rows(cache_dir)[1:] if row.available]
    return ", ".join(found) or "none on this machine"


def _cache(cache_dir: str | Path | None) -> str:
    cache.check_root(cache_dir)
    root = cache.cache_root(cache_dir)
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        raise OffshelfError(f"{existing}: cannot be written; choose another with --cache-dir")
    free = shutil.disk_usage(existing).free
    used = cache.size_of(root)
    return f"{root}: {used / 2**20:,.0f} MiB used, {free / 2**30:,.1f} GiB free"


def _contents(cache_dir: str | Path | None) -> str:
    root = cache.cache_root(cache_dir)
    most = cache.limit(root)
    sizes = [f"{kind} {size / 2**20:,.1f} MiB" for kind, size in cache.sizes(root).items()]
    return f"{', '.join(sizes)}; {_bound(root, most)}"


def _bound(root: Path, most: int | None) -> str:
    """Return how large the cache may become, and what of that fits on the disk."""
    if most is None:
        return "no bound"
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    room = shutil.disk_usage(existing).free + sum(one.size for one in cache.entries(root))
    bound = f"bound {most / 2**30:,.1f} GiB without weights"
    if most <= room:
        return bound
    return f"{bound}, though the disk has room for {room / 2**30:,.1f} GiB (--cache-size)"
