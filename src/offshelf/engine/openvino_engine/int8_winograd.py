"""int8 for networks of 3 x 3 convolutions: Winograd's filtering with 8-bit products.

OpenVINO's int8 multiplies as often as a direct convolution does. Rounding after the transform
needs 2.25 times fewer multiplications at about the same error; see
:mod:`offshelf.engine.openvino_engine.winograd.int8_ranges`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.streams import HINT, StreamPlan, compile_plan
from offshelf.engine.openvino_engine.winograd.int8_ranges import fitted
from offshelf.engine.openvino_engine.winograd.kernel import has_fast_int8, registers
from offshelf.engine.openvino_engine.winograd.match import find
from offshelf.engine.openvino_engine.winograd.panel_layout import TWO
from offshelf.engine.openvino_engine.winograd.rewrite import write_ranges
from offshelf.engine.openvino_runtime import import_openvino, with_rows
from offshelf.engine.processor import adds_bytes_exactly

# Networks of this family are made of 3 x 3 convolutions; NNCF quantises all others.
CHAINED = "vgg"
# Each request holds the inputs of all convolutions, 36 MB for VGG16.
MAX_REQUESTS = 8
# Images that the ranges are measured on, and tiles of each: more gave no better ranges.
IMAGES = 50
TILES = 16
Floats = NDArray[np.float32]


def int8_method(architecture: str) -> str:
    """Return how int8 is made of a network here: ``winograd`` or ``nncf``.

    Architecture and processor decide, not the layers that are asked for, so that all layers
    of a network are of one kind.

    >>> int8_method("efficientnet_lite0")
    'nncf'
    """
    return "winograd" if architecture.startswith(CHAINED) and has_fast_int8() else "nncf"


def is_slower_in_int8(architecture: str) -> bool:
    """Return whether fp32 is faster than int8 for a network on this processor, without a trial.

    Winograd's filtering in fp32 needs a quarter of the multiplications, which is more than 8-bit
    products gain without VNNI.

    >>> is_slower_in_int8("efficientnet_lite0")
    False
    """
    chained = architecture.startswith(CHAINED) and registers() is not None
    return chained and not adds_bytes_exactly()


def with_ranges(model: Any, pixels: NDArray[np.uint8], threads: int | None = None) -> Any:
    """Return a copy of *model* with the ranges of its 3 x 3 convolutions.

    Args:
        model: the fp32 graph.
        pixels: uint8, N x S x S x 3: of these up to 50, evenly spaced, are looked at.
        threads: processor threads, None for all.
    """
    chosen = np.linspace(0, len(pixels) - 1, min(IMAGES, len(pixels))).astype(int)
    requests = min(threads or os.cpu_count() or 1, MAX_REQUESTS)
    patches = _patches(model, pixels[chosen], requests)
    copy = model.clone()
    write_ranges(copy, {name: fitted(np.concatenate(found)) for name, found in patches.items()})
    return copy


def _patches(model: Any, pixels: NDArray[np.uint8], requests: int) -> dict[str, list[Floats]]:
    """Return by name of a convolution tiles of its input, 16 x 4 x 4 x C for each image."""
    graph, names = _inputs_of_convolutions(model)
    if not names:
        return {}
    compiled = compile_plan(graph, StreamPlan(1, requests, requests), {HINT: "f32"})
    queue = import_openvino().AsyncInferQueue(compiled, requests)
    found: list[list[Floats]] = [[] for _ in pixels]

    def keep(request: Any, number: int) -> None:
        draw = np.random.default_rng(number)
        found[number] = [_drawn(tensor.data[0], draw) for tensor in request.output_tensors]

    queue.set_callback(keep)
    for number, image in enumerate(pixels):
        queue.start_async([image[None]], userdata=number)
    queue.wait_all()
    return dict(zip(names, map(list, zip(*found, strict=True)), strict=True))


def _inputs_of_convolutions(model: Any) -> tuple[Any, list[str]]:
    """Return a graph of one image that ends where convolutions begin, and their names."""
    copy = with_rows(model, 1).clone()
    nodes = [found.node for found in find(copy)]
    sources = [node.input(0).get_source_output() for node in nodes]
    results = [import_openvino().opset13.result(source) for source in sources]
    graph = import_openvino().Model(results, copy.get_parameters())
    return graph, [node.get_friendly_name() for node in nodes]


def _drawn(image: Floats, draw: np.random.Generator) -> Floats:
    """Return tiles of a C x H x W image with a border of zeros, 16 x 4 x 4 x C."""
    _, height, width = image.shape
    inside = np.arange(TWO.side) - 1
    rows = TWO.out * draw.integers(-(-height // TWO.out), size=TILES)[:, None] + inside
    columns = TWO.out * draw.integers(-(-width // TWO.out), size=TILES)[:, None] + inside
    row_fits, column_fits = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    values = image[
        :,
        rows.clip(0, height - 1)[:, :, None],
        columns.clip(0, width - 1)[:, None, :],
    ]
    values = values * (row_fits[:, :, None] & column_fits[:, None, :])
    return np.ascontiguousarray(values.transpose(1, 2, 3, 0), np.float32)
