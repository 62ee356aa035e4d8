"""``offshelf filters``: the filters of a network's first convolution as pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import picture_options, shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from pathlib import Path

    from offshelf.jobs.visualise.first_filters import FiltersResult
    from offshelf.progress import Progress

SUMMARY = "draw the filters of a network's first convolution"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("backbone", metavar="BACKBONE", help="a name of 'offshelf backbones'")
    shared_options.add_weights(parser)
    picture_options.add_out(parser, "BACKBONE-filters.png")
    picture_options.add_channels(parser, "64")
    picture_options.add_scale(parser)
    shared_options.add_cache(parser)
    shared_options.add_output(parser)


def perform(arguments: argparse.Namespace, progress: Progress) -> FiltersResult:
    """Do what the arguments say."""
    from offshelf.jobs.visualise.first_filters import first_filters

    picture_options.check_out(arguments)
    picture_options.look(arguments)
    return first_filters(
        shared_options.feature_settings(arguments),
        choice=picture_options.choice(arguments, 64),
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def write(arguments: argparse.Namespace, result: FiltersResult) -> list[Path]:
    """Write the picture; none where no place is named."""
    if arguments.out is None:
        return []
    return [result.write(arguments.out, picture_options.look(arguments))]


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    (written,) = write(arguments, result)
    if arguments.json:
        console.print_json(result.to_json() | {"out": str(written)})
    else:
        console.say(str(result))
        picture_options.say_written([written])
    return 0
