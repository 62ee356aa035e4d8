"""Replaces the convolutions of an OpenVINO graph by ones that need fewer multiplications."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from offshelf.engine.openvino_engine.core import import_openvino
from offshelf.engine.openvino_engine.winograd.chain import Chain
from offshelf.engine.openvino_engine.winograd.convolution import Convolution
from offshelf.engine.openvino_engine.winograd.match import Found, can_replace, find, in_runs, macs
from offshelf.engine.openvino_engine.winograd.range_marks import is_marked, marked

# Of a network's multiplications. With less the changes of layout eat up what is won: on two
# cores VGG (0.99) runs 2.8, ResNet-18 (0.83) 1.3 and ResNet-50 (0.37) 1.0 times as fast.
SHARE = 0.75


def suits(model: Any) -> bool:
    """Return whether the network consists mostly of convolutions that can be replaced.

    The graph and the processor alone decide, so that every run takes the same way. A graph
    that was calibrated for such convolutions has them on any processor.
    """
    if is_marked(model):
        return True
    ops = model.get_ops()
    replaced = sum(macs(op) for op in ops if can_replace(op))
    return replaced >= max(1, SHARE * sum(macs(op) for op in ops))


def rewritten(model: Any, half: bool = False) -> Any:
    """Return a copy of *model* whose 3 x 3 convolutions are computed by chains.

    Args:
        model: the graph, with fixed shapes.
        half: their products are of bfloat16, unless the graph was calibrated for int8.

    Raises:
        ValueError: the graph's ranges for int8 do not fit it.
    """
    copy = model.clone()
    ranges = marked(copy)
    for run in in_runs(find(copy, ranges if is_marked(copy) else None)):
        steps = [found.convolution(ranges.get(found.node.get_friendly_name())) for found in run]
        _replace(run, steps, half)
    copy.validate_nodes_and_infer_types()
    return copy


def _replace(run: list[Found], steps: list[Convolution], half: bool) -> None:
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
