"""``offshelf filters``: the filters of a network's first convolution as pictures."""

from __future__ import annotations

import argparse

from offshelf.cli.options import picture_options, shared_options
from offshelf.cli.terminal import console

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


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.visualise.first_filters import first_filters

    picture_options.check_out(arguments)
    look = picture_options.look(arguments)
    with console.progress(arguments.quiet) as progress:
        result = first_filters(
            shared_options.feature_settings(arguments),
            choice=picture_options.choice(arguments, 64),
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    written = result.write(arguments.out, look)
    if arguments.json:
        console.print_json(result.to_json() | {"out": str(written)})
    else:
        console.say(str(result))
        picture_options.say_written([written])
    return 0
