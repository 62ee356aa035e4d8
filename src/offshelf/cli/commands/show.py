"""``offshelf show``: the card of a model file."""

from __future__ import annotations

import argparse

from offshelf.cli.options import shared_options
from offshelf.cli.options.model_options import add_model
from offshelf.cli.terminal import console

SUMMARY = "show what a model file is, how good, what it needs and holds"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = (
        "The file is checked as it is before a prediction, and nothing in it is run. Weights are "
        "looked for on this machine only."
    )
    add_model(parser)
    shared_options.add_cache(parser)
    shared_options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.show import show

    card = show(arguments.model, cache_dir=arguments.cache_dir)
    console.show_result(arguments.json, card)
    return 0
