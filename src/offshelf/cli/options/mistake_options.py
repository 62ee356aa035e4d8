"""Options that list the images a model got wrong."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offshelf.report.mistakes import Mistake


def add_errors(parser: argparse.ArgumentParser) -> None:
    """Add where the images with a wrong label are listed."""
    parser.add_argument(
        "--errors",
        metavar="FILE",
        help="list all wrongly labelled images in this .csv file, with both labels and their "
        "probabilities, the surest first",
    )


def check_errors(arguments: argparse.Namespace) -> None:
    """Refuse a list that cannot be written, before any work is done for it."""
    from offshelf.report.mistakes import check_mistakes_file

    if arguments.errors is not None:
        check_mistakes_file(arguments.errors)


def write_errors(mistakes: Sequence[Mistake], arguments: argparse.Namespace) -> None:
    """Write the list that was asked for, and say where it is."""
    from offshelf.report.mistakes import write_mistakes, written_line

    if arguments.errors is not None:
        path = write_mistakes(mistakes, arguments.errors)
        if not arguments.json:
            console.say(written_line(mistakes, path))
