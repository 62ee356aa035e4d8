"""How long `offshelf fit` of a whole data set and a prediction take, from cold to warm.

For every precision, each in new processes: ``fit`` with an empty cache (conversion and,
in int8, calibration included), ``fit`` again with the features removed but the compiled
network kept, ``predict`` of one image with an empty cache, and the same again. offshelf's
cache is what is cold here; the images are in the system's own file cache from the first
run on. With several repetitions the runs of the two precisions alternate.

    python benchmarks/cold_start.py --data ../shared/data/15-scene
    python benchmarks/cold_start.py --data ../shared/data/15-scene --backbone vgg16 \
        --layer pool5 --pooling flatten --precisions int8 \
        --weights ../shared/weights/vgg16_features.safetensors
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from generated import write_classes
from measure import Run, heading, offshelf, run
from tables import read_rows

STAGES = ("read", "calibrate", "start", "extract", "fit", "evaluate", "save")
PASSED_ON = ("backbone", "layer", "pooling", "weights")
GENERATED = 90
COLD, COMPILED = "fit, empty cache", "fit, compiled network kept"
FIRST, AGAIN = "predict one image, empty cache", "predict one image again"


def runs(data: Path, options: list[str], weights: list[str], folder: Path) -> dict[str, Run]:
    """Run the four commands in a new cache below *folder*."""
    model, cache = folder / "model.offshelf", folder / "cache"
    last = ["--json", "--quiet", "--cache-dir"]
    fit = offshelf("fit", data, "--out", model, *options, *last, cache)
    done = {COLD: run(fit)}
    shutil.rmtree(cache / "features")
    done[COMPILED] = run(fit)
    image = sorted(path for path, _, split in read_rows(data, 0) if split == "test")[0]
    predict = offshelf("predict", model, image, *weights, *last, folder / "other")
    return done | {FIRST: run(predict), AGAIN: run(predict)}


def row(precision: str, what: str, done: list[Run]) -> str:
    """Return a line: median wall seconds with the range, seconds by stage, memory."""
    walls = [one.seconds for one in done]
    cells = [precision, what, f"{statistics.median(walls):.2f}"]
    cells.append(f"{min(walls):.2f} to {max(walls):.2f}")
    documents = [json.loads(one.output) for one in done]
    if what in {COLD, COMPILED}:
        stages = (statistics.median(d["seconds"].get(s, 0.0) for d in documents) for s in STAGES)
        cells += [f"{seconds:.2f}" for seconds in stages]
        cells.append(f"{documents[-1]['accuracy']:.4f}")
    else:
        cells += [""] * (len(STAGES) + 1)
    return f"| {' | '.join(cells)} | {max(one.peak for one in done):.0f} |"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="labelled images; else made-up ones")
    parser.add_argument("--images", type=int, default=GENERATED, help="how many made-up ones")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    for name in PASSED_ON[1:]:
        parser.add_argument(f"--{name}")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--repeat", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Print one row for each precision and command."""
    asked = arguments()
    chosen = {name: getattr(asked, name) for name in PASSED_ON}
    options = [text for name, value in chosen.items() if value for text in (f"--{name}", value)]
    weights = ["--weights", asked.weights] if asked.weights else []
    done: dict[tuple[str, str], list[Run]] = {}
    with tempfile.TemporaryDirectory() as made:
        data = asked.data or Path(made, "images")
        if asked.data is None:
            write_classes(data, asked.images)
        for precision in asked.precisions * asked.repeat:
            with tempfile.TemporaryDirectory() as folder:
                found = runs(data, [*options, "--precision", precision], weights, Path(folder))
            for what, one in found.items():
                done.setdefault((precision, what), []).append(one)
    print(heading(f"From cold to warm, {asked.backbone}"))
    print(f"| precision | command | wall s | range | {' s | '.join(STAGES)} s |", end="")
    print(" accuracy | MiB |\n|---|---|" + "---:|" * (len(STAGES) + 4))
    for precision in asked.precisions:
        for what in (COLD, COMPILED, FIRST, AGAIN):
            print(row(precision, what, done[precision, what]))


if __name__ == "__main__":
    main()
