"""``offshelf extract``: features of images as a Parquet table."""

from __future__ import annotations

import argparse

from offshelf.cli import console, options

SUMMARY = "write features of images to a Parquet file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data", metavar="DATA", help=f"{options.DATA_HELP}; or an image, or any folder of images"
    )
    parser.add_argument(
        "-o",
        "--out",
        default="features.parquet",
        metavar="FILE",
        help="the Parquet file: a row per image, a column per layer and pooling (%(default)s)",
    )
    options.add_backbone(parser)
    parser.add_argument(
        "-l",
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="see 'offshelf layers'; repeat for several in one pass (penultimate)",
    )
    parser.add_argument(
        "--pooling",
        action="append",
        default=[],
        metavar="NAME",
        help="flatten, avg, max or gem; repeat for several (avg)",
    )
    options.add_seed(parser)
    parser.add_argument(
        "--profile", action="store_true", help="say where the processor time went, by stage"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when an image could not be used"
    )
    options.add_engine(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.extract import extract_features

    with console.progress(arguments.quiet) as progress:
        result = extract_features(
            arguments.data,
            arguments.out,
            features=options.feature_settings(arguments, "penultimate", "avg"),
            layers=arguments.layer,
            poolings=arguments.pooling,
            run=options.run_settings(arguments),
            progress=progress,
        )
    document = result.to_json()
    if arguments.json:
        console.print_json(document)
    else:
        for layer in document["layers"]:
            console.say(f"{layer['column']}: {document['n_ok']:,} x {layer['dimension']:,} float32")
        for line in console.failure_lines(document["failures"]):
            console.say(line)
        console.say(
            f"{document['computed']:,} images run, {document['images_per_second']:.1f} images/s "
            f"from files to features ({document['engine']})"
        )
        if arguments.profile:
            console.say(console.profile_line(result.extraction.profile))
        console.say(f"features: {document['out']}")
    return 1 if arguments.strict and document["n_failed"] else 0
