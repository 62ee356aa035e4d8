"""``offshelf backbones``: the catalogue, and what of it can be used here and now."""

from __future__ import annotations

import argparse
import dataclasses

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
    from offshelf.jobs.catalogue import backbone_rows, backbone_table
    from offshelf.report.tables.table_formats import render

    rows = backbone_rows(arguments.cache_dir)
    if arguments.available:
        rows = tuple(row for row in rows if row.available)
    if arguments.json:
        console.print_json({"backbones": [dataclasses.asdict(row) for row in rows]})
        return 0
    console.say(render(backbone_table(rows), "text"))
    console.say()
    console.say("Any timm/NAME and torchvision/NAME works too.")
    console.say(
        "Without a network: 'offshelf weights add FILE --backbone NAME' brings weights here."
    )
    return 0
