"""Photographs of 12 megapixels: the plain loop against offshelf, full and reduced, in turn.

The files are made here: noise of all sizes of grain, as in pictures of nature, saved as JPEG
(4:2:0, quality 85 to 92), PNG or WebP. Every round runs each side once, in a process of its
own, offshelf with an empty cache; ratios are taken inside a round. ``Pillow's resize`` is
offshelf without its compiled passes. Before that, the pixels that the network gets of one
file are compared with Pillow's and torchvision's.

    python benchmarks/photographs.py
    python benchmarks/photographs.py --kind png --images 10
    python benchmarks/photographs.py --resize
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arguments import Parser, positive
from extraction import make_task, middle
from measure import heading, offshelf, run
from sides import Task, run_side

WIDTH, HEIGHT, PICTURES, TURN = 4000, 3000, 4, 37
# Cells across a picture, and the contrast of each.
GRAINS = ((4, 60), (16, 40), (64, 25), (256, 12), (1000, 8))
SENSOR = 3
QUALITIES = (85, 88, 90, 92)
# What is saved, and the images of a run: all decode at another speed.
KINDS: dict[str, tuple[dict[str, Any], int]] = {"jpeg": ({}, 60), "png": ({}, 10), "webp": ({}, 10)}
PLAIN = "plain loop"
SIDES: dict[str, tuple[list[str], dict[str, str]]] = {
    "offshelf": ([], {}),
    "offshelf, Pillow's resize": ([], {"OFFSHELF_RESIZE": "0"}),
    "offshelf reduced": (["--decode", "reduced"], {}),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Images/s from files to features, and the shares of offshelf's processor time."""

    rate: float
    shares: dict[str, float]


