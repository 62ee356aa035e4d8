"""``offshelf weights``: list, add and fetch weights files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console
from offshelf.cli.terminal.parser import Parser

if TYPE_CHECKING:
    from offshelf.backbones.weights_file.locate import WeightsFile

SUMMARY = "list, add or fetch weights files"


def configure(parser: Parser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", help="the weights files on this machine")
    add = actions.add_parser("add", help="copy a weights file into offshelf's folder")
    add.add_argument("file", metavar="FILE", help="a safetensors or torch file")
    add.add_argument(
        "-b",
        "--backbone",
        required=True,
        metavar="NAME",
        help="the network that the weights belong to",
    )
    add.add_argument(
        "--unverified", action="store_true", help="accept a file whose hash is not in the catalogue"
    )
    fetch = actions.add_parser("fetch", help="download the weights of a backbone")
    fetch.add_argument("backbone", metavar="NAME", help="a name of 'offshelf backbones'")
    for action in (listing, add, fetch):
        shared_options.add_cache(action)
        shared_options.add_output(action)
        action.set_defaults(parser=action)
        action.short_usage()


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    actions = {"list": _list, "add": _add, "fetch": _fetch}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from offshelf.jobs.catalogue import list_weights

    console.show_result(arguments.json, list_weights(arguments.cache_dir))
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from offshelf.jobs.catalogue import add_weights

    file = add_weights(
        arguments.file,
        arguments.backbone,
        cache_dir=arguments.cache_dir,
        unverified=arguments.unverified,
    )
    return _show(arguments, file)


def _fetch(arguments: argparse.Namespace) -> int:
    from offshelf.jobs.catalogue import fetch_weights

    with console.progress(arguments.quiet) as progress:
        file = fetch_weights(arguments.backbone, cache_dir=arguments.cache_dir, progress=progress)
    return _show(arguments, file)


def _show(arguments: argparse.Namespace, file: WeightsFile) -> int:
    from offshelf.jobs.catalogue import weights_json

    if arguments.json:
        console.print_json(weights_json(arguments.backbone, file))
        return 0
    part = f" ({' and '.join(file.spec.covers)} only)" if file.spec.covers else ""
    console.say(f"{arguments.backbone}: {file.spec.tag}{part}, sha256 {file.sha256}")
    console.say(f"{file.origin}: {file.path}")
    return 0
