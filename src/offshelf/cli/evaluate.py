"""``offshelf evaluate``: what a model file scores on labelled images."""

from __future__ import annotations

import argparse

from offshelf.cli import console, options

SUMMARY = "measure a model file on labelled images"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="a .offshelf file")
    parser.add_argument("data", metavar="DATA", help=options.DATA_HELP)
    parser.add_argument(
        "--split",
        default="test",
        metavar="NAME",
        help="test, train or all (%(default)s); of data without a split of its own, test takes the "
        "images that the model was not trained on",
    )
    options.add_weights(parser)
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when an image could not be used"
    )
    options.add_engine(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.evaluate import evaluate_model
    from offshelf.report.rows import confusion_table, per_class_table
    from offshelf.report.tables import render

    with console.progress(arguments.quiet) as progress:
        result = evaluate_model(
            arguments.model,
            arguments.data,
            split=arguments.split,
            weights=arguments.weights,
            run=options.run_settings(arguments),
            progress=progress,
        )
    document = result.to_json()
    if arguments.json:
        console.print_json(document)
    else:
        evaluation = result.evaluation
        console.say(render(per_class_table(evaluation), "text"))
        confused = confusion_table(evaluation, limit=5)
        if confused.rows:
            console.say(render(confused, "text"))
        low, high = evaluation.accuracy_interval
        console.say(
            f"accuracy {evaluation.accuracy:.2%}  [95 % interval {low:.2%} to {high:.2%}] "
            f"on {evaluation.n:,} images ({result.split})"
        )
        console.say(f"balanced accuracy {evaluation.balanced_accuracy:.2%}")
        for line in console.failure_lines(document["failures"]):
            console.say(line)
    return 1 if arguments.strict and result.failures else 0
