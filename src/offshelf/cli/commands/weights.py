"""``offshelf weights``: list, add and fetch weights files."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

SUMMARY = "list, add or fetch weights files"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", help="the weights files on this machine")
    add = actions.add_parser("add", help="copy a weights file into offshelf's folder")
    add.add_argument("file", metavar="FILE", help="a safetensors or torch file")
    add.add_argument(
        "-b", "--backbone", required=True, metavar="NAME", help="whose weights it holds"
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


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    actions = {"list": _list, "add": _add, "fetch": _fetch}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from offshelf.jobs.catalogue.listing import backbone_rows
    from offshelf.report.tables.result_rows import Column, Table
    from offshelf.report.tables.table_formats import render

    rows = [row for row in backbone_rows(arguments.cache_dir) if row.available]
    if arguments.json:
        console.print_json({"weights": [dataclasses.asdict(row) for row in rows]})
        return 0
    columns = (Column("backbone"), Column("weights"), Column("size", "bytes"), Column("file"))
    cells = tuple((row.name, row.weights, row.bytes, row.path) for row in rows)
    console.say(render(Table("Weights on this machine", columns, cells), "text"))
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from offshelf.backbones.catalogue.names import get_spec
    from offshelf.backbones.weights_file.locate import add

    if arguments.unverified:
        _check_fit(arguments.file, arguments.backbone)
    file = add(
        arguments.file,
        get_spec(arguments.backbone),
        cache_dir=arguments.cache_dir,
        unverified=arguments.unverified,
    )
    return _show(arguments, file)


def _check_fit(file: str, backbone: str) -> None:
    """Refuse a file of another network now, not when it is first used."""
    from offshelf.backbones.backbone import open_backbone
    from offshelf.backbones.construct.architectures import load_module

    path = Path(file).expanduser()
    if path.is_file():
        # As a whole path it cannot be taken for the name of known weights.
        opened = open_backbone(backbone, weights=str(path.absolute()), download=False)
        opened.deepest()
        load_module(opened.spec, opened.file)


def _fetch(arguments: argparse.Namespace) -> int:
    from offshelf.backbones.catalogue.names import get_spec
    from offshelf.backbones.weights_file.locate import locate

    with console.progress(arguments.quiet) as progress:
        file = locate(
            get_spec(arguments.backbone), cache_dir=arguments.cache_dir, progress=progress
        )
    return _show(arguments, file)


def _show(arguments: argparse.Namespace, file: Any) -> int:
    document = {
        "backbone": arguments.backbone,
        "weights": file.spec.tag,
        "sha256": file.sha256,
        "path": str(file.path),
        "origin": file.origin,
        "covers": list(file.spec.covers),
    }
    if arguments.json:
        console.print_json(document)
        return 0
    part = f" ({' and '.join(file.spec.covers)} only)" if file.spec.covers else ""
    console.say(f"{arguments.backbone}: {file.spec.tag}{part}, sha256 {file.sha256}")
    console.say(f"{file.origin}: {file.path}")
    return 0
