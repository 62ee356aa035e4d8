"""Peak memory of training heads on many rows of many dimensions, beside the matrix itself.

Each head is trained in a process of its own on the same made-up features (classes that
overlap); the first row of the table is that process without a head. The SVM's inner products are
float32 where C is small, those of ridge and lda always float64.

    python benchmarks/head_memory.py
    python benchmarks/head_memory.py --rows 4000 --heads svm ridge:auto
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from arguments import Parser, positive

NOTHING = "none"
CLASSES = 15
STEP = 500


def main() -> None:
    """Print a row for each head, or with ``--only`` train one here."""
    parser = Parser(__doc__)
    parser.add_argument("--rows", type=positive, default=10_000, help=" ")
    parser.add_argument("--dimensions", type=positive, default=25_088, help=" ")
    heads = ["svm", "svm:auto", "ridge:auto", "lda"]
    parser.add_argument("--heads", nargs="+", default=heads, help="of these, or others, KIND:auto")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(train(asked.only, asked.rows, asked.dimensions))
        return
    from measure import heading, run

    print(heading("Peak memory of heads"))
    matrix = 4 * asked.rows * asked.dimensions / 2**20
    print(f"{asked.rows:,} x {asked.dimensions:,} float32: {matrix:.0f} MiB\n")
    print("| head | fit s | peak MiB | beside matrix and process | n x n | ratio |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    size = ["--rows", str(asked.rows), "--dimensions", str(asked.dimensions)]
    base = 0.0
    for head in (NOTHING, *asked.heads):
        done = run([sys.executable, __file__, *size, "--only", head])
        base = base or done.peak
        beside, gram = done.peak - base, size_of(head) * asked.rows**2 / 2**20
        print(f"| {head} | {float(done.output):.1f} | {done.peak:.0f} | ", end="")
        print(f"{beside:.0f} | {gram:.0f} | {beside / gram:.2f} |", flush=True)


def size_of(head: str) -> int:
    """Return the bytes of one inner product of *head*."""
    return 8 if head.partition(":")[0] in ("ridge", "lda") else 4


def train(head: str, rows: int, dimensions: int) -> float:
    """Train *head* on made-up features and return the seconds that it took."""
    import time

    from offshelf.heads.fitting.fit_head import Recipe, fit_head

    kind, _, c = head.partition(":")
    features, targets = made_up(rows, dimensions)
    names = [str(number) for number in range(CLASSES)]
    few = slice(4 * CLASSES)
    # What a head imports is part of every process, the one without a head too.
    fit_head(Recipe(kind="svm" if head == NOTHING else kind), features[few], targets[few], names)
    start = time.perf_counter()
    if head != NOTHING:
        fit_head(Recipe(kind=kind, c=c or 1.0), features, targets, names)
    return time.perf_counter() - start


def made_up(rows: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 features of classes that overlap, and the classes; never two copies."""
    draw = np.random.default_rng(0)
    means = 0.15 * draw.standard_normal((CLASSES, dimensions), dtype=np.float32)
    targets = np.arange(rows) % CLASSES
    features = np.empty((rows, dimensions), np.float32)
    for first in range(0, rows, STEP):
        part = slice(first, first + STEP)
        noise = draw.standard_normal(features[part].shape, dtype=np.float32)
        features[part] = noise + means[targets[part]]
    return features, targets


if __name__ == "__main__":
    main()
