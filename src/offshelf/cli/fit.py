"""``offshelf fit``: train and evaluate a head, and write the model file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli import console, options

if TYPE_CHECKING:
    from offshelf.jobs.fit import FitResult

SUMMARY = "train a classifier on frozen features of your images, and measure it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=options.DATA_HELP)
    parser.add_argument(
        "-o", "--out", metavar="MODEL", help="write the model to this .offshelf file"
    )
    options.add_backbone(parser)
    parser.add_argument(
        "-l",
        "--layer",
        default="penultimate",
        metavar="NAME",
        help="see 'offshelf layers' (%(default)s)",
    )
    parser.add_argument(
        "--pooling", default="avg", metavar="NAME", help="flatten, avg, max or gem (%(default)s)"
    )
    head = parser.add_argument_group("classifier")
    head.add_argument("--head", default="svm", metavar="NAME", help="svm (%(default)s)")
    head.add_argument(
        "--C",
        dest="c",
        type=float,
        default=1.0,
        metavar="X",
        help="inverse strength of the regularisation (%(default)s)",
    )
    head.add_argument(
        "--normalisation",
        default="l2",
        metavar="NAME",
        help="of the features: l2 or none (%(default)s)",
    )
    options.add_seed(parser)
    parser.add_argument(
        "--test-size",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="share of images to test on where DATA has no split of its own (%(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=options.whole_number(0, 16),
        default=3,
        metavar="N",
        help="test images kept in the model file for its self-test; 0 keeps none (%(default)s)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when an image could not be used"
    )
    parser.add_argument(
        "--profile", action="store_true", help="say where the processor time went, by stage"
    )
    options.add_engine(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.fit import fit
    from offshelf.jobs.settings import HeadSettings

    with console.progress(arguments.quiet) as progress:
        result = fit(
            arguments.data,
            arguments.out,
            features=options.feature_settings(arguments, arguments.layer, arguments.pooling),
            head=HeadSettings(arguments.head, arguments.c, arguments.normalisation),
            run=options.run_settings(arguments),
            progress=progress,
        )
    if arguments.json:
        console.print_json(result.to_json())
    else:
        show(result)
        if arguments.profile:
            console.say(console.profile_line(result.extraction.profile))
    return 1 if arguments.strict and result.extraction.failures else 0


def show(result: FitResult) -> None:
    """Print the result for a person."""
    from offshelf.report.rows import confusion_table, per_class_table
    from offshelf.report.tables import render

    document = result.to_json()
    console.say(render(per_class_table(result.evaluation), "text"))
    confused = confusion_table(result.evaluation, limit=5)
    if confused.rows:
        console.say(render(confused, "text"))
    low, high = result.evaluation.accuracy_interval
    console.say(
        f"accuracy {result.evaluation.accuracy:.2%}  [95 % interval {low:.2%} to {high:.2%}]"
    )
    if not result.backbone.trained:
        console.say("these are figures of an UNTRAINED network (random weights)")
    console.say(f"balanced accuracy {result.evaluation.balanced_accuracy:.2%}")
    console.say(
        f"{document['backbone']} {document['layer']} ({document['pooling']}, "
        f"{document['dimension']:,} features) + {document['head']}, C={document['C']:g}; "
        f"{document['n_train']:,} train and {document['n_test']:,} test images, "
        f"{document['n_failed']:,} left out"
    )
    for line in console.failure_lines(document["failures"]):
        console.say(line)
    console.say(f"time: {console.seconds_line(result.seconds)} ({document['engine']})")
    if result.path:
        kept = len(result.model.samples)
        images = f"; it holds {kept} of your test images for its self-test" if kept else ""
        console.say(f"model: {result.path}{images}")
    else:
        console.say("no model file was asked for: --out MODEL.offshelf keeps one")
