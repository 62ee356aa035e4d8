"""From files to features: offshelf against torch, onnxruntime and peers, in one run.

All sides read the same files, take the same weights file and the same preprocessing, and
run in processes of their own; a round runs every side once, so that a machine that slows
down slows them all, and ratios are taken inside a round. offshelf starts with an empty
cache each time. Images/s count from the first file to the last feature; everything else a
side needs (imports, conversion, calibration, compilation, writing) is its start. The
cosine is to the features of the eager loop. With VGG16 the matrix-product peak of the
machine is measured in every round, just before offshelf in fp32. Networks other than
EfficientNet-Lite0 and VGG16 have random weights, and torch and offshelf alone take part.

    python benchmarks/extraction.py --data ../shared/data/15-scene --images 1500
    python benchmarks/extraction.py --data ../shared/data/15-scene --images 600 \
        --backbone vgg16 --weights ../shared/weights/vgg16_features.safetensors \
        --peers .peers
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from arguments import Parser, existing, positive
from gemm import images_per_second
from generated import write_classes
from measure import Failed, heading, run
from offshelf.backbones.backbone import open_backbone
from offshelf.backbones.catalogue.names import get_spec, names
from offshelf.backbones.construct import torch_context
from offshelf.backbones.construct.architectures import load_module
from offshelf.backbones.weights_file.locate import locate
from sides import NAMES, OFFSHELF, OTHERS, TORCH, Outcome, Task, interpreter, run_side
from tables import Row, read_rows, sort_rows, subset, write_table

LAYERS = {"efficientnet_lite0": "penultimate", "vgg16": "pool5"}
ALL_RUN = TORCH + OFFSHELF
BASE = "eager"
# Before this side the matrix-product peak is measured.
FULL_PRECISION = "offshelf fp32"
GENERATED = 120


@dataclasses.dataclass(frozen=True)
class Results:
    """Outcomes by side and round, GFLOP/s by round, and why a side was left out."""

    outcomes: dict[str, list[Outcome]]
    gflops: list[float]
    left_out: dict[str, str]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    parser.add_argument(
        "--data", type=existing, help="folder of labelled images; else made-up ones"
    )
    parser.add_argument("--images", type=positive, help="a stratified subset of about so many")
    parser.add_argument("--backbone", choices=names(), default="efficientnet_lite0", help=" ")
    parser.add_argument("--layer", help="for vgg16: pool1 ... pool5")
    parser.add_argument("--pooling", choices=["flatten", "avg", "max"], default="flatten", help=" ")
    parser.add_argument("--weights", help="weights file; else where offshelf finds it")
    parser.add_argument("--rounds", type=positive, default=3, help=" ")
    parser.add_argument(
        "--sides", nargs="+", choices=NAMES, default=NAMES, metavar="SIDE", help=" "
    )
    parser.add_argument("--peers", type=existing, help="folder that peers.sh made")
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="SIDE=PYTHON", help=" "
    )
    parser.add_argument("--seed", type=int, default=0, help=" ")
    asked = parser.parse_args(given)
    asked.layer = asked.layer or LAYERS.get(asked.backbone, "penultimate")
    if asked.backbone not in LAYERS:
        asked.sides = [side for side in asked.sides if side in ALL_RUN]
    if asked.backbone != "vgg16" and asked.layer != "penultimate":
        parser.error(f"{asked.backbone} is compared at its penultimate layer")
    asked.pythons = pythons(asked.peers, asked.peer_python)
    return asked


def pythons(folder: Path | None, given: list[str]) -> dict[str, str]:
    """Return the interpreter of each side that has its own: from *folder*, then as given."""
    inside = {name: folder / name / "bin" / "python" for name in OTHERS} if folder else {}
    found = {name: str(python.absolute()) for name, python in inside.items() if python.exists()}
    return found | dict(one.partition("=")[::2] for one in given)


def make_task(rows: list[Row], asked: argparse.Namespace, folder: Path) -> Task:
    """Write the table and describe the job to the scripts that know nothing of offshelf."""
    spec = get_spec(asked.backbone)
    if asked.backbone not in LAYERS:
        asked.weights = write_random(asked.backbone, folder)
    file = locate(spec, weights=asked.weights, download=False)
    write_table(folder / "images.csv", rows)
    job = {
        "paths": [path for path, _, _ in sort_rows(rows)],
        "backbone": asked.backbone,
        "source": spec.source,
        "architecture": spec.architecture,
        "layer": asked.layer,
        "pooling": asked.pooling,
        "weights": str(Path(file.path).resolve()),
        "spec": dataclasses.asdict(file.spec.input),
        "shim": torch_context.__file__,
    }
    return Task(folder / "images.csv", job)


def write_random(name: str, folder: Path) -> str:
    """Write the random weights of a network to a file, which every side reads."""
    from safetensors.torch import save_file

    file = folder / "random.safetensors"
    backbone = open_backbone(name, weights="random")
    save_file(load_module(backbone.spec, backbone.file).state_dict(), file)
    return str(file)


def run_rounds(task: Task, asked: argparse.Namespace) -> Results:
    """Run every side once in every round; a side that fails is left out from then on."""
    results = Results({name: [] for name in asked.sides}, [], {})
    for path in task.job["paths"]:
        # No side shall be the one that finds the files outside the system's file cache.
        Path(path).read_bytes()
    for number in range(1, asked.rounds + 1):
        for name in asked.sides:
            if name == FULL_PRECISION and task.job["backbone"] == "vgg16":
                results.gflops.append(measure_gemm())
            if name not in results.left_out:
                one(name, number, task, asked, results)
    return results


def one(name: str, number: int, task: Task, asked: argparse.Namespace, results: Results) -> None:
    """Run the side *name* in round *number* and say on stderr what came of it."""
    try:
        outcome = run_side(name, task, interpreter(name, asked.pythons))
    except Failed as error:
        lines = str(error).strip().splitlines()
        results.left_out[name] = lines[-1] if lines else "failed"
        print(f"round {number}: {name}: {error}", file=sys.stderr, flush=True)
        return
    results.outcomes[name].append(outcome)
    print(f"round {number}: {name}: {outcome.rate:.1f} img/s", file=sys.stderr, flush=True)


def measure_gemm() -> float:
    """Return the matrix-product peak in GFLOP/s, measured in a process of its own."""
    done = run([sys.executable, str(Path(__file__).with_name("gemm.py")), "--json"])
    return float(json.loads(done.output)["gflops"])


def cosine(one: Outcome, other: Outcome) -> float:
    """Return the mean cosine between the features of the same images."""
    left, right = one.features, other.features
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean((left * right).sum(axis=1) / np.maximum(norms, 1e-12)))


def middle(values: Iterable[float], digits: int) -> str:
    """Return the median and, of several, the range."""
    listed = list(values)
    if not listed:
        return ""
    text = f"{statistics.median(listed):.{digits}f}"
    if len(listed) < 2:
        return text
    return f"{text} ({min(listed):.{digits}f} to {max(listed):.{digits}f})"


def row(name: str, results: Results, layer: str) -> str:
    """Return the line of one side: medians, with the range over the rounds."""
    done, base = results.outcomes[name], results.outcomes.get(BASE, [])
    pairs = list(zip(done, base, strict=False))
    limits = [images_per_second(gflops, layer) for gflops in results.gflops]
    cells = [
        name,
        middle((outcome.rate for outcome in done), 1),
        middle((outcome.rate / other.rate for outcome, other in pairs), 2),
        middle((outcome.run.seconds for outcome in done), 1),
        middle((outcome.start for outcome in done), 1),
        middle((outcome.run.peak for outcome in done), 0),
        f"{cosine(*pairs[0]):.4f}" if pairs else "",
    ]
    if limits:
        shares = (100 * o.rate / limit for o, limit in zip(done, limits, strict=False))
        cells.append(middle(shares, 0))
    return f"| {' | '.join(cells)} | {done[0].note} |"


def table(results: Results, layer: str) -> str:
    """Return the table of all sides, and below it what was left out and why."""
    names = ["side", "img/s", f"ratio to {BASE}", "wall s", "start s", "MiB", "cosine"]
    names += ["% of GEMM peak"] * bool(results.gflops)
    lines = [f"| {' | '.join(names)} | what ran |", f"|---|{'---:|' * (len(names) - 1)}---|"]
    lines += [row(name, results, layer) for name, done in results.outcomes.items() if done]
    if results.gflops:
        limits = (images_per_second(gflops, layer) for gflops in results.gflops)
        lines.append(f"\nGEMM peak: {middle(results.gflops, 0)} GFLOP/s, ")
        lines[-1] += f"{middle(limits, 2)} img/s of direct convolution"
    lines += [f"\nleft out: {name}: {reason}" for name, reason in results.left_out.items()]
    return "\n".join(lines)


def main() -> None:
    """Run the rounds and print the block for RESULTS.md."""
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder:
        data = asked.data
        if data is None:
            data = Path(folder, "images")
            write_classes(data, asked.images or GENERATED)
        rows = read_rows(data, asked.seed)
        rows = subset(rows, asked.images, asked.seed) if asked.images else rows
        results = run_rounds(make_task(rows, asked, Path(folder)), asked)
    print(heading(f"Files to features, {asked.backbone} {asked.layer} {asked.pooling}"))
    made_up = "" if asked.data else " made-up"
    print(f"{len(rows)}{made_up} images, {asked.rounds} rounds; median (range)\n")
    print(table(results, asked.layer))


if __name__ == "__main__":
    main()
