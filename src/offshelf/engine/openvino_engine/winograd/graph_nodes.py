"""Questions about the nodes of an OpenVINO graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# What reduces positions to one number, and the name of the tap.
TAPS = {"ReduceMean": "mean", "ReduceMax": "max"}


def taps_of(op: Any) -> tuple[Any, ...]:
    """Return the nodes that reduce *op* to one number for each channel."""
    readers = [reader.get_node() for reader in _targets(op)]
    flat = [node for node in readers if _brings_positions_together(node)]
    return tuple(target.get_node() for node in flat for target in _targets(node))


def _brings_positions_together(node: Any) -> bool:
    """Return whether *node* makes one axis of the positions, only for them to be reduced."""
    if node.get_type_name() != "Reshape":
        return False
    before, after = (list(shape) for shape in (node.get_input_shape(0), node.get_output_shape(0)))
    reduced = [target.get_node() for target in _targets(node)]
    return before[:2] == after[:2] and len(after) == 3 and all(map(_over_positions, reduced))


def _targets(node: Any) -> Any:
    return node.output(0).get_target_inputs()


def _over_positions(reduced: Any) -> bool:
    if reduced.get_type_name() not in TAPS:
        return False
    axes = source_of(reduced, 1)
    known = axes.get_type_name() == "Constant" and np.ravel(axes.get_data()).tolist() in ([2], [-1])
    return known and not reduced.get_attributes()["keep_dims"]


def reader_of(op: Any, kind: str, others: int = 0) -> Any:
    """Return the node of that kind that reads *op* besides *others*, if it is the only one."""
    readers = [reader.get_node() for reader in _targets(op)]
    found = [reader for reader in readers if reader.get_type_name() == kind]
    return found[0] if len(found) == 1 and len(readers) == 1 + others else None


def source_of(op: Any, place: int) -> Any:
    """Return the node that gives *op* its input number *place*."""
    return op.input(place).get_source_output().get_node()


def has(op: Any, wanted: Mapping[str, Any]) -> bool:
    """Return whether the attributes of *op* are as *wanted*."""
    attributes = op.get_attributes()
    found = {name: attributes.get(name) for name in wanted}
    plain = {n: v if isinstance(v, str | None) else list(v) for n, v in found.items()}
    return plain == dict(wanted)


def one_output(op: Any) -> bool:
    """Return whether one output of *op* is read, and no other."""
    return sum(bool(output.get_target_inputs()) for output in op.outputs()) == 1
