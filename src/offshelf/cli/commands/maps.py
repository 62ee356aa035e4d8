"""``offshelf maps``: what layers compute on an image, and which images excite them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from offshelf.cli.options import picture_options, shared_options
from offshelf.cli.terminal import console
from offshelf.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from offshelf.jobs.visualise.activation_maps import MapsResult
    from offshelf.jobs.visualise.top_images import TopResult
    from offshelf.progress import Progress

SUMMARY = "draw what layers of a network compute on an image"
CHANNELS, CHANNELS_OF_TOP = 64, 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="an image file")
    shared_options.add_layers(parser, "several, a picture each", required=True)
    picture_options.add_out(parser, "IMAGE-LAYER.png")
    picture_options.add_channels(parser, f"{CHANNELS}; {CHANNELS_OF_TOP} with --top-images")
    picture_options.add_scale(parser)
    picture_options.add_colours(parser)
    parser.add_argument(
        "--top-images",
        metavar="DATA",
        help="images or a folder of them: also draw, for each channel, the crops that excite it "
        "most; a crop is four cells of the map wide, an eighth to a half of the input",
    )
    text = "crops for a channel"
    shared_options.add_count(parser, "--top", bounds=(1, 16), text=text, default=8, metavar="K")
    shared_options.add_backbone(parser)
    shared_options.add_running(parser)


def write(arguments: argparse.Namespace, result: MapsResult) -> list[Path]:
    """Write a picture per layer; none where no place is named."""
    if arguments.out is None:
        return []
    return list(result.write(arguments.out, picture_options.look(arguments)))


def write_top(arguments: argparse.Namespace, result: TopResult) -> list[Path]:
    """Write a picture of crops per layer; none where no place is named."""
    if arguments.out is None:
        return []
    part = "top" if arguments.image is not None else ""
    return list(result.write(arguments.out, part))


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        DataError: there is neither an image nor a set of them.
    """
    if arguments.image is None and arguments.top_images is None:
        raise DataError("nothing to look at: name an IMAGE, or --top-images DATA")
    document: dict[str, Any] = {}
    with console.progress(arguments.quiet) as progress:
        maps = perform(arguments, progress) if arguments.image is not None else None
        top = perform_top(arguments, progress) if arguments.top_images is not None else None
    if top is not None and maps is not None:
        # The same channels as in the picture of the image, in its order.
        most = arguments.limit or (CHANNELS if arguments.channels else CHANNELS_OF_TOP)
        top = top.with_channels({one.path: one.channels[:most] for one in maps.layers})
    if maps is not None:
        written = write(arguments, maps)
        document = maps.to_json() | {"out": [str(path) for path in written]}
        _show(arguments, maps, written)
    if top is not None:
        written = write_top(arguments, top)
        found = top.to_json() | {"out": [str(path) for path in written]}
        document = document | {"top_images": found} if maps is not None else found
        _show(arguments, top, written)
    if arguments.json:
        console.print_json(document)
    return 0


def _show(arguments: argparse.Namespace, result: MapsResult | TopResult, written: Any) -> None:
    if not arguments.json:
        console.say(str(result))
        picture_options.say_written(written)


def perform(arguments: argparse.Namespace, progress: Progress) -> MapsResult:
    """Draw the maps of the image."""
    from offshelf.jobs.visualise.activation_maps import activation_maps

    picture_options.check_out(arguments)
    picture_options.look(arguments)
    return activation_maps(
        arguments.image,
        arguments.layer,
        features=shared_options.feature_settings(arguments),
        choice=picture_options.choice(arguments, CHANNELS),
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def perform_top(arguments: argparse.Namespace, progress: Progress) -> TopResult:
    """Find the images that excite channels most."""
    from offshelf.jobs.visualise.top_images import top_images

    picture_options.check_out(arguments)
    data = arguments.top_images
    return top_images(
        data if isinstance(data, list) else [data],
        arguments.layer,
        features=shared_options.feature_settings(arguments),
        choice=picture_options.choice(arguments, CHANNELS_OF_TOP),
        top=arguments.top,
        run=shared_options.run_settings(arguments),
        progress=progress,
    )
