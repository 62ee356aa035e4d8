"""Search of an OpenVINO graph for the convolutions that Winograd's filtering can compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd.convolution import Convolution, fits
from offshelf.engine.openvino_engine.winograd.int8_ranges import Ranges

# Operations that reduce positions to one number, and the names of their taps.
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


_CONVOLUTION: Mapping[str, Any] = {
    "strides": [1, 1],
    "dilations": [1, 1],
    "pads_begin": [1, 1],
    "pads_end": [1, 1],
    "auto_pad": "explicit",
}
_POOLING: Mapping[str, Any] = {
    "kernel": [2, 2],
    "strides": [2, 2],
    "dilations": [1, 1],
    "pads_begin": [0, 0],
    "pads_end": [0, 0],
    "rounding_type": "floor",
    "auto_pad": "explicit",
}


@dataclasses.dataclass(frozen=True)
class MatchedConvolution:
    """A 3 x 3 convolution of a graph, with what follows it and nothing else reads.

    Attributes:
        node: the convolution.
        bias: the sum with a constant for each channel, if one follows.
        relu: the ReLU, if one follows.
        pool: the pooling of 2 x 2, if one follows.
        taps: means and largest over all positions of the result, which others read.
    """

    node: Any
    bias: Any
    relu: Any
    pool: Any
    taps: tuple[Any, ...]

    @property
    def last(self) -> Any:
        """The node that gives the result."""
        return self.pool or self.relu or self.bias or self.node

    @property
    def tapping(self) -> int:
        """How many nodes read the result for the taps."""
        return len({source_of(tap, 0).get_name() for tap in self.taps})

    def convolution(self, ranges: Ranges | None = None) -> Convolution:
        """Return what is computed, with a copy of the weights; *ranges* make it one of int8."""
        weights, taps = weights_of(self.node), tuple(TAPS[t.get_type_name()] for t in self.taps)
        bias = np.zeros(len(weights), np.float32)
        if self.bias is not None:
            bias = np.array(_per_channel(self.bias).get_data(), np.float32).ravel()
        return Convolution(
            weights, bias, self.relu is not None, self.pool is not None, ranges, taps
        )


def find(model: Any, names: Container[str] | None = None) -> list[MatchedConvolution]:
    """Return the convolutions of *model* in the order of computation."""
    ops = model.get_ordered_ops()
    if names is not None:
        return [_follow(op) for op in ops if op.get_friendly_name() in names]
    return [_follow(op) for op in ops if can_replace(op)]


def in_runs(found: list[MatchedConvolution]) -> list[list[MatchedConvolution]]:
    """Return the convolutions in runs: in a run, each feeds the next one and its taps."""
    by_name = {one.node.get_name(): one for one in found}
    following = {
        name: reader_of(one.last, "Convolution", one.tapping) for name, one in by_name.items()
    }
    next_of = {
        name: by_name[node.get_name()]
        for name, node in following.items()
        if node is not None and node.get_name() in by_name
    }
    inner = {one.node.get_name() for one in next_of.values()}
    runs = [[one] for name, one in by_name.items() if name not in inner]
    for run in runs:
        while (more := next_of.get(run[-1].node.get_name())) is not None:
            run.append(more)
    return runs


def macs(op: Any) -> int:
    """Return the multiply-accumulates of a convolution or matrix product, else 0."""
    kind = op.get_type_name()
    if kind not in {"Convolution", "GroupConvolution", "MatMul"}:
        return 0
    outputs = int(np.prod(op.output(0).get_shape()))
    if kind == "MatMul":
        summed = -2 if op.get_attributes()["transpose_a"] else -1
        return outputs * int(op.input(0).get_shape()[summed])
    # Summed over all axes of the weights but the outputs' and the groups'.
    leading = 1 if kind == "Convolution" else 2
    return outputs * int(np.prod(op.input(1).get_shape()[leading:]))


def can_replace(op: Any) -> bool:
    """Return whether *op* is a convolution that the compiled code can do."""
    return is_plain(op) and fits(*list(op.input(1).get_shape())[:2])


def is_plain(op: Any) -> bool:
    """Return whether *op* is a 3 x 3 convolution with stride 1 and known weights."""
    if op.get_type_name() != "Convolution" or not has(op, _CONVOLUTION):
        return False
    return _constant(op) is not None and list(op.input(1).get_shape())[2:] == [3, 3]


def weights_of(op: Any) -> NDArray[np.float32]:
    """Return a copy of a convolution's weights."""
    return np.array(_constant(op).get_data(), np.float32)


def _constant(op: Any) -> Any:
    """Return the node with the weights, kept as floats of 32 or 16 bits; else None."""
    node = source_of(op, 1)
    if node.get_type_name() == "Convert":
        node = source_of(node, 0)
    if node.get_type_name() != "Constant":
        return None
    return node if node.get_element_type().to_string() in {"f32", "f16"} else None


def _follow(node: Any) -> MatchedConvolution:
    last, bias = node, reader_of(node, "Add")
    if bias is not None and _per_channel(bias) is None:
        return MatchedConvolution(node, None, None, None, ())
    last = bias or last
    relu = reader_of(last, "Relu")
    last = relu or last
    pool = reader_of(last, "MaxPool")
    if pool is not None and not (has(pool, _POOLING) and one_output(pool)):
        pool = None
    return MatchedConvolution(node, bias, relu, pool, taps_of(pool or last))


def _per_channel(add: Any) -> Any:
    """Return the constant that *add* adds to each channel, None if there is no such."""
    wanted = [1, int(add.output(0).get_shape()[1]), 1, 1]
    for side in (0, 1):
        node = source_of(add, side)
        if node.get_type_name() == "Constant" and list(node.get_output_shape(0)) == wanted:
            return node
    return None
