"""Peak memory of `offshelf extract` on few and on many images: it must not grow with them.

The images are made up (64 x 64 JPEG, distinct bytes); the cache is empty each time. The
peak is the kernel's figure for the whole run, start-up and calibration included.

    python benchmarks/memory.py
    python benchmarks/memory.py --sizes 2000 20000 --precision int8
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from arguments import Parser, positive
from generated import write_images
from measure import Run, heading, offshelf, run

PASSED_ON = ("backbone", "layer", "pooling", "weights", "precision")


def measure(count: int, options: list[str]) -> tuple[Run, float]:
    """Extract the features of *count* images with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder, "images"), count)
        new = ["--cache-dir", f"{folder}/cache", "--out", f"{folder}/features.parquet"]
        done = run(offshelf("extract", f"{folder}/images", *options, *new, "--json", "--quiet"))
    document = json.loads(done.output)
    if document["computed"] != count:
        raise SystemExit(f"{count} images were written but {document['computed']} computed")
    return done, document["images_per_second"]


def main() -> None:
    """Print peak memory for each size and its ratio to the first."""
    parser = Parser(__doc__)
    parser.add_argument(
        "--sizes", type=positive, nargs="+", default=[2_000, 20_000, 50_000], help=" "
    )
    parser.add_argument("--backbone", default="efficientnet_lite0", help=" ")
    for name in PASSED_ON[1:]:
        parser.add_argument(f"--{name}", help=" ")
    asked = parser.parse_args()
    chosen = {name: getattr(asked, name) for name in PASSED_ON}
    options = [text for name, value in chosen.items() if value for text in (f"--{name}", value)]
    print(heading("Peak memory against the number of images"))
    print("| images | peak MiB | ratio to the first | img/s | wall s |\n|" + "---:|" * 5)
    first = 0.0
    for count in asked.sizes:
        done, rate = measure(count, options)
        first = first or done.peak
        ratio = done.peak / first
        print(f"| {count:,} | {done.peak:.0f} | {ratio:.2f} | {rate:.1f} |", end=" ")
        print(f"{done.seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
