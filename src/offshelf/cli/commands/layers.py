"""``offshelf layers``: the layers of a network, with shapes and feature dimensions."""

from __future__ import annotations

import argparse

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

SUMMARY = "list the layers that features can be taken from"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("backbone", metavar="BACKBONE", help="a name of 'offshelf backbones'")
    parser.add_argument("--all", action="store_true", help="every module, not only named layers")
    shared_options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.catalogue import list_layers

    found = list_layers(arguments.backbone, every=arguments.all)
    console.show_result(arguments.json, found)
    return 0
