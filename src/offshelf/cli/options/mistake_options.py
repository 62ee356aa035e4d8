"""Options that list and show the images a model got wrong."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from offshelf.cli.options.shared_options import run_settings
from offshelf.cli.terminal import console
from offshelf.errors import OffshelfError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offshelf.jobs.setup.mistakes_file import Measured


def add_errors(parser: argparse.ArgumentParser) -> None:
    """Add where the images with a wrong label are listed and shown."""
    parser.add_argument(
        "--errors",
        metavar="FILE",
        help="list all wrongly labelled images in this .csv file, with both labels and their "
        "probabilities, the surest first",
    )
    parser.add_argument(
        "--errors-page",
        metavar="FILE",
        help="show the wrongly labelled images, class by class, on this .html page",
    )


def check_errors(arguments: argparse.Namespace) -> None:
    """Refuse a list or page that cannot be written, before any work is done for it."""
    from offshelf.jobs.setup.page_files import check_apart, check_page
    from offshelf.report.mistakes import check_mistakes_file

    if arguments.errors is not None:
        check_mistakes_file(arguments.errors)
    if arguments.errors_page is not None:
        check_page(arguments.errors_page)
    check_apart(getattr(arguments, "out", None), arguments.errors, arguments.errors_page)


def refuse_errors(arguments: argparse.Namespace) -> None:
    """Refuse the list and the page where images have several labels.

    Raises:
        OffshelfError: one of them was asked for.
    """
    asked = {"--errors": arguments.errors, "--errors-page": arguments.errors_page}
    for option, wanted in asked.items():
        if wanted is not None:
            raise OffshelfError(
                f"{option} lists images with another label than their own; of several labels, "
                "'offshelf evaluate MODEL DATA --json' has those of each image"
            )


def write_errors(result: object, arguments: argparse.Namespace) -> list[str]:
    """Write the list and the page that were asked for; return a line about each."""
    if arguments.errors is None and arguments.errors_page is None:
        return []
    return _written(cast("Measured", result), arguments)


def _written(result: Measured, arguments: argparse.Namespace) -> list[str]:
    from offshelf.jobs.setup.mistakes_file import write_mistakes_page
    from offshelf.report.mistakes import write_mistakes, written_line

    lines, mistakes = [], result.mistakes
    if arguments.errors is not None:
        lines.append(written_line(mistakes, write_mistakes(mistakes, arguments.errors)))
    if arguments.errors_page is not None:
        with console.progress(arguments.quiet) as progress:
            page = write_mistakes_page(
                result,
                arguments.errors_page,
                data=arguments.data,
                reading=run_settings(arguments).reading,
                progress=progress,
            )
        lines.append(f"page written to {page}")
    return lines


def say_errors(lines: Iterable[str], as_json: bool) -> None:
    """Say what was written, unless a JSON document is printed."""
    for line in () if as_json else lines:
        console.say(line)
