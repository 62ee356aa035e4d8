"""`offshelf fit` against the plain way (plain_loop.py), on the same images, pair by pair.

Both sides read the same table of files, labels and splits, take the same weights and the
same preprocessing, and start in a new process each time; offshelf with an empty cache, so
that nothing is there from before. They alternate (plain, offshelf, plain, offshelf, ...), so
that a machine that slows down slows both.

    python benchmarks/against_plain_loop.py --data ../shared/data/15-scene
    python benchmarks/against_plain_loop.py --data ../shared/data/15-scene --images 300 \
        --backbone vgg16 --weights ../shared/weights/vgg16_features.safetensors
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from arguments import Parser, existing, positive
from measure import Run, heading, offshelf, run
from tables import read_rows, subset, write_table

LAYERS = {"efficientnet_lite0": "penultimate", "vgg16": "pool5"}


@dataclass(frozen=True)
class Side:
    """What one side of a pair did: images/s of the extraction, accuracy, and the whole run."""

    rate: float
    accuracy: float
    run: Run


def plain_side(table: Path, options: list[str]) -> Side:
    """Run the plain loop."""
    script = Path(__file__).with_name("plain_loop.py")
    done = run([sys.executable, str(script), str(table), *options])
    document = json.loads(done.output)
    return Side(document["images_per_second"], document["accuracy"], done)


def offshelf_side(table: Path, options: list[str]) -> Side:
    """Run `offshelf fit` with an empty cache; its extraction runs from files to features."""
    with tempfile.TemporaryDirectory() as folder:
        new = ["--cache-dir", f"{folder}/cache", "--out", f"{folder}/model.offshelf"]
        done = run(offshelf("fit", table, *options, *new, "--json", "--quiet"))
    document = json.loads(done.output)
    rate = (document["n_train"] + document["n_test"]) / document["seconds"]["extract"]
    return Side(rate, document["accuracy"], done)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="folder of labelled images")
    parser.add_argument("--backbone", choices=list(LAYERS), default="efficientnet_lite0", help=" ")
    parser.add_argument("--layer", help="penultimate, or pool1 ... pool5 of vgg16")
    parser.add_argument("--pooling", choices=["flatten", "avg", "max"], default="flatten", help=" ")
    parser.add_argument("--weights", help="weights file; else where offshelf finds it")
    parser.add_argument("--pairs", type=positive, default=3, help=" ")
    parser.add_argument("--images", type=positive, help="a stratified subset of about so many")
    parser.add_argument("--seed", type=int, default=0, help=" ")
    asked = parser.parse_args()
    layers = ["penultimate"] if asked.backbone != "vgg16" else [f"pool{n}" for n in range(1, 6)]
    asked.layer = asked.layer or LAYERS[asked.backbone]
    if asked.layer not in layers:
        parser.error(f"the plain loop of {asked.backbone} has the layers {', '.join(layers)}")
    return asked


def show_pairs(table: Path, options: list[str], pairs: int) -> list[tuple[Side, Side]]:
    """Run the pairs and print one row for each."""
    print("| pair | plain img/s | offshelf img/s | ratio | plain s | offshelf s | ratio |", end="")
    print(" plain accuracy | offshelf accuracy | plain MiB | offshelf MiB |")
    print("|" + "---:|" * 11)
    done = []
    for number in range(1, pairs + 1):
        plain, ours = plain_side(table, options), offshelf_side(table, options)
        speed, whole = ours.rate / plain.rate, plain.run.seconds / ours.run.seconds
        print(f"| {number} | {plain.rate:.1f} | {ours.rate:.1f} | {speed:.2f}", end=" | ")
        print(f"{plain.run.seconds:.1f} | {ours.run.seconds:.1f} | {whole:.2f}", end=" | ")
        print(f"{plain.accuracy:.4f} | {ours.accuracy:.4f}", end=" | ")
        print(f"{plain.run.peak:.0f} | {ours.run.peak:.0f} |", flush=True)
        done.append((plain, ours))
    return done


def main() -> None:
    """Print the pairs and their medians."""
    asked = arguments()
    rows = read_rows(asked.data, asked.seed)
    rows = subset(rows, asked.images, asked.seed) if asked.images else rows
    options = ["--backbone", asked.backbone, "--layer", asked.layer, "--pooling", asked.pooling]
    options += ["--weights", asked.weights] if asked.weights else []
    train = sum(row[2] == "train" for row in rows)
    print(heading(f"`offshelf fit` against the plain loop, {asked.backbone}"))
    print(f"{train} train, {len(rows) - train} test images\n")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "images.csv"
        write_table(table, rows)
        done = show_pairs(table, options, asked.pairs)
    speed = statistics.median(ours.rate / plain.rate for plain, ours in done)
    whole = statistics.median(plain.run.seconds / ours.run.seconds for plain, ours in done)
    apart = max(abs(ours.accuracy - plain.accuracy) for plain, ours in done)
    print(f"\nmedian ratio: {speed:.2f} files to features, {whole:.2f} whole run", end="; ")
    print(f"accuracies apart by at most {apart:.4f}")


if __name__ == "__main__":
    main()
