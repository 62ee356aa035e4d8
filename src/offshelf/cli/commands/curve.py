"""``offshelf curve``: accuracy against training images, and how many more would help."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import head_options, shared_options
from offshelf.cli.options.picture_options import check_picture, say_written
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from pathlib import Path

    from offshelf.jobs.curve import CurveResult
    from offshelf.progress import Progress

SUMMARY = "measure how many more images would help, and how much"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=shared_options.SPLIT_DATA_HELP)
    parser.add_argument(
        "--sizes",
        type=_sizes,
        metavar="LIST",
        help="training images per class, for example 5,10,20,40 (default: doubling from about 5 to "
        "the smallest class)",
    )
    shared_options.add_classes(parser)
    shared_options.add_corrections(parser)
    text = "draws of training images at every size"
    shared_options.add_count(parser, "--repeats", bounds=(1, 1000), text=text, default=5)
    parser.add_argument(
        "--target",
        type=float,
        metavar="SHARE",
        help="target accuracy, for example 0.95: report how many images per class reach it "
        "(default: the next whole per cent)",
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="draw the curve, .png or .svg")
    shared_options.add_groups(parser)
    shared_options.add_backbone(parser)
    shared_options.add_layer(parser)
    shared_options.add_flips(parser)
    head_options.add_head(parser)
    shared_options.add_seed(parser)
    shared_options.add_test_size(parser)
    shared_options.add_running(parser)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 5,10,20") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{min(sizes)} images per class: one is the least")
    return sizes


def perform(arguments: argparse.Namespace, progress: Progress) -> CurveResult:
    """Do what the arguments say."""
    from offshelf.jobs.curve import CurveSettings, learning_curve

    if arguments.out is not None:
        check_picture(arguments.out)
    return learning_curve(
        arguments.data,
        settings=CurveSettings(arguments.sizes, arguments.repeats, arguments.target),
        features=shared_options.feature_settings(arguments),
        head=head_options.head_settings(arguments),
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def write(arguments: argparse.Namespace, result: CurveResult) -> list[Path]:
    """Draw the curve where the arguments ask for it."""
    return [] if arguments.out is None else [result.plot().save(arguments.out)]


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    written = write(arguments, result)
    if arguments.json:
        console.print_json(result.to_json() | {"picture": str(written[0]) if written else None})
    else:
        console.say(str(result))
        say_written(written)
    return 0
