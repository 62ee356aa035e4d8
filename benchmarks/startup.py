"""How long one waits: import, help, and one prediction from a saved model, in new processes.

python benchmarks/startup.py --repeat 5
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from arguments import Parser, existing, positive
from generated import PICTURES, pictures
from measure import heading, offshelf, run

CLASSES = ("one", "other")


def make_model(folder: Path) -> tuple[Path, Path]:
    """Train a small model on made-up pictures; return it and one picture."""
    for name, seed in zip(CLASSES, (0, 1), strict=True):
        inner = folder / "images" / name
        inner.mkdir(parents=True)
        for number, content in enumerate(pictures(seed)):
            (inner / f"{number}.jpg").write_bytes(content)
    model = folder / "model.offshelf"
    run(offshelf("fit", folder / "images", "--out", model, "--json", "--quiet"))
    return model, folder / "images" / CLASSES[0] / f"{PICTURES - 1}.jpg"


def show(what: str, command: list[str], repeat: int) -> None:
    """Print the median and the range of *repeat* runs, after one that is not counted."""
    run(command)
    seconds = [run(command).seconds for _ in range(repeat)]
    low, high = min(seconds), max(seconds)
    print(f"| {what} | {statistics.median(seconds):.3f} | {low:.3f} to {high:.3f} |", flush=True)


def main() -> None:
    """Print one row for each way to start."""
    parser = Parser(__doc__)
    parser.add_argument("--repeat", type=positive, default=5, help=" ")
    parser.add_argument("--model", type=existing, help="a saved model; else a small one is trained")
    parser.add_argument("--image", type=existing, help="the image to predict, with --model")
    asked = parser.parse_args()
    if (asked.model is None) != (asked.image is None):
        parser.error("--model and --image go together")
    print(f"{heading('Start-up')}\n| start | median s | range s |\n|---|---:|---:|")
    show("python alone", [sys.executable, "-c", ""], asked.repeat)
    show("import offshelf", [sys.executable, "-c", "import offshelf"], asked.repeat)
    show("offshelf --help", offshelf("--help"), asked.repeat)
    with tempfile.TemporaryDirectory() as folder:
        model, image = (asked.model, asked.image) if asked.model else make_model(Path(folder))
        command = offshelf("predict", model, image, "--json", "--quiet")
        show("predict one image, warm caches", command, asked.repeat)


if __name__ == "__main__":
    main()
