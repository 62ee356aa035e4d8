"""Options that the commands with pictures share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from offshelf.cli.options.shared_options import add_word
from offshelf.cli.terminal import console
from offshelf.cli.terminal.parser import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offshelf.jobs.visualise.feature_maps import Choice
    from offshelf.report.pictures.activation_tiles import Look


def add_channels(parser: argparse.ArgumentParser, limit: str) -> None:
    """Add which channels are shown; *limit* says how many without a list."""
    parser.add_argument(
        "--channels",
        metavar="LIST",
        help="channels to draw, for example 0,3,10-20 (default: the first)",
    )
    text = "order of the channels: index, or strength (the strongest first)"
    add_word(parser, "--sort", default="index", metavar="ORDER", text=text)
    parser.add_argument(
        "--limit",
        type=whole_number(1, 1024),
        metavar="N",
        help=f"maximum number of channels where --channels names none ({limit})",
    )


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Add how strong and weak channels share the colours."""
    text = "channel: each on its own scale; common: one scale for all"
    add_word(parser, "--scale", default="channel", metavar="WORD", text=text)


def add_colours(parser: argparse.ArgumentParser) -> None:
    """Add the colour map."""
    text = "cividis, viridis, magma or grey; all read in black and white"
    add_word(parser, "--colours", default="cividis", text=text)


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """Add where the picture goes; *default* is said in the help."""
    parser.add_argument(
        "-o",
        "--out",
        default=".",
        metavar="FILE",
        help=f"the picture, .png or .svg, or a folder, which is made (default: {default})",
    )


def choice(arguments: argparse.Namespace, limit: int) -> Choice:
    """Return the channels that the options choose, at most *limit* unless they say more."""
    from offshelf.jobs.visualise.feature_maps import Choice, parse_channels

    listed = parse_channels(arguments.channels) if arguments.channels is not None else None
    return Choice(listed, arguments.sort, arguments.limit or limit)


def look(arguments: argparse.Namespace) -> Look:
    """Return scale and colours that the options choose."""
    from offshelf.report.pictures.activation_tiles import Look

    given = vars(arguments)
    return Look(given.get("scale", "channel"), given.get("colours", "cividis"))


def check_out(arguments: argparse.Namespace) -> None:
    """Refuse the place of pictures before any work is done for them.

    Raises:
        OffshelfError: it is a file that ends neither in .png nor in .svg, or nothing can be
            written there.
    """
    from offshelf.jobs.visualise.picture_files import check_pictures

    check_pictures(arguments.out)


def check_picture(name: str) -> None:
    """Refuse the name of one picture before any work is done for it.

    Raises:
        OffshelfError: it ends neither in .png nor in .svg, or nothing can be written there.
    """
    from offshelf.errors import OffshelfError
    from offshelf.files import obstacle, unwritable
    from offshelf.report.pictures.canvas import form_of

    form_of(Path(name))
    reason = "it is a folder" if Path(name).is_dir() else obstacle(Path(name))
    if reason:
        raise OffshelfError(unwritable(name, reason))


def say_written(paths: Iterable[Path]) -> None:
    """Print where the pictures are."""
    for path in paths:
        console.say(f"picture: {path}")
