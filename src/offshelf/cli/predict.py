"""``offshelf predict``: labels for images, with the score of every class."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import TYPE_CHECKING

from offshelf.cli import console, figures, options
from offshelf.errors import OffshelfError

if TYPE_CHECKING:
    from offshelf.jobs.predict import PredictResult
    from offshelf.predict import Prediction

# Heads that ask of each class alone whether an image is of it: below zero means no.
ONE_AGAINST_REST = ("svm", "ridge")
SUMMARY = "label images with a model file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="a .offshelf file")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="image files and folders of images"
    )
    options.add_model_weights(parser)
    parser.add_argument(
        "--top",
        type=options.whole_number(1, 1000),
        default=3,
        metavar="K",
        help="classes to show for an image (%(default)s)",
    )
    parser.add_argument(
        "--csv",
        action="store_true",
        help="print CSV: path, status, reason, label and the score of every class",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when an image could not be used"
    )
    options.add_engine(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.predict import predict

    if arguments.csv and arguments.json:
        raise OffshelfError("--csv and --json: choose one")
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
    from offshelf.report.rows import Column, Table
    from offshelf.report.tables import render

    claiming = result.model.head.kind in ONE_AGAINST_REST
    labelled = [row for row in result.predictions if row.label is not None]
    if labelled:
        columns = (Column("image"), Column("label"), Column("score"), Column("then"))
        cells = tuple(_cells(row, top, claiming) for row in labelled)
        console.say(render(Table("", columns, cells)))
        console.say()
    failures = [row.to_json() for row in result.predictions if row.label is None]
    for line in console.failure_lines(failures):
        console.say(line)
    console.say(f"score: decision value of the {result.model.head.kind}, no probability")
    if claiming and any(max(row.scores.values()) < 0 for row in labelled):
        console.say("(label): no class claims the image, all scores are below zero")
    if not result.backbone.trained:
        console.say(figures.UNTRAINED)


def _cells(row: Prediction, top: int, claiming: bool) -> tuple[str, ...]:
    (label, score), *others = list(row.scores.items())[:top]
    then = ", ".join(f"{name} {value:+.3f}" for name, value in others)
    return row.path, f"({label})" if claiming and score < 0 else label, f"{score:+.3f}", then
