"""``offshelf evaluate``: what a model file scores on labelled images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from offshelf.cli.options import shared_options
from offshelf.cli.options.mistake_options import (
    add_errors,
    check_errors,
    refuse_errors,
    say_errors,
    write_errors,
)
from offshelf.cli.options.model_options import add_model, add_model_weights
from offshelf.cli.options.picture_options import check_picture, say_written
from offshelf.cli.terminal import console
from offshelf.errors import OffshelfError

if TYPE_CHECKING:
    from pathlib import Path

    from offshelf.jobs.evaluate import EvaluateResult
    from offshelf.jobs.multilabel.label_evaluation import LabelEvaluateResult
    from offshelf.progress import Progress

SUMMARY = "measure a model file on labelled images"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model(parser)
    shared_options.add_data(parser, shared_options.DATA_HELP)
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


def perform(
    arguments: argparse.Namespace, progress: Progress
) -> EvaluateResult | LabelEvaluateResult:
    """Do what the arguments say."""
    from offshelf.jobs.multilabel.by_labels import evaluate

    if arguments.reliability is not None:
        check_picture(arguments.reliability)
    check_errors(arguments)
    _check_several(arguments)
    return evaluate(
        arguments.model,
        arguments.data,
        split=arguments.split,
        weights=arguments.weights,
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def _check_several(arguments: argparse.Namespace) -> None:
    """Refuse what a model of several labels has not, before it is run."""
    from offshelf.jobs.multilabel.by_labels import gives_several

    asked = (arguments.errors, arguments.errors_page, arguments.reliability)
    if all(one is None for one in asked) or not gives_several(arguments.model):
        return
    refuse_errors(arguments)
    raise OffshelfError(
        "--reliability draws the probabilities of one label of each image, and the model gives "
        "several"
    )


def write(arguments: argparse.Namespace, result: EvaluateResult | LabelEvaluateResult) -> None:
    """Write the diagram, the list and the page of wrong images that the arguments ask for."""
    _diagram(arguments, result)
    write_errors(result, arguments)


def _diagram(
    arguments: argparse.Namespace, result: EvaluateResult | LabelEvaluateResult
) -> list[Path]:
    from offshelf.jobs.evaluate import write_reliability

    wanted = arguments.reliability
    return [] if wanted is None else [write_reliability(cast("EvaluateResult", result), wanted)]


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
