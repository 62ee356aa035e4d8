"""A warm `offshelf fit` and `predict` as whole processes, by two versions, pair by pair.

Features are in the store from a first run of each version, which does not count. The version of
before is any interpreter that has it installed.

    python benchmarks/warm_fit.py --data ../shared/data/15-scene --before ../before/.venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from arguments import Parser, existing, positive
from measure import Run, heading, offshelf, run

STAGES = ("read", "extract", "fit", "probabilities", "evaluate", "save")


def commands(python: str, asked: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Return what one version does, in a cache of its own in *folder*."""
    last = ["--json", "--quiet", "--cache-dir", folder / "cache"]
    model, test = folder / "model.offshelf", asked.data / "test"
    fit = offshelf("fit", asked.data, "--out", model, "--head", asked.head, *last)
    predict = offshelf("predict", model, test if test.is_dir() else asked.data, *last)
    return {"fit": [python, *fit[1:]], "predict": [python, *predict[1:]]}


def show(what: str, pairs: list[tuple[Run, Run]]) -> None:
    """Print a line: medians of both versions, ratios of wall and processor time with ranges."""
    cells = [what]
    for name in ("seconds", "processor"):
        before, after = ([getattr(one, name) for one in side] for side in zip(*pairs, strict=True))
        ratios = [old / new for old, new in zip(before, after, strict=True)]
        cells += [f"{statistics.median(each):.2f}" for each in (before, after)]
        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"| {' | '.join(cells)} |", flush=True)


def show_stages(pairs: list[tuple[Run, Run]]) -> None:
    """Print the stages of fit, medians of both versions."""
    print(f"\n| seconds | {' | '.join(STAGES)} |\n|---|{'---:|' * len(STAGES)}")
    for name, side in zip(("before", "after"), zip(*pairs, strict=True), strict=True):
        seconds = [json.loads(one.output)["seconds"] for one in side]
        cells = [f"{statistics.median(one.get(s, 0.0) for one in seconds):.2f}" for s in STAGES]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Print a line for each command, then the stages of fit."""
    parser = Parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help=" ")
    parser.add_argument("--before", default=sys.executable, help="an interpreter")
    parser.add_argument("--head", default="svm", help=" ")
    parser.add_argument("--pairs", type=positive, default=5, help=" ")
    parser.add_argument("--kept", type=Path, help="a folder for the caches of both, to go on with")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        sides = []
        for name, python in (("before", asked.before), ("after", sys.executable)):
            folder = (asked.kept or Path(made)) / name
            folder.mkdir(parents=True, exist_ok=True)
            sides.append(commands(python, asked, folder))
        for command in (command for side in sides for command in side.values()):
            _again(command)
        columns = "| command | before s | after s | ratio | before CPU s | after CPU s | ratio |"
        print(f"{heading(f'Warm fit, {asked.head}')}\n{columns}\n|---|{'---:|' * 6}")
        done = {what: pairs(sides, what, asked.pairs) for what in ("fit", "predict")}
    show_stages(done["fit"])


def pairs(sides: list[dict[str, list[str]]], what: str, count: int) -> list[tuple[Run, Run]]:
    """Run both sides in turn, each first in every other pair; show and return the pairs."""
    done = []
    for number in range(count):
        turn = 1 if number % 2 == 0 else -1
        first, second = [_again(side[what]) for side in sides[::turn]][::turn]
        done.append((first, second))
    show(what, done)
    return done


def _again(command: list[str]) -> Run:
    """Run *command*; a model file that is there is in nobody's way."""
    if "--out" in command:
        Path(command[command.index("--out") + 1]).unlink(missing_ok=True)
    return run(command)


if __name__ == "__main__":
    main()
