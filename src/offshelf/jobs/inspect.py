"""Parameter table of a backbone: a row for each layer, totals, and published figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.backbones.catalogue.names import get_spec
from offshelf.backbones.parameter_table.module_groups import SHOWN, sides
from offshelf.backbones.parameter_table.parameters import (
    LayerRow,
    ParameterCheck,
    Total,
    agreements,
    layer_rows,
    totals_of,
)
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.jobs.extract.forecast import Forecast
from offshelf.report.result import Block, Result
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell, render

VALUE_BYTES = 4
NOTES = (
    "MACs: multiply-accumulates of convolutions and matrix products, attention's included",
    "activation memory: each layer's output in float32",
    "receptive field: the window of input pixels that one position can depend on; '-' where "
    "there is no such window",
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Inspection(Result):
    """What a backbone is made of. Printing it prints the table.

    Attributes:
        spec: the backbone.
        input_size: side of the square input in pixels.
        batch_size: images in the batch that MACs and activation memory are stated for.
        rows: every layer, in the order in which they run.
        agreements: the total against what publisher and weights files state; empty for
            another input size than the network's own.
        forecast: what an extraction costs here, where it was asked for.
    """

    spec: BackboneSpec
    input_size: int
    batch_size: int
    rows: tuple[LayerRow, ...]
    agreements: tuple[ParameterCheck, ...]
    forecast: Forecast | None = None

    @property
    def shown(self) -> tuple[LayerRow, ...]:
        """The rows without activations, normalisation and dropout."""
        return tuple(row for row in self.rows if row.group in SHOWN)

    @property
    def totals(self) -> tuple[Total, ...]:
        """Sums over all rows for one image: each group, and last ``all``."""
        return totals_of(self.rows)

    @property
    def parameters(self) -> int:
        """Parameters of the network, each counted once."""
        return self.totals[-1].parameters

    @property
    def ratio(self) -> float | None:
        """Parameters of convolutions per parameter of linear layers."""
        by_group = {total.group: total.parameters for total in self.totals}
        linear = by_group.get("linear", 0)
        return by_group.get("convolution", 0) / linear if linear else None

    def table(self, every: bool = False) -> Table:
        """Return the layers as a table, with *every* also those without parameters."""
        rows = self.rows if every else self.shown
        square = all(len(set(row.receptive_field or ())) < 2 for row in rows)
        columns = (
            Column("no.", "integer"),
            Column("layer"),
            Column("function"),
            Column("in", "integer"),
            Column("out", "integer"),
            Column("output shape"),
            Column("parameters", "integer"),
            Column("MACs", "integer"),
            Column("activation memory", "bytes"),
            Column("receptive field", "integer" if square else "text", "px"),
        )
        cells = tuple(self._cells(number, row, square) for number, row in enumerate(rows, 1))
        return Table(f"Layers of {self._title()}", columns, cells)

    def totals_table(self) -> Table:
        """Return the totals of each group, with their shares."""
        *_, all_rows = self.totals
        columns = (
            Column("group"),
            Column("layers", "integer"),
            Column("parameters", "integer"),
            Column("share", "percent"),
            Column("MACs", "integer"),
            Column("share of MACs", "percent"),
            Column("activation memory", "bytes"),
        )
        cells = tuple(
            (
                total.group,
                total.rows,
                total.parameters,
                total.parameters / max(1, all_rows.parameters),
                total.macs * self.batch_size,
                total.macs / max(1, all_rows.macs),
                total.values * VALUE_BYTES * self.batch_size,
            )
            for total in self.totals
        )
        return Table(f"Totals of {self._title()}", columns, cells)

    def remarks(self) -> tuple[str, ...]:
        """Return the ratio, who agrees with the total, and what the columns mean."""
        ratio = f"convolutions / linear layers, parameters: {self.ratio:.4g}" if self.ratio else ""
        return tuple(filter(None, (ratio, *map(_remark, self.agreements), *NOTES)))

    def render(self, form: str = "text", every: bool = False) -> str:
        """Return both tables in one form; ``csv`` has the layers alone.

        Args:
            form: a form of :func:`.table_formats.render`, but ``json``, which is
                :meth:`to_json`.
            every: also activations, normalisation and dropout.

        Raises:
            OffshelfError: unknown form.
        """
        layers = render(self.table(every), form)
        if form == "csv":
            return layers
        parts = [layers, render(self.totals_table(), form)]
        if form in {"text", "markdown"}:
            parts.append(("\n" if form == "text" else "\n\n").join(self.remarks()))
        return "\n\n".join(parts)

    def to_json(self, every: bool = False) -> dict[str, Any]:
        """Return rows, totals, shares and comparisons as one JSON document."""
        rows = self.rows if every else self.shown
        return {
            "backbone": self.spec.name,
            "input_size": self.input_size,
            "batch_size": self.batch_size,
            "rows": [self._row_json(number, row) for number, row in enumerate(rows, 1)],
            "totals": {total.group: self._total_json(total) for total in self.totals},
            "ratio_convolution_to_linear": self.ratio,
            "agreements": [
                {
                    "source": one.source,
                    "stated": one.stated,
                    "counted": one.counted,
                    "precision": one.precision,
                    "agrees": one.agrees,
                    "problem": one.problem,
                }
                for one in self.agreements
            ],
            **({"forecast": self.forecast.to_json()} if self.forecast else {}),
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the network, its parameters, and who agrees with them."""
        yield "network", self._title()
        for total in self.totals:
            yield total.group, f"{total.parameters:,} parameters in {total.rows:,} layers"
        for one in self.agreements:
            yield "checked", _remark(one)

    def blocks(self) -> Iterator[Block]:
        """Yield the layers, the totals, and what the columns mean."""
        yield self.table()
        yield ""
        yield self.totals_table()
        yield ""
        yield from self.remarks()
        if self.forecast:
            yield ""
            yield from self.forecast.blocks()

    def _title(self) -> str:
        batch = f", batch of {self.batch_size}" if self.batch_size > 1 else ""
        return f"{self.spec.name}, input 3 x {self.input_size} x {self.input_size}{batch}"

    def _cells(self, number: int, row: LayerRow, square: bool) -> tuple[Cell, ...]:
        field: Cell = None
        if row.receptive_field:
            field = row.receptive_field[0] if square else sides(row.receptive_field)
        return (
            number,
            row.name,
            _function(row),
            row.inputs,
            row.outputs,
            sides(row.shape) if row.shape is not None else None,
            row.parameters,
            row.macs * self.batch_size,
            row.values * VALUE_BYTES * self.batch_size,
            field,
        )

    def _row_json(self, number: int, row: LayerRow) -> dict[str, Any]:
        return {
            "number": number,
            "name": row.name,
            "path": row.path,
            "group": row.group,
            "function": row.function,
            "in": row.inputs,
            "out": row.outputs,
            "output_shape": list(row.shape) if row.shape is not None else None,
            "parameters": row.parameters,
            "macs": row.macs * self.batch_size,
            "activation_bytes": row.values * VALUE_BYTES * self.batch_size,
            "receptive_field": list(row.receptive_field) if row.receptive_field else None,
            "shared_with": row.shared_with,
        }

    def _total_json(self, total: Total) -> dict[str, Any]:
        return {
            "layers": total.rows,
            "parameters": total.parameters,
            "share": total.parameters / max(1, self.parameters),
            "macs": total.macs * self.batch_size,
            "activation_bytes": total.values * VALUE_BYTES * self.batch_size,
        }


