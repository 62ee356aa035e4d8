"""Weights files: those on this machine, adding one, fetching one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.weights_file.locate import WeightsFile, add, locate
from offshelf.jobs.catalogue.listing import BackboneRow
from offshelf.progress import Progress
from offshelf.report.tables.result_rows import Column, Table


def weights_table(rows: Iterable[BackboneRow]) -> Table:
    """Return the table of weights files, a row for each of *rows*."""
    columns = (Column("backbone"), Column("weights"), Column("size", "bytes"), Column("file"))
    cells = tuple((row.name, row.weights, row.bytes, row.path) for row in rows)
    return Table("Weights on this machine", columns, cells)


def add_weights(
    file: str | Path,
    backbone: str,
    *,
    cache_dir: str | Path | None = None,
    unverified: bool = False,
) -> WeightsFile:
    """Copy a weights file into offshelf's folder, and return it there.

    Args:
        file: a safetensors or torch file.
        backbone: name of the backbone whose weights it holds.
        cache_dir: the root of offshelf's own folders.
        unverified: accept a file whose hash is not in the catalogue, if it fits.

    Raises:
        BackboneError: no such backbone.
        WeightsError: there is no such file, it is of another network, or nobody vouches for it.
    """
    spec = get_spec(backbone)
    if unverified:
        _check_fit(Path(file).expanduser(), backbone)
    return add(file, spec, cache_dir=cache_dir, unverified=unverified)


def fetch_weights(
    backbone: str, *, cache_dir: str | Path | None = None, progress: Progress | None = None
) -> WeightsFile:
    """Return the weights file of a backbone, downloaded where it is not here.

    Raises:
        BackboneError: no such backbone.
        OffshelfError: the file cannot be fetched; one line says why.
    """
    return locate(get_spec(backbone), cache_dir=cache_dir, progress=progress)


def weights_json(backbone: str, file: WeightsFile) -> dict[str, Any]:
    """Return a weights file as JSON values."""
    return {
        "backbone": backbone,
        "weights": file.spec.tag,
        "sha256": file.sha256,
        "path": str(file.path),
        "origin": file.origin,
        "covers": list(file.spec.covers),
    }


def _check_fit(path: Path, backbone: str) -> None:
    """Refuse a file of another network now, not when it is first used."""
    from offshelf.backbones.construct.architectures import load_module

    if path.is_file():
        # As a whole path it cannot be taken for the name of known weights.
        opened = open_backbone(backbone, weights=str(path.absolute()), download=False)
        opened.deepest()
        load_module(opened.spec, opened.file)
