"""``offshelf predict``: labels for images, with the score of every class."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import TYPE_CHECKING

from offshelf.cli import console, options

if TYPE_CHECKING:
    from offshelf.jobs.predict import PredictResult

SUMMARY = "label images with a model file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="a .offshelf file")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="image files and folders of images"
    )
    options.add_weights(parser)
    parser.add_argument(
        "--top",
        type=options.whole_number(1, 1000),
        default=3,
        metavar="K",
        help="classes to show for an image (%(default)s)",
    )
    parser.add_argument("--csv", action="store_true", help="print CSV: path, status, label, scores")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when an image could not be used"
    )
    options.add_engine(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.predict import predict

    with console.progress(arguments.quiet) as progress:
        result = predict(
            arguments.model,
            arguments.paths,
            weights=arguments.weights,
            run=options.run_settings(arguments),
            progress=progress,
        )
    if arguments.json:
        console.print_json(result.to_json())
    elif arguments.csv:
        write_csv(result)
    else:
        show(result, arguments.top)
    return 1 if arguments.strict and result.n_failed else 0


def write_csv(result: PredictResult) -> None:
    """Print one CSV row per image, a column for each class's score."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    classes = result.model.classes
    writer.writerow(["path", "status", "reason", "label", *(f"score:{name}" for name in classes)])
    for row in result.predictions:
        scores = [row.scores.get(name, "") for name in classes]
        writer.writerow([row.path, row.status, row.reason, row.label or "", *scores])


def show(result: PredictResult, top: int) -> None:
    """Print the labels for a person."""
    for row in result.predictions:
        if row.label is None:
            console.say(f"{row.path}: {row.status}, {row.reason}")
            continue
        best = ", ".join(f"{name} {score:+.3f}" for name, score in list(row.scores.items())[:top])
        none = "  (no class claims it)" if row.scores[row.label] < 0 else ""
        console.say(f"{row.path}: {row.label}  [{best}]{none}")
    console.say(
        "scores are the SVM's decision values, not probabilities: "
        "above zero a class claims the image, below zero it does not"
    )
