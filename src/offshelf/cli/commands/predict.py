"""``offshelf predict``: labels for images, with probability and score of every class."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.options.model_options import add_model, add_model_weights
from offshelf.cli.terminal import console
from offshelf.errors import OffshelfError

if TYPE_CHECKING:
    from offshelf.jobs.predict import PredictFiles
    from offshelf.jobs.predict_result import PredictResult
    from offshelf.progress import Progress

SUMMARY = "label images with a model file"
# More rows than these leave the screen before anybody can read them.
MOST_ON_A_TERMINAL = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model(parser)
    parser.add_argument("paths", nargs="+", metavar="PATH", help=shared_options.IMAGES_HELP)
    add_model_weights(parser)
    text = "classes to show for an image"
    shared_options.add_count(parser, "--top", bounds=(1, 1000), text=text, default=3, metavar="K")
    _add_files(parser)
    shared_options.add_strict(parser)
    shared_options.add_running(parser, precision=False)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--csv",
        action="store_true",
        help="print CSV: path, status, reason, label, its probability, the runner-up with its own, "
        "the score of every class and, of a calibrated model, its probability; four digits",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="write all predictions to this file: .csv, .parquet or .json (the last two with all "
        "digits)",
    )
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="the columns of CSV and Parquet, with commas between: path, status, reason, label, "
        "most_probable (of models with costs or thresholds), probability, runner_up, "
        "runner_up_probability, unknown, unlike, scores, probabilities (of all "
        "classes), score:CLASS, probability:CLASS (default: all); of a model of several labels "
        "path, status, reason, labels, none (yes or no), probabilities, scores",
    )
    parser.add_argument(
        "--sort-into",
        metavar="DIR",
        help="copy each image into a folder of its label in this folder, those that the model "
        "rejects into 'unknown', and others unlike the training images into 'unlike'; no file is "
        "replaced or changed",
    )
    parser.add_argument(
        "--link", action="store_true", help="--sort-into makes links to the images, not copies"
    )


def perform(arguments: argparse.Namespace, progress: Progress) -> PredictResult:
    """Do what the arguments say."""
    from offshelf.jobs.predict import predict

    return predict(
        arguments.model,
        arguments.paths,
        weights=arguments.weights,
        written=_files(arguments),
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.report.result import blocks_text
    from offshelf.report.tables.prediction_table import csv_text

    written = _files(arguments)
    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    if arguments.json:
        console.print_json(result.to_json())
    elif arguments.csv:
        sys.stdout.write(csv_text(result.table(written.columns)) + "\n")
    else:
        most = MOST_ON_A_TERMINAL if sys.stdout.isatty() else None
        console.say(blocks_text(result.blocks(arguments.top, most)))
    failed = len(result.sorted.failures) if result.sorted else 0
    return console.exit_code(result.n_ok - failed, result.n_failed + failed, arguments.strict)


def _files(arguments: argparse.Namespace) -> PredictFiles:
    """Return what is to be written.

    Raises:
        OffshelfError: options that contradict one another.
    """
    from offshelf.jobs.predict import PredictFiles
    from offshelf.report.tables.prediction_table import column_names

    if arguments.csv and arguments.json:
        raise OffshelfError("--csv and --json: choose one")
    if arguments.columns is not None and not (arguments.csv or arguments.out):
        raise OffshelfError("--columns: chooses those of --csv and of --out FILE; give one of them")
    if arguments.link and arguments.sort_into is None:
        raise OffshelfError("--link: makes the links of --sort-into DIR; give that, too")
    columns = column_names(arguments.columns) if arguments.columns is not None else ()
    return PredictFiles(
        out=arguments.out,
        columns=columns,
        sort_into=arguments.sort_into,
        link=arguments.link,
    )
