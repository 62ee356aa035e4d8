"""What int8 costs: accuracy of heads on int8 and on fp32 features of the same images.

Features are extracted once in each precision, by offshelf's own functions; then the linear
SVM (rows of length one, C = 1) is trained and tested on the given split and on random
splits of the pooled images, the same for both precisions. int8 is calibrated on at most
100 images of the given training split, without their labels; in the random splits some of
these are test images.

    python benchmarks/accuracy.py --data ../shared/data/15-scene \
        --vgg16-weights ../shared/weights/vgg16_features.safetensors
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arguments import Parser, existing, positive
from generated import write_classes
from measure import heading
from tables import read_rows, subset, write_table

NETWORKS = {"efficientnet_lite0": ("penultimate", "avg"), "vgg16": ("pool5", "flatten")}
PRECISIONS = ("fp32", "int8")
GENERATED = 120
BOUND = 0.5


@dataclass(frozen=True, eq=False)
class Features:
    """Features of all readable images in one precision.

    Attributes:
        matrix: N x D float32.
        targets: class index of each row.
        train: whether the given split trains on the row.
        classes: names.
        rate: images/s of the extraction.
    """

    matrix: NDArray[np.float32]
    targets: NDArray[np.int64]
    train: NDArray[np.bool_]
    classes: tuple[str, ...]
    rate: float


def features(data: Path, backbone: str, precision: str, weights: str | None) -> Features:
    """Extract the features of *data* with an empty cache."""
    from offshelf.engine.contract import EngineOptions
    from offshelf.jobs.extract.job import extract_features
    from offshelf.jobs.setup.settings import FeatureSettings, RunSettings

    layer, pooling = NETWORKS[backbone]
    with tempfile.TemporaryDirectory() as folder:
        engine = EngineOptions(precision=precision, cache_dir=folder)
        done = extract_features(
            data,
            features=FeatureSettings(
                backbone, layer=layer, pooling=pooling, weights=weights, download=False
            ),
            run=RunSettings(engine=engine),
        )
        rows, table = done.extraction.ok, done.table
        matrix = done.extraction.matrix(done.kinds[0], rows)
    train = np.array(table.splits)[rows] == "train"
    rate = done.extraction.images_per_second
    return Features(matrix, table.targets()[rows], train, table.classes, rate)


def random_split(targets: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask with *count* rows of every class to train on, all others to test."""
    draw, train = np.random.default_rng(seed), np.zeros(len(targets), bool)
    for label in np.unique(targets):
        train[draw.permutation(np.flatnonzero(targets == label))[:count]] = True
    return train


def accuracy(given: Features, train: NDArray[np.bool_]) -> float:
    """Return the accuracy in per cent of a head trained on *train*, tested on the rest."""
    from offshelf.heads.fitting.fit_head import Recipe, decision, fit_head

    head = fit_head(Recipe(), given.matrix[train], given.targets[train], given.classes)
    found = decision(head, given.matrix[~train]).argmax(axis=1)
    return 100 * float(np.mean(found == given.targets[~train]))


def cosine(one: Features, other: Features) -> float:
    """Return the mean cosine between the rows of two matrices."""
    dots = np.einsum("nd,nd->n", one.matrix, other.matrix)
    norms = np.linalg.norm(one.matrix, axis=1) * np.linalg.norm(other.matrix, axis=1)
    return float(np.mean(dots / np.maximum(norms, 1e-12)))


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if values[1:] else 0:.2f}"


def show(backbone: str, found: dict[str, Features], splits: int, count: int) -> None:
    """Print a line for the given split and one for the random splits."""
    plain, small = (found[precision] for precision in PRECISIONS)
    same = f"{cosine(plain, small):.4f}"
    scores = [accuracy(one, one.train) for one in (plain, small)]
    lost = scores[0] - scores[1]
    print(f"| {backbone} | given | {scores[0]:.2f} | {scores[1]:.2f} | {lost:+.2f} |", end=" ")
    print(f"{'yes' if lost <= BOUND else 'no'} | {same} |", flush=True)
    pairs = []
    for seed in range(splits):
        train = random_split(plain.targets, count, seed)
        pairs.append((accuracy(plain, train), accuracy(small, train)))
    if pairs:
        lost = statistics.mean(one - other for one, other in pairs)
        most = max(one - other for one, other in pairs)
        print(f"| {backbone} | {splits} random, {count} a class |", end=" ")
        print(" | ".join(spread(list(values)) for values in zip(*pairs, strict=True)), end=" | ")
        print(f"{lost:+.2f} (at most {most:+.2f}) | {'yes' if lost <= BOUND else 'no'} | {same} |")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--data", type=existing, help="labelled images; else made-up ones")
    parser.add_argument("--backbones", nargs="+", choices=list(NETWORKS), help=" ")
    parser.add_argument("--vgg16-weights", help="weights file; without it VGG16 is left out")
    parser.add_argument("--size", type=positive, help="take about so many of the images")
    parser.add_argument("--splits", type=positive, default=10, help="random splits")
    parser.add_argument("--per-class", type=positive, default=100, help="training images of each")
    asked = parser.parse_args()
    known = ["efficientnet_lite0", *(["vgg16"] if asked.vgg16_weights else [])]
    asked.backbones = asked.backbones or known
    return asked


def main() -> None:
    """Print the table, network by network."""
    asked = arguments()
    print(heading("Accuracy with int8 and with fp32 features"))
    print("| network | split | fp32 % | int8 % | lost points |", end="")
    print(f" at most {BOUND} | cosine |\n|---|---|---:|---:|---:|---|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = asked.data or Path(folder, "images")
        if asked.data is None:
            write_classes(data, GENERATED)
        if asked.size:
            rows = subset(read_rows(data, 0), asked.size, 0)
            data = Path(folder, "images.csv")
            write_table(data, rows)
        for backbone in asked.backbones:
            weights = asked.vgg16_weights if backbone == "vgg16" else None
            found = {p: features(data, backbone, p, weights) for p in PRECISIONS}
            show(backbone, found, asked.splits, asked.per_class)


if __name__ == "__main__":
    main()
