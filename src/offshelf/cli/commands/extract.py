"""``offshelf extract``: features of images as a Parquet table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console
from offshelf.cli.terminal.parser import Parser

if TYPE_CHECKING:
    from offshelf.jobs.extract.extract_result import ExtractResult
    from offshelf.progress import Progress

NO_FLIPS = "rows are of images as they are; fit, curve, audit and compare use mirror images"
SUMMARY = "write features of images to a Parquet file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data", metavar="DATA", help=f"{shared_options.DATA_HELP}; or {shared_options.IMAGES_HELP}"
    )
    shared_options.add_classes(parser)
    parser.add_argument(
        "-o",
        "--out",
        default="features.parquet",
        metavar="FILE",
        help="the Parquet file: a row per image, a column per layer and pooling, or the one column "
        "'features' of --features (%(default)s)",
    )
    shared_options.add_backbone(parser)
    shared_options.add_layers(parser, "several in one pass (penultimate)")
    shared_options.add_poolings(parser)
    shared_options.add_features(parser)
    if isinstance(parser, Parser):
        parser.decided = {"--flips": NO_FLIPS}
    shared_options.add_seed(parser)
    shared_options.add_profile(parser)
    shared_options.add_strict(parser)
    shared_options.add_running(parser)


def perform(arguments: argparse.Namespace, progress: Progress) -> ExtractResult:
    """Do what the arguments say."""
    from offshelf.jobs.extract.job import extract_features

    return extract_features(
        arguments.data,
        arguments.out,
        features=shared_options.feature_settings(arguments),
        layers=arguments.layer,
        poolings=arguments.pooling,
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.report.summary import profile_line

    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    console.show_result(arguments.json, result)
    if arguments.profile and not arguments.json:
        console.say(profile_line(result.extraction))
    ok, failed = len(result.extraction.ok), len(result.extraction.failures)
    return console.exit_code(ok, failed, arguments.strict)
