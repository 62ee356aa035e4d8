"""How many images a request to OpenVINO holds: the graph decides, and nothing else.

With other rows OpenVINO takes other ways through a network, and on some processors (AVX2, from
five rows on) these end in other last bits. So every request holds the same rows, whoever asks
for how many images: then the features of an image are the same in every run, alone and in
company. Few rows keep activations in the processor's cache and an image alone cheap. Only large
fully connected layers ask for more: their weights come from memory once for a request.
"""

from __future__ import annotations

from typing import Any

from offshelf.engine.openvino_engine.winograd.match import macs
from offshelf.engine.openvino_runtime import ROWS, with_rows

# With more a request gains next to nothing.
MAX_ROWS = 16
# Fewer weights than these stay in the processor's cache: 32 MB in fp32.
LARGE = 8_000_000
# Multiply-accumulates, in the time that one weight takes to come from memory.
MACS_A_WEIGHT = 800


def request_rows(model: Any) -> int:
    """Return the rows of each request to a graph: 2, or up to 16 for large matrices.

    A graph that is fixed to the rows that it was converted with keeps those.
    """
    rows = _wanted(model)
    try:
        with_rows(model, rows)
    except RuntimeError:
        return int(model.inputs[0].shape[0])
    return rows


def _wanted(model: Any) -> int:
    operations = model.get_ops()
    weights = sum(_weights(op, int(model.inputs[0].shape[0])) for op in operations)
    if weights < LARGE:
        return ROWS
    work = sum(map(macs, operations)) // int(model.inputs[0].shape[0])
    rows = ROWS
    while rows < MAX_ROWS and weights * MACS_A_WEIGHT > rows * work:
        rows *= 2
    return rows


def _weights(op: Any, images: int) -> int:
    """Return the weights of a matrix that each image multiplies by one vector, else 0."""
    if op.get_type_name() != "MatMul":
        return 0
    vectors, matrix = (list(op.input(number).get_shape()) for number in (0, 1))
    alone = len(vectors) == len(matrix) == 2 and vectors[0] == images
    return int(matrix[0] * matrix[1]) if alone else 0