def picture(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray[Any, Any]:
    """Return a made-up photograph, uint8, height x width x 3."""
    chance = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 120, np.float32)
    for cells, contrast in GRAINS:
        noise = chance.standard_normal((3, cells * height // width + 1, cells)).astype(np.float32)
        size, kind = (width, height), Image.Resampling.BICUBIC
        light, *colours = (np.asarray(Image.fromarray(one).resize(size, kind)) for one in noise)
        for channel, colour in enumerate([light, *colours]):
            pixels[:, :, channel] += contrast * (0.75 * light + 0.25 * colour)
    pixels += SENSOR * chance.standard_normal((height, width, 1)).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write(folder: Path, kind: str, count: int) -> list[Path]:
    """Write *count* files; each is one of few pictures, turned about its upright axis."""
    paths = []
    for seed in range(min(PICTURES, count)):
        drawn = picture(seed)
        for number in range(seed, count, PICTURES):
            path = folder / f"{number:03d}.{kind}"
            options = dict(KINDS[kind][0])
            if kind == "jpeg":
                options["quality"] = QUALITIES[number // PICTURES % len(QUALITIES)]
            turned = np.roll(drawn, TURN * number, axis=1)
            Image.fromarray(turned).save(path, **options)
            paths.append(path)
    return sorted(paths)


def same_pixels(path: Path, spec: Any) -> bool:
    """Return whether the network gets the pixels of Pillow's resize, of one file."""
    from offshelf.features.network_input import network_input
    from offshelf.resample import resize

    resize.WORTH_COMPILING = 0
    with Image.open(path) as image:
        size, kind = (spec.size, spec.size), Image.Resampling[spec.interpolation.upper()]
        expected = np.asarray(image.convert("RGB").resize(size, kind))
    return np.array_equal(network_input(path, spec).pixels, expected)


def offshelf_side(task: Task, options: list[str], switches: dict[str, str]) -> Outcome:
    """Run offshelf once, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        given = ["--cache-dir", f"{folder}/cache", "--out", f"{folder}/f.parquet"]
        given += ["--backbone", task.job["backbone"], "--precision", "fp32", "--json", "--quiet"]
        os.environ.update(switches)
        try:
            document = json.loads(run(offshelf("extract", task.table, *given, *options)).output)
        finally:
            for name in switches:
                del os.environ[name]
    return Outcome(document["images_per_second"], document["profile"])


def rounds(task: Task, count: int, sides: list[str]) -> dict[str, list[Outcome]]:
    """Run every side once in every round, and say on stderr what came of it."""
    found: dict[str, list[Outcome]] = {name: [] for name in (PLAIN, *sides)}
    for number in range(1, count + 1):
        for name, outcomes in found.items():
            if name == PLAIN:
                outcomes.append(Outcome(run_side("eager", task, sys.executable).rate, {}))
            else:
                outcomes.append(offshelf_side(task, *SIDES[name]))
            print(f"round {number}: {name}: {outcomes[-1].rate:.1f} img/s", file=sys.stderr)
    return found


def resize_table(repeat: int) -> str:
    """Return the processor time of one resize to 224 x 224, ms: the shortest of *repeat*."""
    from offshelf.resample.resize import by_pillow, proven_passes

    sides: dict[str, Any] = {"Pillow, with its copy": by_pillow}
    for name, processor in (("compiled", ""), ("compiled for AVX2", "x86-64-v3")):
        passes = proven_passes(processor)
        if passes is not None:
            sides[name] = passes.resized
    pixels = picture(0)
    turned = np.rot90(pixels, -1)
    pictures = {
        "RGB": pixels,
        "grey": np.ascontiguousarray(pixels[..., 0]),
        "RGB of a turned camera": turned,
        "the same, upright": np.ascontiguousarray(turned),
    }
    lines = [f"| picture | filter | {' | '.join(sides)} |", f"|---|---|{'---:|' * len(sides)}"]
    for kind, given in pictures.items():
        seen = (0, 0, given.shape[1], given.shape[0])
        for name in ("bilinear", "bicubic"):
            times = [
                min(seconds(side, given, (224, 224), seen, name) for _ in range(repeat))
                for side in sides.values()
            ]
            lines.append(f"| {kind} | {name} | {' | '.join(f'{1e3 * t:.1f}' for t in times)} |")
    return "\n".join(lines)


def seconds(work: Any, *given: Any) -> float:
    """Return this thread's processor time for *work*."""
    start = time.thread_time()
    work(*given)
    return time.thread_time() - start


def table(found: dict[str, list[Outcome]]) -> str:
    """Return the table: medians, with the range over the rounds."""
    stages = ("read", "decode", "resize", "network", "store")
    lines = [f"| side | img/s | ratio | {' | '.join(f'{stage} %' for stage in stages)} |"]
    lines.append(f"|---|{'---:|' * (2 + len(stages))}")
    for name, outcomes in found.items():
        pairs = zip(outcomes, found[PLAIN], strict=True)
        cells = [name, middle((one.rate for one in outcomes), 1)]
        cells.append(middle((one.rate / plain.rate for one, plain in pairs), 2))
        for stage in stages:
            shares = [100 * one.shares[stage] for one in outcomes if one.shares]
            cells.append(f"{np.median(shares):.0f}" if shares else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the files, run the rounds and print the block for RESULTS.md."""
    parser = Parser(__doc__)
    parser.add_argument("--kind", choices=list(KINDS), default="jpeg", help=" ")
    parser.add_argument("--images", type=positive, help="60 JPEG files, or 10 of another kind")
    parser.add_argument("--rounds", type=positive, default=3, help=" ")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), help=" ")
    parser.add_argument("--resize", action="store_true", help="the resize alone, and no files")
    asked = parser.parse_args()
    if asked.resize:
        print(heading("Resize of a photograph of 12 megapixels to 224 x 224, ms"))
        print(resize_table(repeat=9))
        return
    job = {"backbone": "efficientnet_lite0", "layer": "penultimate", "pooling": "flatten"}
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), asked.kind, asked.images or KINDS[asked.kind][1])
        rows = [(str(path), "photograph", "train") for path in paths]
        task = make_task(rows, argparse.Namespace(**job, weights=None), Path(folder))
        size = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
        from offshelf.backbones.catalogue.names import get_spec

        same = same_pixels(paths[0], get_spec(job["backbone"]).weights[0].input)
        found = rounds(task, asked.rounds, asked.sides)
    print(heading(f"Photographs of 12 megapixels, {asked.kind.upper()}, EfficientNet-Lite0 fp32"))
    print(f"{len(paths)} files of {size:.1f} MB, {asked.rounds} rounds; median (range); ", end="")
    print(f"pixels {'equal' if same else 'NOT equal'} to Pillow's\n")
    print(table(found))


if __name__ == "__main__":
    main()
