"""The fp32 matrix-product peak of this machine, and what it means for VGG16.

Large squares are multiplied on all cores by torch and by numpy, several times each; the
peak is the best median. A convolution computed directly needs a fixed number of
multiply-adds, so the peak bounds the images/s of any engine that computes in fp32 without
an algorithm that saves multiplications.

    python benchmarks/gemm.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from arguments import Parser, positive

SIZES, REPEAT = (2048, 4096), 5
# Blocks of VGG16: output channels and number of 3 x 3 convolutions, each block ends in a pool.
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16_macs(layer: str = "pool5", size: int = 224) -> int:
    """Return the multiply-adds of VGG16's convolutions up to *layer* for one image.

    Stride 1 and padding 1: an output as large as the input, 9 x channels products each.
    """
    total, channels = 0, 3
    for outputs, count in VGG16[: int(layer.removeprefix("pool"))]:
        for _ in range(count):
            total += size * size * outputs * channels * 9
            channels = outputs
        size //= 2
    return total


def products() -> dict[str, Callable[[int], Callable[[], Any]]]:
    """Return, by library, what makes a product of two squares of a size."""
    import numpy as np
    import torch

    draw = np.random.default_rng(0)

    def by_numpy(size: int) -> Callable[[], Any]:
        left, right = (draw.standard_normal((size, size), np.float32) for _ in range(2))
        into = np.empty_like(left)
        return lambda: np.matmul(left, right, out=into)

    def by_torch(size: int) -> Callable[[], Any]:
        left, right = torch.rand(size, size), torch.rand(size, size)
        into = torch.empty(size, size)
        return lambda: torch.mm(left, right, out=into)

    return {"numpy": by_numpy, "torch": by_torch}


def rates(sizes: Sequence[int] = SIZES, repeat: int = REPEAT) -> dict[str, list[float]]:
    """Return GFLOP/s of every repetition by ``library size``, after one that warms up."""
    found = {}
    for library, make in products().items():
        for size in sizes:
            product = make(size)
            product()
            found[f"{library} {size}"] = [2e-9 * size**3 / seconds(product) for _ in range(repeat)]
    return found


def seconds(work: Callable[[], Any]) -> float:
    """Return how long *work* takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak(found: dict[str, list[float]]) -> float:
    """Return the best median of :func:`rates`."""
    return max(statistics.median(values) for values in found.values())


def images_per_second(gflops: float, layer: str = "pool5") -> float:
    """Return the images/s of direct convolution at *gflops* GFLOP/s."""
    return gflops * 1e9 / (2 * vgg16_macs(layer))


def main() -> None:
    """Print the peak as a block for RESULTS.md, or as JSON."""
    parser = Parser(__doc__)
    parser.add_argument("--sizes", type=positive, nargs="+", default=SIZES, help=" ")
    parser.add_argument("--repeat", type=positive, default=REPEAT, help=" ")
    parser.add_argument("--json", action="store_true", help=" ")
    asked = parser.parse_args()
    found = rates(asked.sizes, asked.repeat)
    if asked.json:
        print(json.dumps({"gflops": peak(found)}))
        return
    from measure import heading

    print(heading("fp32 matrix products"))
    print("| product | median GFLOP/s | range | VGG16 to pool5, img/s |\n|---|---:|---:|---:|")
    for name, values in found.items():
        median = statistics.median(values)
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"| {name} | {median:.0f} | {spread} | {images_per_second(median):.2f} |")
    macs = vgg16_macs()
    print(
        f"\npeak: {peak(found):.0f} GFLOP/s; VGG16 to pool5: {macs / 1e9:.3f} GMAC an image, ",
        end="",
    )
    print(f"{images_per_second(peak(found)):.2f} img/s of direct convolution")


if __name__ == "__main__":
    main()
