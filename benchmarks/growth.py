"""What a feature store costs as it grows: a flush, opening it, looking through it, reading it.

The rows are made up. Every so often as many flushes are timed, those that merge small parts
into one included; then new processes open the store.

    python benchmarks/growth.py
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from arguments import Parser, positive
from measure import heading, run
from offshelf.data.decoding.limits import Facts
from offshelf.features.store import feature_store as stores
from offshelf.features.store.feature_store import FeatureStore

IDENTITY = {"made": "up"}
FACTS = Facts(width=640, height=480, memory=2**20)
OPEN = """
import hashlib, json, sys, time
from pathlib import Path
import pyarrow.parquet
from offshelf.features.store.feature_store import FeatureStore
began = time.perf_counter(), time.process_time()
store = FeatureStore(Path(sys.argv[1]), {"made": "up"})
ended = time.perf_counter(), time.process_time()
digests = [hashlib.sha256(str(n).encode()).digest() for n in range(int(sys.argv[2]))]
looked = time.perf_counter()
assert all(digest in store for digest in digests)
read = time.perf_counter()
for start in range(0, len(digests), 2000):
    store.read(digests[start : start + 2000])
print(json.dumps({"rows": len(store), "parts": len([*store.folder.glob("part-*.parquet")]),
    "open": ended[0] - began[0], "open_cpu": ended[1] - began[1], "look": read - looked,
    "read": time.perf_counter() - read}))
"""


def digest(number: int) -> bytes:
    """Return the hash of an image that is none."""
    return hashlib.sha256(str(number).encode()).digest()


def grow(root: Path, flushes: int, rows: int, dimension: int) -> list[tuple[float, float]]:
    """Append to a store and flush it; return wall and processor seconds of each flush."""
    stores.FLUSH_SECONDS, stores.FLUSH_BYTES = 1e9, 1 << 40
    matrix = np.random.default_rng(0).normal(size=(rows, dimension)).astype(np.float32)
    store = FeatureStore(root, IDENTITY, dimension)
    taken = []
    for flush in range(flushes):
        for row in range(rows):
            store.append(digest(flush * rows + row), matrix[row], FACTS)
        began = time.perf_counter(), time.process_time()
        store.flush()
        taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return taken


def main() -> None:
    """Print the cost of flushes early and late, and of opening what came of them."""
    parser = Parser(__doc__)
    parser.add_argument("--flushes", type=positive, default=1000, help=" ")
    parser.add_argument("--rows", type=positive, default=1000, help=" ")
    parser.add_argument("--dimension", type=positive, default=64, help=" ")
    parser.add_argument("--windows", type=positive, default=10, help=" ")
    asked = parser.parse_args()
    print(heading("A feature store as it grows"))
    with tempfile.TemporaryDirectory() as folder:
        taken = grow(Path(folder), asked.flushes, asked.rows, asked.dimension)
        print("| flushes | median ms | mean ms | median ms of processor | mean |\n|" + "---:|" * 5)
        for window in np.array_split(np.arange(len(taken)), asked.windows):
            part = 1e3 * np.array(taken)[window]
            wall, cpu = part[:, 0], part[:, 1]
            print(f"| {window[0] + 1:,} to {window[-1] + 1:,} | {np.median(wall):.1f}", end=" | ")
            print(f"{wall.mean():.1f} | {np.median(cpu):.1f} | {cpu.mean():.1f} |")
        print("\n| rows | parts | open s | of processor | look through s | read s |")
        print("|" + "---:|" * 6)
        for _ in range(3):
            count = str(asked.flushes * asked.rows)
            found = json.loads(run([sys.executable, "-c", OPEN, folder, count]).output)
            print(f"| {found['rows']:,} | {found['parts']} | {found['open']:.2f}", end=" | ")
            print(f"{found['open_cpu']:.2f} | {found['look']:.2f} | {found['read']:.2f} |")


if __name__ == "__main__":
    main()
