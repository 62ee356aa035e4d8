"""int8 weights that a processor without VNNI adds exactly.

Such a processor multiplies bytes of 0..255 by weights and adds two neighbouring products into 16
bits with a sign. The sum is cut off beyond 32767, so the sizes of two neighbouring weights may
come to 128 and no more. A network that was quantised where that is no concern is rounded
again, each output channel as much as its largest pair asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_runtime import import_openvino

# 255 x 128 = 32640 is below 2^15.
LARGEST_PAIR = 128
_KINDS = frozenset({"Convolution", "GroupConvolution", "MatMul"})


def eased(model: Any) -> Any:
    """Return *model* with weights of which no pair can be cut off; it is changed in place."""
    for op in model.get_ops():
        if op.get_type_name() in _KINDS:
            _ease(op)
    return model


def shares(weights: NDArray[np.int8], outputs: int) -> NDArray[np.float32]:
    """Return what each output channel is to be multiplied with, 1 where it may stay.

    Args:
        weights: the axes of outputs first, that of inputs next.
        outputs: how many axes count output channels.

    >>> shares(np.array([[100, -60, 3], [64, 64, 0]], np.int8), 1).ravel().tolist()
    [0.800000011920929, 1.0]
    """
    sizes = np.abs(weights.astype(np.int16))
    odd = [(0, sizes.shape[axis] % 2 if axis == outputs else 0) for axis in range(sizes.ndim)]
    even = np.moveaxis(np.pad(sizes, odd), outputs, -1)
    pairs = even.reshape(*even.shape[:-1], -1, 2).sum(-1)
    largest = pairs.reshape(*weights.shape[:outputs], -1).max(-1)
    found: NDArray[np.float32] = np.minimum(
        1, LARGEST_PAIR / np.maximum(largest, 1, dtype=np.float32)
    )
    return found.reshape(*found.shape, *[1] * (weights.ndim - outputs))


def rounded(weights: NDArray[np.int8], share: NDArray[np.float32], outputs: int) -> Any:
    """Return *weights* times *share* in whole numbers whose pairs fit."""
    # Both of a pair can be rounded up: then the sum is one too much.
    product = np.rint(weights * share)
    over = shares(product.astype(np.int8), outputs) < 1
    return np.where(over, np.trunc(weights * share), product).astype(np.int8)


def _ease(op: Any) -> None:
    found = _quantised(op)
    if found is None:
        return
    convert, multiply, turned = found
    constant = convert.input(0).get_source_output().get_node()
    scale = multiply.input(1).get_source_output().get_node()
    weights = _turned(constant.data, turned)
    outputs = {"Convolution": 1, "GroupConvolution": 2}.get(op.get_type_name(), weights.ndim - 1)
    share = shares(weights, outputs)
    if (share == 1).all():
        return
    opset13 = import_openvino().opset13
    smaller = np.ascontiguousarray(_turned(rounded(weights, share, outputs), turned))
    unit = (scale.data / _turned(share, turned)).astype(np.float32)
    convert.input(0).replace_source_output(opset13.constant(smaller, dtype=np.int8).output(0))
    multiply.input(1).replace_source_output(opset13.constant(unit).output(0))


def _quantised(op: Any) -> tuple[Any, Any, bool] | None:
    """Return the nodes that make whole numbers weights, and whether inputs are the first axis.

    None where the second input of *op* is no weight of 8 bits.
    """
    multiply = op.input(1).get_source_output().get_node()
    if multiply.get_type_name() != "Multiply":
        return None
    convert = multiply.input(0).get_source_output().get_node()
    if convert.get_type_name() != "Convert":
        return None
    constant = convert.input(0).get_source_output().get_node()
    if constant.get_type_name() != "Constant" or constant.get_element_type().to_string() != "i8":
        return None
    turned = op.get_type_name() == "MatMul" and not op.get_attributes()["transpose_b"]
    return convert, multiply, turned


def _turned(values: NDArray[Any], turned: bool) -> NDArray[Any]:
    return values.swapaxes(-1, -2) if turned else values
