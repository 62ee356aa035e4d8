"""The second run: all features are kept, no image has changed. What is left to wait for?

The images are made up (8 x 8 noise) and so are their features, which are put into the store
without a network. The first run reads every file to hash it, the second none, the third all
again (--rehash). Each is a whole process; --against runs another checkout beside this one, in
turn, on the same cache. --data takes images that are there, with their own features.

    python benchmarks/second_run.py
    python benchmarks/second_run.py --images 20000 --commands extract --pairs 5 --against ../main
    python benchmarks/second_run.py --data ../shared/data/15-scene
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from arguments import Parser, existing, positive
from measure import Run, heading, offshelf, run
from offshelf.backbones.backbone import open_backbone
from offshelf.cache import digests_folder, features_folder
from offshelf.data.decoding.limits import Facts
from offshelf.data.tables.image_table import read_table
from offshelf.engine.contract import EngineOptions
from offshelf.features.feature_kind import feature_kinds
from offshelf.features.store.feature_store import FeatureStore

CLASSES, SIDE = 10, 8


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG, written faster than by a library."""

    def chunk(name: bytes, body: bytes) -> bytes:
        length, check = struct.pack(">I", len(body)), struct.pack(">I", zlib.crc32(name + body))
        return length + name + body + check

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    end = chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def write_images(folder: Path, count: int) -> None:
    """Write distinct images: class folders in train/ and test/."""
    draw = np.random.default_rng(0)
    for number in range(count):
        split = "train" if number % 2 else "test"
        place = folder / split / f"class-{number // 2 % CLASSES}"
        if number < 2 * CLASSES:
            place.mkdir(parents=True)
        pixels = draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        (place / f"{number:07d}.png").write_bytes(png(pixels))


def fill(cache: Path, data: Path) -> None:
    """Put features of all images into the store, each class around a place of its own."""
    backbone = open_backbone("efficientnet_lite0", cache_dir=cache)
    kinds = tuple(feature_kinds(backbone, ["penultimate"], ["avg"]))
    options = EngineOptions(cache_dir=cache)
    identity = kinds[0].identity(backbone, options, (255, 255, 255), kinds)
    draw = np.random.default_rng(1)
    store = FeatureStore(features_folder(cache), identity, 1280)
    table = read_table(data)
    places = draw.normal(size=(CLASSES, 1280)).astype(np.float32)
    for path, label in zip(table.paths, table.targets().tolist(), strict=True):
        row = places[label] + draw.normal(size=1280).astype(np.float32)
        facts = Facts(width=SIDE, height=SIDE, memory=4096)
        store.append(hashlib.sha256(Path(path).read_bytes()).digest(), row, facts)
    store.flush()


def timed(command: str, folder: Path, *more: str, source: Path | None = None) -> Run:
    """Run a command on the images."""
    out = {"extract": folder / "out.parquet", "fit": folder / "out.offshelf"}.get(command)
    words = ["--cache-dir", str(folder / "cache"), *(["--out", str(out)] if out else [])]
    words += ["--samples", "0"] if command == "fit" else []
    if source is not None:
        os.environ["PYTHONPATH"] = str(source / "src")
    try:
        done = run(offshelf(command, folder / "images", *words, *more, "--json", "--quiet"))
    finally:
        os.environ.pop("PYTHONPATH", None)
    return done


def stages(runs: list[Run]) -> str:
    """Return what the command itself says of its time, the median of each stage."""
    found = [json.loads(one.output)["seconds"] for one in runs]
    names = [name for name in found[0] if name != "total"]
    return ", ".join(f"{n} {statistics.median(one[n] for one in found):.2f}" for n in names)


def rows(command: str, folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, list[Run]]]:
    """Yield what was run, and its runs."""
    kept = digests_folder(folder / "cache")
    if asked.against is None:
        shutil.rmtree(kept, ignore_errors=True)
        yield "first", [timed(command, folder)]
        yield "second", [timed(command, folder) for _ in range(asked.pairs)]
        yield "--rehash", [timed(command, folder, "--rehash")]
        return
    timed(command, folder)
    pairs = [
        (timed(command, folder, source=asked.against), timed(command, folder))
        for _ in range(asked.pairs)
    ]
    yield "before", [pair[0] for pair in pairs]
    yield "now", [pair[1] for pair in pairs]


def main() -> None:
    """Print seconds and peak memory of each run."""
    parser = Parser(__doc__)
    parser.add_argument("--images", type=positive, default=50_000, help=" ")
    parser.add_argument("--data", type=existing, help="images in place of made-up ones")
    parser.add_argument("--commands", nargs="+", default=["extract", "fit", "audit"], help=" ")
    parser.add_argument("--pairs", type=positive, default=3, help=" ")
    parser.add_argument("--against", type=existing, help="another checkout, which ran before")
    asked = parser.parse_args()
    title = f"{asked.images:,} images" if asked.data is None else asked.data.name
    print(heading(f"The second run of {title}"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.data is None:
            write_images(folder / "images", asked.images)
            fill(folder / "cache", folder / "images")
        else:
            (folder / "images").symlink_to(asked.data.resolve())
            timed("extract", folder)
        start = [run(offshelf("--version")).seconds for _ in range(asked.pairs)]
        print(f"start of Python alone: {statistics.median(start):.2f} s\n")
        print("| command | run | median s | range | of processor | peak MiB | stages, s |")
        print("|---|---|---:|---:|---:|---:|---|")
        for command in asked.commands:
            for what, runs in rows(command, folder, asked):
                seconds = sorted(one.seconds for one in runs)
                print(f"| {command} | {what} | {statistics.median(seconds):.2f}", end=" | ")
                print(f"{seconds[0]:.2f} to {seconds[-1]:.2f}", end=" | ")
                print(f"{statistics.median(one.processor for one in runs):.2f}", end=" | ")
                print(f"{max(one.peak for one in runs):.0f} | {stages(runs)} |", flush=True)


if __name__ == "__main__":
    main()
