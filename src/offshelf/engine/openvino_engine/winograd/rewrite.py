"""Rewriting of an OpenVINO graph: int8 ranges kept in it, convolutions replaced by chains.

A graph that was calibrated for int8 keeps its convolutions, so that OpenVINO can write and
read it; they are replaced when it is compiled. Its weights are kept in float16 where that
loses far less than the 8 bits that they are computed with.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd.chain import Chain
from offshelf.engine.openvino_engine.winograd.convolution import Convolution
from offshelf.engine.openvino_engine.winograd.int8_ranges import Ranges, from_text
from offshelf.engine.openvino_engine.winograd.match import (
    MatchedConvolution,
    can_replace,
    find,
    in_runs,
    is_plain,
    macs,
    weights_of,
)
from offshelf.engine.openvino_runtime import import_openvino

_PLACE = ["offshelf", "ranges"]


def has_ranges(model: Any) -> bool:
    """Return whether *model* has convolutions with ranges for int8."""
    return bool(model.has_rt_info(_PLACE))


def write_ranges(model: Any, ranges: Mapping[str, Ranges]) -> None:
    """Write the ranges of convolutions, by name, into *model*."""
    opset13 = import_openvino().opset13
    for op in model.get_ops():
        if op.get_friendly_name() in ranges:
            small = opset13.constant(_halved(weights_of(op)))
            whole = opset13.convert(small, "f32")
            op.input(1).replace_source_output(whole.output(0))
    document = {name: found.to_text() for name, found in ranges.items()}
    model.set_rt_info(json.dumps(document), _PLACE)


def read_ranges(model: Any) -> dict[str, Ranges]:
    """Return the ranges that *model* carries, by the convolution's name.

    Raises:
        ValueError: they do not fit its convolutions.
    """
    if not has_ranges(model):
        return {}
    try:
        document = json.loads(model.get_rt_info(_PLACE).astype(str))
        named = [op for op in model.get_ops() if op.get_friendly_name() in document]
        if len(named) != len(document):
            raise ValueError("the ranges of the int8 network do not name its convolutions")
        return {op.get_friendly_name(): _ranges_of(op, document) for op in named}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the ranges of the int8 network do not fit it") from error


def _ranges_of(op: Any, document: Mapping[str, Mapping[str, str]]) -> Ranges:
    name = op.get_friendly_name()
    if not is_plain(op):
        raise ValueError(f"{name} is no convolution that has ranges")
    return from_text(document[name], int(op.input(1).get_shape()[1]))


def _halved(weights: NDArray[np.float32]) -> NDArray[Any]:
    """Return *weights* in float16 where each output channel keeps 10 bits, else as they are."""
    with np.errstate(over="ignore"):
        small = weights.astype(np.float16)
    largest = np.abs(weights).max((1, 2, 3))
    lost = np.abs(small.astype(np.float32) - weights).max((1, 2, 3))
    return small if (lost <= largest / 1000).all() else weights


# Least share of a network's multiplications. With less the changes of layout cost more than is
# gained: on two cores VGG (0.99) runs 2.8, ResNet-18 (0.83) 1.3 and ResNet-50 (0.37) 1.0 times
# as fast.
SHARE = 0.75


def is_worth_rewriting(model: Any) -> bool:
    """Return whether the network consists mostly of convolutions that can be replaced.

    The graph and the processor alone decide, so that all runs compute alike. A graph
    that was calibrated for such convolutions has them on any processor.
    """
    if has_ranges(model):
        return True
    ops = model.get_ops()
    replaced = sum(macs(op) for op in ops if can_replace(op))
    return replaced >= max(1, SHARE * sum(macs(op) for op in ops))


def rewritten(model: Any, half: bool = False) -> Any:
    """Return a copy of *model* whose 3 x 3 convolutions are computed by chains.

    Raises:
        ValueError: the graph's ranges for int8 do not fit it.
    """
    copy = model.clone()
    ranges = read_ranges(copy)
    for run in in_runs(find(copy, ranges if has_ranges(copy) else None)):
        steps = [found.convolution(ranges.get(found.node.get_friendly_name())) for found in run]
        _replace(run, steps, half)
    copy.validate_nodes_and_infer_types()
    return copy


def _replace(run: list[MatchedConvolution], steps: list[Convolution], half: bool) -> None:
    opset13 = import_openvino().opset13

    source = run[0].node.input(0).get_source_output()
    _, _, height, width = source.get_shape()
    chain = Chain(steps, height, width, half)
    channels_last = opset13.transpose(source, np.array([0, 2, 3, 1]))
    computed = _node_type()(chain, channels_last.output(0))
    result = opset13.transpose(computed.output(0), np.array([0, 3, 1, 2]))
    for i, tap in enumerate((tap for found in run for tap in found.taps), 1):
        tap.output(0).replace(computed.output(i))
    replaced = run[-1].last
    result.set_friendly_name(replaced.get_friendly_name())
    replaced.output(0).replace(result.output(0))


@functools.cache
def _node_type() -> Any:
    """Return the class of nodes that run a chain; it needs OpenVINO to be defined."""
    openvino = import_openvino()

    class WinogradChain(openvino.Op):  # type: ignore[misc, name-defined]
        def __init__(self, chain: Chain, source: Any) -> None:
            super().__init__(self)
            self.chain = chain
            self.set_arguments([source])
            self.constructor_validate_and_infer_types()

        def validate_and_infer_types(self) -> None:
            images = self.get_input_partial_shape(0)[0]
            self.set_output_size(1 + len(self.chain.taps))
            for i, shape in enumerate((self.chain.shape, *((k,) for k in self.chain.taps))):
                partial = openvino.PartialShape([images, *shape])
                self.set_output_type(i, openvino.Type.f32, partial)

        def clone_with_new_inputs(self, new_inputs: Any) -> Any:
            return WinogradChain(self.chain, new_inputs[0])

        def evaluate(self, outputs: Any, inputs: Any) -> bool:
            out, *tapped = (output.data for output in outputs)
            self.chain.run(inputs[0].data, out, tapped)
            return True

        def has_evaluate(self) -> bool:
            return True

    return WinogradChain
