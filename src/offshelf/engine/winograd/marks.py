"""The ranges of a graph's int8 convolutions, written into the graph itself.

The convolutions stay as they are, so that the graph is one that OpenVINO can keep and read;
whoever compiles it replaces them. Their weights are kept in float16, which loses far less than
the 8 bits that they are computed with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from offshelf.engine.graph import import_openvino
from offshelf.engine.winograd.find import is_plain, weights_of
from offshelf.engine.winograd.ranges import Ranges, from_text

_PLACE = ["offshelf", "ranges"]


def is_marked(model: Any) -> bool:
    """Return whether *model* has int8 convolutions of ours."""
    return bool(model.has_rt_info(_PLACE))


def mark(model: Any, ranges: Mapping[str, Ranges]) -> None:
    """Write the ranges of convolutions, by name, into *model*."""
    opset13 = import_openvino().opset13
    for op in model.get_ops():
        if op.get_friendly_name() in ranges:
            small = opset13.constant(weights_of(op).astype(np.float16))
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
        ops = {op.get_friendly_name(): op for op in model.get_ops()}
        found = {}
        for name, text in document.items():
            if not is_plain(ops[name]):
                raise ValueError(f"{name} is no convolution that has ranges")
            found[name] = from_text(text, weights_of(ops[name]).shape[1])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the ranges of the int8 network do not fit it") from error
    return found
