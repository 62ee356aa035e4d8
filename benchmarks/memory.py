"""Peak memory of `offshelf extract` on few and on many images: it must not grow with them.

python benchmarks/memory.py --sizes 2000 20000
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
from pathlib import Path

from PIL import Image

from measure import Run, machine, offshelf, run

PICTURES, SIDE, PER_FOLDER = 8, 64, 1000


def pictures(seed: int = 0) -> list[bytes]:
    """Return a few JPEG files of noise, 64 x 64."""
    chance, files = random.Random(seed), []
    for _ in range(PICTURES):
        buffer = io.BytesIO()
        Image.frombytes("RGB", (SIDE, SIDE), chance.randbytes(3 * SIDE**2)).save(buffer, "JPEG")
        files.append(buffer.getvalue())
    return files


def numbered(jpeg: bytes, number: int) -> bytes:
    """Return *jpeg* with a comment after its first marker: the same pixels, other bytes."""
    comment = f"{number:08d}".encode()
    length = (len(comment) + 2).to_bytes(2, "big")
    return jpeg[:2] + b"\xff\xfe" + length + comment + jpeg[2:]


def write_images(folder: Path, count: int) -> None:
    """Write *count* JPEG files of distinct bytes, a thousand to a folder."""
    files = pictures()
    for number in range(count):
        inner = folder / f"{number // PER_FOLDER:04d}"
        inner.mkdir(parents=True, exist_ok=True)
        content = numbered(files[number % PICTURES], number)
        (inner / f"{number:08d}.jpg").write_bytes(content)


def measure(count: int, options: list[str]) -> tuple[Run, float]:
    """Extract the features of *count* images with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder, "images"), count)
        new = ["--cache-dir", f"{folder}/cache", "--out", f"{folder}/features.parquet"]
        done = run(offshelf("extract", f"{folder}/images", *options, *new, "--json", "--quiet"))
    document = json.loads(done.output)
    if document["n_ok"] != count:
        raise SystemExit(f"{count} images were written but {document['n_ok']} extracted")
    return done, document["images_per_second"]


def main() -> None:
    """Print peak memory for each size and the ratio of the last to the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--layer")
    parser.add_argument("--pooling")
    parser.add_argument("--weights")
    asked = parser.parse_args()
    chosen = {key: getattr(asked, key) for key in ("backbone", "layer", "pooling", "weights")}
    options = [text for key, value in chosen.items() if value for text in (f"--{key}", value)]
    print(f"{machine()}\n{' '.join(options)}\n\n| images | peak MiB | img/s |\n|---:|---:|---:|")
    peaks = []
    for count in asked.sizes:
        done, rate = measure(count, options)
        peaks.append(done.peak)
        print(f"| {count} | {done.peak:.0f} | {rate:.1f} |", flush=True)
    print(f"\nratio of the last to the first: {peaks[-1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
