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
    from offshelf.backbones.catalogue.names import get_spec
    from offshelf.jobs.catalogue import layer_rows, layer_table, pooled_dimension
    from offshelf.report.tables.table_formats import render

    spec = get_spec(arguments.backbone)
    rows = layer_rows(spec, spec.weights[0].input.size, arguments.all)
    if arguments.json:
        layers = [
            {
                "name": row.name,
                "path": row.path,
                "kind": row.kind,
                "shape": list(row.shape),
                "calls": row.calls,
                "pooled_dimension": pooled_dimension(row.shape, spec.channels_last),
            }
            for row in rows
        ]
        console.print_json({"backbone": spec.name, "layers": layers})
        return 0
    console.say(render(layer_table(spec, rows), "text"))
    console.say()
    console.say("A module path works as a name, too; PATH:in is what that module is given.")
    return 0
