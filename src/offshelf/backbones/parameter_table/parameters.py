"""The parameter table of a network, row by row, from one pass without numbers.

The network runs on tensors without memory, so no weights are needed. Each row is one run
of one layer. Every parameter is counted once, in the row that uses it first: the rows'
parameters always add up to those of the network. Attention is one row with its
projections, whichever library wrote it. A parameter that is no layer of its own (class
token, position embedding, layer scale) has a row in the group ``other``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from offshelf.backbones.construct.architectures import skeleton
from offshelf.backbones.parameter_table.module_groups import GROUPS, Group
from offshelf.backbones.parameter_table.module_walk import Draft, drafts_of
from offshelf.backbones.specification.spec import BackboneSpec
from offshelf.errors import BackboneError


@dataclass(frozen=True)
class LayerRow:
    """One run of one layer, for one image.

    Attributes:
        name: the layer name, or the module path where there is none.
        path: module path; of a free parameter, the parameter's.
        group: see :data:`offshelf.backbones.parameter_table.module_groups.GROUPS`.
        function: in a few words.
        inputs: input channels or features, None where that means nothing.
        outputs: output channels or features.
        shape: of the output for one image; None for a free parameter.
        parameters: those that no earlier row has counted.
        macs: multiply-accumulates of convolutions and matrix products for one image.
        receptive_field: height and width in pixels, see :mod:`.receptive_fields`.
        shared_with: path of the row that counted this layer's parameters, or "".
    """

    name: str
    path: str
    group: Group
    function: str
    inputs: int | None
    outputs: int | None
    shape: tuple[int, ...] | None
    parameters: int
    macs: int
    receptive_field: tuple[int, int] | None
    shared_with: str

    @property
    def values(self) -> int:
        """Numbers in the output for one image."""
        return math.prod(self.shape) if self.shape is not None else 0


@dataclass(frozen=True)
class Total:
    """Sums over the rows of one group.

    Attributes:
        group: the group, or ``all``.
        rows: how many.
        parameters: of all rows.
        macs: multiply-accumulates for one image.
        values: numbers in all outputs for one image.
    """

    group: str
    rows: int
    parameters: int
    macs: int
    values: int


@functools.lru_cache(maxsize=64)
def layer_rows(spec: BackboneSpec, size: int) -> tuple[LayerRow, ...]:
    """Return every layer of *spec* in the order in which they start.

    Args:
        spec: the backbone.
        size: side of the square input in pixels.

    Raises:
        BackboneError: the network does not take images of that size.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> rows = layer_rows(get_spec("vgg16"), 224)
    >>> rows[0].name, rows[0].parameters, sum(row.parameters for row in rows)
    ('conv1_1', 1792, 138357544)
    """
    names = {path: name for name, path in reversed(spec.layers)}
    try:
        drafts = drafts_of(skeleton(spec, image_size=size), size, names)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BackboneError(
            f"{spec.name}: does not take images of {size} x {size} pixels: {reason}"
            f" (its own size is {spec.weights[0].input.size})"
        ) from error
    return tuple(row_of(draft) for draft in drafts)


def row_of(draft: Draft) -> LayerRow:
    """Return a finished draft as a row."""
    fields = dict(vars(draft))
    del fields["idle"]
    return LayerRow(**fields)


def totals_of(rows: Iterable[LayerRow]) -> tuple[Total, ...]:
    """Return a total for each group that has rows, and last the total of all.

    >>> from offshelf.backbones.catalogue.names import get_spec
    >>> [(total.group, total.parameters) for total in totals_of(layer_rows(get_spec("vgg16"), 224))]
    [('convolution', 14714688), ('pooling', 0), ('linear', 123642856), ('activation', 0), \
('dropout', 0), ('all', 138357544)]
    """
    rows = tuple(rows)
    members = {group: [row for row in rows if row.group == group] for group in GROUPS}
    totals = [_total(group, members[group]) for group in GROUPS if members[group]]
    return (*totals, _total("all", rows))


def _total(group: str, rows: Iterable[LayerRow]) -> Total:
    rows = tuple(rows)
    return Total(
        group,
        len(rows),
        sum(row.parameters for row in rows),
        sum(row.macs for row in rows),
        sum(row.values for row in rows),
    )