def inspect(
    backbone: str,
    *,
    input_size: int | None = None,
    batch_size: int = 1,
    cache_dir: str | Path | None = None,
) -> Inspection:
    """Return what a backbone is made of. No weights are needed.

    Args:
        backbone: a name of the catalogue, ``timm/NAME`` or ``torchvision/NAME``.
        input_size: side of the square input in pixels; None for the network's own.
        batch_size: images in the batch that MACs and memory are stated for.
        cache_dir: root of offshelf's own folders, searched for weights files to compare.

    Raises:
        BackboneError: the name is unknown, or the network takes no such images.

    >>> result = inspect("alexnet")
    >>> result.parameters, len(result.shown), result.rows[0].receptive_field
    (61100840, 11, (11, 11))
    """
    spec = get_spec(backbone)
    own = spec.weights[0].input.size
    size = input_size or own
    rows = layer_rows(spec, size)
    compared = agreements(spec, rows, cache_dir) if size == own else ()
    return Inspection(
        spec=spec, input_size=size, batch_size=batch_size, rows=rows, agreements=compared
    )


def _function(row: LayerRow) -> str:
    if row.shared_with:
        return f"{row.function} (parameters of {row.shared_with})"
    return row.function


def _remark(one: ParameterCheck) -> str:
    if one.problem:
        return f"{one.source}: {one.problem}"
    stated = format_cell(one.stated, "integer")
    if one.precision > 1:
        stated = f"{one.stated / 1e6:.2f} million"
    verdict = "agrees" if one.agrees else f"DIFFERS, counted {one.counted:,}"
    return f"{one.source}: {stated}, {verdict}"
