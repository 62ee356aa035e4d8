"""``offshelf backbones``: the catalogue, and what of it can be used here and now."""

from __future__ import annotations

import argparse

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

SUMMARY = "list the networks, and which weights are on this machine"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--available", action="store_true", help="only those whose weights are on this machine"
    )
    shared_options.add_cache(parser)
    shared_options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.catalogue import catalogue

    found = catalogue(arguments.cache_dir, available=arguments.available)
    console.show_result(arguments.json, found)
    return 0
