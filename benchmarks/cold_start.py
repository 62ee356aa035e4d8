"""How long `offshelf fit` of a whole data set and a prediction take, from cold to warm.

For every precision, each in new processes: ``fit`` with an empty cache (conversion and,
in int8, calibration included), the same again, ``fit`` with the features removed but the
compiled network kept, ``predict`` of one image with an empty cache, and the same again. offshelf's
cache is what is cold here; the images are in the system's own file cache from the first
run on. With several repetitions the runs of the precisions alternate. Beside ``auto`` the last
lines say how long it took against the better of the stated precisions.

    python benchmarks/cold_start.py --data ../shared/data/15-scene
    python benchmarks/cold_start.py --data ../shared/data/15-scene --backbone vgg16 \
        --layer pool5 --pooling flatten --precisions int8 \
        --weights ../shared/weights/vgg16_features.safetensors
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/cold_start.py --data ../shared/data/15-scene \
        --size 1000 --first --precisions fp32 int8 auto
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from arguments import Parser, existing, positive
from generated import write_classes
from measure import Run, heading, offshelf, run
from tables import read_rows, subset, write_table

STAGES = ("read", "calibrate", "start", "extract", "fit", "evaluate", "save")
PASSED_ON = ("backbone", "layer", "pooling", "weights")
GENERATED = 90
COLD, SECOND = "fit, empty cache", "fit, the same again"
COMPILED = "fit, compiled network kept"
Found = dict[str, Run]
FIRST, AGAIN = "predict one image, empty cache", "predict one image again"


def runs(data: Path, options: list[str], image: str, weights: list[str], folder: Path) -> Found:
    """Run the commands in a new cache below *folder*; without an *image* two alone."""
    model, cache = folder / "model.offshelf", folder / "cache"
    last = ["--json", "--quiet", "--cache-dir"]
    fit = offshelf("fit", data, "--out", model, *options, *last, cache)
    done = {COLD: run(fit), SECOND: run(fit)}
    if not image:
        return done
    shutil.rmtree(cache / "features")
    done[COMPILED] = run(fit)
    predict = offshelf("predict", model, image, *weights, *last, folder / "other")
    return done | {FIRST: run(predict), AGAIN: run(predict)}


def row(precision: str, what: str, done: list[Run]) -> str:
    """Return a line: median wall seconds with the range, seconds by stage, memory."""
    walls = [one.seconds for one in done]
    cells = [precision, what, f"{statistics.median(walls):.2f}"]
    cells.append(f"{min(walls):.2f} to {max(walls):.2f}")
    cells.append(f"{statistics.median(one.processor for one in done):.1f}")
    documents = [json.loads(one.output) for one in done]
    if what in {COLD, SECOND, COMPILED}:
        stages = (statistics.median(d["seconds"].get(s, 0.0) for d in documents) for s in STAGES)
        cells += [f"{seconds:.2f}" for seconds in stages]
        cells.append(f"{documents[-1]['accuracy']:.4f}")
        cells.append("/".join(sorted({d["precision"].partition("-")[0] for d in documents})))
    else:
        cells += [""] * (len(STAGES) + 2)
    return f"| {' | '.join(cells)} | {max(one.peak for one in done):.0f} |"


def against_better(what: str, done: dict[tuple[str, str], list[Run]]) -> str:
    """Return the line on ``auto``: its wall and processor time against the better's, by round."""
    others = [runs for (name, command), runs in done.items() if name != "auto" and command == what]
    rounds = list(zip(done["auto", what], zip(*others, strict=True), strict=True))
    wall = [one.seconds / min(other.seconds for other in better) for one, better in rounds]
    busy = [one.processor / min(other.processor for other in better) for one, better in rounds]
    found = [f"{statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f})" for r in (wall, busy)]
    return f"{what}: auto at {found[0]} times the better, {found[1]} in processor time"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(__doc__)
    parser.add_argument("--data", type=existing, help="labelled images; else made-up ones")
    parser.add_argument("--images", type=positive, default=GENERATED, help="how many made-up ones")
    parser.add_argument("--backbone", default="efficientnet_lite0", help=" ")
    for name in PASSED_ON[1:]:
        parser.add_argument(f"--{name}", help=" ")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"], help=" ")
    parser.add_argument("--size", type=positive, help="take about so many of the images")
    parser.add_argument("--first", action="store_true", help="only a fit and the same again")
    parser.add_argument("--repeat", type=positive, default=1, help=" ")
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
        rows = read_rows(data, 0)
        image = "" if asked.first else min(path for path, _, split in rows if split == "test")
        if asked.size:
            data = Path(made, "images.csv")
            write_table(data, subset(rows, asked.size, 0))
        for precision in asked.precisions * asked.repeat:
            with tempfile.TemporaryDirectory() as folder:
                wanted = [*options, "--precision", precision]
                found = runs(data, wanted, image, weights, Path(folder))
            for what, one in found.items():
                done.setdefault((precision, what), []).append(one)
    print(heading(f"From cold to warm, {asked.backbone}"))
    print(
        f"| precision | command | wall s | range | processor s | {' s | '.join(STAGES)} s |", end=""
    )
    print(" accuracy | took | MiB |\n|---|---|" + "---:|" * (len(STAGES) + 6))
    for (precision, what), together in done.items():
        print(row(precision, what, together))
    if "auto" in asked.precisions and len(asked.precisions) > 1:
        print("\n" + "\n".join(against_better(what, done) for what in (COLD, SECOND)))


if __name__ == "__main__":
    main()
