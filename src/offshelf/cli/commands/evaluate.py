"""``offshelf evaluate``: what a model file scores on labelled images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.options.mistake_options import add_errors, check_errors, say_errors, write_errors
from offshelf.cli.options.model_options import add_model, add_model_weights
from offshelf.cli.options.picture_options import check_picture, say_written
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from pathlib import Path

    from offshelf.jobs.evaluate import EvaluateResult
    from offshelf.progress import Progress

SUMMARY = "measure a model file on labelled images"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", help=shared_options.DATA_HELP)
    parser.add_argument(
        "--split",
        default="test",
        metavar="NAME",
        help="test, train or all (%(default)s); of data without a split of its own, test takes the "
        "images that the model was not trained on",
    )
    shared_options.add_classes(parser)
    parser.add_argument(
        "--reliability",
        metavar="FILE",
        help="write a reliability diagram, .png or .svg: whether nine of ten labels are right "
        "where the probability is 90 %%",
    )
    add_model_weights(parser)
    add_errors(parser)
    shared_options.add_strict(parser)
    shared_options.add_running(parser, precision=False)


def perform(arguments: argparse.Namespace, progress: Progress) -> EvaluateResult:
    """Do what the arguments say."""
    from offshelf.jobs.evaluate import evaluate_model

    if arguments.reliability is not None:
        check_picture(arguments.reliability)
    check_errors(arguments)
    return evaluate_model(
        arguments.model,
        arguments.data,
        split=arguments.split,
        weights=arguments.weights,
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def write(arguments: argparse.Namespace, result: EvaluateResult) -> None:
    """Write the diagram, the list and the page of wrong images that the arguments ask for."""
    _diagram(arguments, result)
    write_errors(result, arguments)


def _diagram(arguments: argparse.Namespace, result: EvaluateResult) -> list[Path]:
    from offshelf.jobs.evaluate import write_reliability

    wanted = arguments.reliability
    return [] if wanted is None else [write_reliability(result, wanted)]


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    written = _diagram(arguments, result)
    if arguments.json:
        console.print_json({**result.to_json(), "picture": str(written[0]) if written else None})
    else:
        console.say(str(result))
        say_written(written)
    say_errors(write_errors(result, arguments), arguments.json)
    return 1 if arguments.strict and result.failures else 0
