"""The ranges of a graph's int8 convolutions, written into the graph itself.

The convolutions stay as they are, so that the graph is one that OpenVINO can keep and read;
whoever compiles it replaces them. Their weights are kept in float16 where that loses far less
than the 8 bits that they are computed with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.core import import_openvino
from offshelf.engine.openvino_engine.winograd.int8_ranges import Ranges, from_text
from offshelf.engine.openvino_engine.winograd.match import is_plain, weights_of

_PLACE = ["offshelf", "ranges"]


def is_marked(model: Any) -> bool:
    """Return whether *model* has int8 convolutions of ours."""
    return bool(model.has_rt_info(_PLACE))


def mark(model: Any, ranges: Mapping[str, Ranges]) -> None:
    """Write the ranges of convolutions, by name, into *model*."""
    opset13 = import_openvino().opset13
    for op in model.get_ops():
        if op.get_friendly_name() in ranges:
            small = opset13.constant(_halved(weights_of(op)))
            whole = opset13.convert(small, "f32")
            op.input(1).replace_source_output(whole.output(0))
    document = {name: found.to_text() for name, found in ranges.items()}
    model.set_rt_info(json.dumps(document), _PLACE)


def marked(model: Any) -> dict[str, Ranges]:
    """Return the ranges that *model* carries, by the convolution's name.

    Raises:
        ValueError: they do not fit its convolutions.
    """
    if not is_marked(model):
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
