"""What several layers cost: the deepest alone against all of them in one pass, from memory.

Every layer is averaged to one number per channel inside the network. Both are timed in turn.

    python benchmarks/layers.py --weights ../shared/weights/vgg16_features.safetensors
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np
from numpy.typing import NDArray

from arguments import Parser, positive
from measure import heading
from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.named_layers import resolve
from offshelf.engine.contract import Calibration, Engine, EngineOptions, Tap
from offshelf.engine.selection import open_engine

LAYERS = "relu1_1 pool1 relu2_1 pool2 relu3_1 pool3 relu4_2 pool4 relu5_2 pool5"


def images(count: int, side: int) -> NDArray[np.uint8]:
    """Return pictures of coloured blocks."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (count, side // 16 + 1, side // 16 + 1, 3), dtype=np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)[:, :side, :side]


def speed(engine: Engine, pixels: NDArray[np.uint8]) -> float:
    """Return images per second of one run."""
    began = time.perf_counter()
    engine.run(pixels)
    return len(pixels) / (time.perf_counter() - began)


def row(asked: argparse.Namespace, precision: str, cache: str) -> str:
    """Return the line of the table for a precision."""
    backbone = open_backbone(asked.backbone, weights=asked.weights)
    pixels = images(asked.images, backbone.input.size)
    calibration = Calibration("0" * 64, lambda: pixels[:50]) if precision == "int8" else None
    options = EngineOptions(
        "openvino", precision=precision, calibration=calibration, cache_dir=cache
    )
    spec, size = backbone.spec, backbone.input.size
    taps = [Tap(resolve(spec, layer, size).path, "avg") for layer in asked.layers]
    deepest, every = (open_engine(backbone, some, options) for some in (taps[-1:], taps))
    speed(deepest, pixels), speed(every, pixels)
    pairs = [(speed(deepest, pixels), speed(every, pixels)) for _ in range(asked.rounds)]
    one, many = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {precision} | {one:.1f} | {many:.1f} | {spread} |"


def main() -> None:
    """Print one row for each precision."""
    parser = Parser(__doc__)
    parser.add_argument("--backbone", default="vgg16", help=" ")
    parser.add_argument("--weights", help=" ")
    parser.add_argument("--layers", nargs="+", default=LAYERS.split(), help="the deepest last")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"], help=" ")
    parser.add_argument("--images", type=positive, default=64, help=" ")
    parser.add_argument("--rounds", type=positive, default=5, help=" ")
    asked = parser.parse_args()
    print(heading(f"{len(asked.layers)} layers in one pass, {asked.backbone}"))
    print(f"| precision | {asked.layers[-1]} alone, img/s | all, img/s | cost |")
    print("|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as cache:
        for precision in asked.precisions:
            print(row(asked, precision, cache), flush=True)


if __name__ == "__main__":
    main()
