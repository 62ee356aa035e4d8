"""int8 for networks of 3 x 3 convolutions: Winograd's filtering with 8-bit products.

OpenVINO's int8 multiplies as often as a direct convolution does. Where the fp32 network runs in
chains already, rounding after the transform needs 2.25 times fewer multiplications at about
the same error; see :mod:`offshelf.engine.winograd.ranges`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.graph import import_openvino, with_rows
from offshelf.engine.plan import HINT, Plan, compile_plan
from offshelf.engine.winograd.compiled import multiplies_bytes
from offshelf.engine.winograd.find import find
from offshelf.engine.winograd.layout import TWO
from offshelf.engine.winograd.marks import mark
from offshelf.engine.winograd.ranges import fitted
from offshelf.engine.winograd.rewrite import suits

# Images that the ranges are measured on, and tiles of each: more did not bring them nearer.
IMAGES = 50
TILES = 16
Floats = NDArray[np.float32]


def can_range(model: Any) -> bool:
    """Return whether int8 products after the transform are the fastest for *model* here."""
    return multiplies_bytes() and suits(model)


def ranged(model: Any, pixels: NDArray[np.uint8], threads: int | None = None) -> Any:
    """Return a copy of *model* with the ranges of its 3 x 3 convolutions.

    Args:
        model: the fp32 graph.
        pixels: uint8, N x S x S x 3: of these up to 50, evenly spaced, are looked at.
        threads: processor threads, None for all.
    """
    chosen = np.linspace(0, len(pixels) - 1, min(IMAGES, len(pixels))).astype(int)
    copy = model.clone()
    names = [found.node.get_friendly_name() for found in find(copy)]
    patches = _patches(model, pixels[chosen], threads or os.cpu_count() or 1)
    mark(copy, {name: fitted(found) for name, found in zip(names, patches, strict=True)})
    return copy


def _patches(model: Any, pixels: NDArray[np.uint8], threads: int) -> list[Floats]:
    """Return for each convolution tiles of its input, N x 4 x 4 x C."""
    compiled = compile_plan(
        _inputs_of_convolutions(model), Plan(1, threads, threads), {HINT: "f32"}
    )
    queue = import_openvino().AsyncInferQueue(compiled, threads)
    found: list[list[Floats]] = [[] for _ in pixels]

    def keep(request: Any, number: int) -> None:
        draw = np.random.default_rng(number)
        found[number] = [_drawn(tensor.data[0], draw) for tensor in request.output_tensors]

    queue.set_callback(keep)
    for number, image in enumerate(pixels):
        queue.start_async([image[None]], userdata=number)
    queue.wait_all()
    return [np.concatenate(of_images) for of_images in zip(*found, strict=True)]


def _inputs_of_convolutions(model: Any) -> Any:
    """Return a graph of one image that ends where the convolutions begin."""
    copy = with_rows(model, 1).clone()
    sources = [found.node.input(0).get_source_output() for found in find(copy)]
    results = [import_openvino().opset13.result(source) for source in sources]
    return import_openvino().Model(results, copy.get_parameters())


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
