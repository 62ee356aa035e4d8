"""``offshelf doctor``: versions, engines, devices, caches, weights, and what is wrong."""

from __future__ import annotations

import argparse

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console
from offshelf.errors import OffshelfError

SUMMARY = "check the installation, and say what is wrong with it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared_options.add_cache(parser)
    group = parser.add_argument_group("cleaning")
    group.add_argument(
        "--clean",
        action="store_true",
        help="instead remove leftovers: what killed processes left, damaged files, stores "
        "and networks of other versions, doubled rows, and what is over --cache-size; what a "
        "running process uses stays",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="with --clean: only say what would be removed"
    )
    shared_options.add_cache_size(group)
    shared_options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.clean:
        return _clean(arguments)
    for name, given in (("--dry-run", arguments.dry_run), ("--cache-size", arguments.cache_size)):
        if given:
            raise OffshelfError(f"{name} belongs to --clean")
    from offshelf.jobs.doctor import diagnose

    diagnosis = diagnose(arguments.cache_dir)
    console.show_result(arguments.json, diagnosis)
    return 0 if diagnosis.ok else 1


def _clean(arguments: argparse.Namespace) -> int:
    from offshelf.jobs.cleaning import clean

    done = clean(arguments.cache_dir, cache_size=arguments.cache_size, dry=arguments.dry_run)
    console.show_result(arguments.json, done)
    return 0
