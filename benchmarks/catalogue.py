"""Every network of the catalogue in fp32: offshelf against torch, from memory, random weights.

In each round every side computes the same images, in turn: the plain loop's network as it is
(eager) and in channels_last, torch.compile where it is asked for, and offshelf's engine. The
ratio is to the better of the first two, round by round. The share is of the rate of a matrix
product that is computed in each round, too, at 2 operations a multiply-accumulate; networks
whose convolutions need fewer multiplications go beyond 100 %.

On a machine that others use, one thread and processor time (``--threads 1 --clock cpu``) show
what a core does, where several threads that wait for each other show who else is there.

    python benchmarks/catalogue.py
    python benchmarks/catalogue.py --networks vit_b_16 convnext_tiny resnet50 --compile --bf16
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arguments import Parser, positive
from gemm import products
from measure import heading
from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue.names import names
from offshelf.engine.contract import Engine, EngineOptions, Tap
from offshelf.engine.openvino_engine.graph_cache import load_graph
from offshelf.engine.openvino_engine.winograd.match import macs
from offshelf.engine.selection import open_engine
from offshelf.engine.torch_engine.tapped_network import TappedNetwork

PLAIN = ("eager", "channels_last")
# Enough that streams are worth their proof, too few for a trial of plans.
EXPECTED = 100
ALIKE = 0.999
FULL, HALF = "offshelf fp32", "offshelf bf16"
SQUARE = 2048
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def sides(name: str, asked: argparse.Namespace, cache: str) -> tuple[dict[str, Any], float]:
    """Return what computes a batch of images, by side, and the operations of one image."""
    backbone = open_backbone(name, weights="random")
    taps = (Tap(backbone.path_of("penultimate"), "flatten"),)
    eager = TappedNetwork(backbone, taps)
    last = copy.deepcopy(eager)
    last.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found: dict[str, Any] = {"eager": _torch_side(eager), "channels_last": _torch_side(last)}
    if asked.compile:
        found["compile"] = _torch_side(torch.compile(last))
    for side in (FULL, HALF) if asked.bf16 else (FULL,):
        options = EngineOptions(
            "openvino",
            precision=side.split()[1],
            cache_dir=cache,
            images=EXPECTED,
            threads=asked.threads,
        )
        found[side] = partial(_last, open_engine(backbone, taps, options), taps[0])
    options = replace(options, precision="fp32")
    graph = load_graph(backbone, taps, options)
    rows = int(graph.inputs[0].shape[0])
    return found, 2 * sum(macs(op) for op in graph.get_ops()) / rows


def _last(engine: Engine, tap: Tap, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return engine.run(pixels)[tap]


def _torch_side(network: Any) -> Callable[[NDArray[np.uint8]], Any]:
    def run(pixels: NDArray[np.uint8]) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(pixels))[0].numpy()

    return run


def row(name: str, asked: argparse.Namespace, cache: str) -> str:
    """Return the line of the table for a network."""
    found, operations = sides(name, asked, cache)
    size = open_backbone(name, weights="random").input.size
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (asked.batch, size // 14 + 1, size // 14 + 1, 3), np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(14, 1).repeat(14, 2)[:, :size, :size])
    answers = {side: compute(pixels).ravel().astype(float) for side, compute in found.items()}
    cosine = min(_cosine(answers["eager"], answers[side]) for side in answers if side != HALF)
    if not cosine > ALIKE:
        raise SystemExit(f"{name}: the sides compute other features, cosine {cosine:.4f}")
    product = products()["torch"](SQUARE)
    found["product"] = lambda _: product()
    times: dict[str, list[float]] = {side: [] for side in found}
    for number in range(asked.rounds + 1):
        for side, compute in found.items():
            began = CLOCKS[asked.clock]()
            compute(pixels)
            # The first round warms up.
            if number:
                times[side].append(CLOCKS[asked.clock]() - began)
    speed = {side: asked.batch / statistics.median(taken) for side, taken in times.items()}
    plain = [min(pair) for pair in zip(*(times[side] for side in PLAIN), strict=True)]
    cells = [name, f"{operations / 2e9:.2f}"]
    cells += [f"{speed[side]:.1f}" if side in speed else "" for side in (*PLAIN, "compile")]
    cells += [f"{speed[FULL]:.1f}", _ratio(plain, times[FULL])]
    cells.append(_ratio(times["compile"], times[FULL]) if "compile" in times else "")
    cells.append(_ratio(plain, times[HALF]) if HALF in times else "")
    ours = [asked.batch * operations / taken for taken in times[FULL]]
    best = [2 * SQUARE**3 / taken for taken in times["product"]]
    share = statistics.median(a / b for a, b in zip(ours, best, strict=True))
    cells += [f"{statistics.median(best) / 1e9:.0f}", f"{100 * share:.0f}"]
    return f"| {' | '.join(cells)} |"


def _ratio(theirs: list[float], ours: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if not one.any():
        # The published builder starts some networks' last layer at zero.
        return 1.0 if not other.any() else 0.0
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def main() -> None:
    """Print one row for each network."""
    parser = Parser(__doc__)
    parser.add_argument("--networks", nargs="+", default=names(), help=" ")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    parser.add_argument("--bf16", action="store_true", help="offshelf in bf16, too")
    parser.add_argument("--batch", type=positive, default=32, help=" ")
    parser.add_argument("--rounds", type=positive, default=3, help=" ")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), help=" ")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help=" ")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(heading("The catalogue in fp32, from memory"))
    print("| network | GMAC | eager img/s | channels_last img/s | compile img/s ", end="")
    print("| offshelf img/s | ratio to plain | ratio to compile | bf16 to plain ", end="")
    print("| GEMM GFLOP/s | % of GEMM |")
    print("|---|" + "---:|" * 10)
    for name in asked.networks:
        with tempfile.TemporaryDirectory() as cache:
            print(row(name, asked, cache), flush=True)


if __name__ == "__main__":
    main()
