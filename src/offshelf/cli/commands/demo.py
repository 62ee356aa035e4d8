"""``offshelf demo``: the whole way on data and weights that come with the installation."""

from __future__ import annotations

import argparse

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

SUMMARY = "try the whole way on images that come with the installation"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--folder",
        default="offshelf-demo",
        metavar="DIR",
        help="the folder for its images and model (%(default)s)",
    )
    shared_options.add_seed(parser)
    shared_options.add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.demo import demo

    with console.progress(arguments.quiet) as progress:
        result = demo(
            arguments.folder, run=shared_options.run_settings(arguments), progress=progress
        )
    console.show_result(arguments.json, result)
    return 0
