"""``offshelf explain``: which parts of an image speak for a model's decision."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offshelf.cli.options import picture_options, shared_options
from offshelf.cli.options.model_options import add_model, add_model_weights
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.visualise.explanation import Explanation, Explanations
    from offshelf.progress import Progress

SUMMARY = "draw where a model's decision on an image comes from"
EPILOG = (
    "Where the score is a sum over the cells of a layer (avg, max and flatten features with a "
    "linear head) the heat map is exact: cells and bias add up to the score. With L2-normalised "
    "features every cell is divided by the features' length, one number for all. Elsewhere, and "
    "with --method gradcam, it is Grad-CAM, which shows where and adds up to nothing. Cells "
    "below zero speak against the class. All panels share one scale."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    add_model(parser)
    parser.add_argument("image", metavar="IMAGE", nargs="+", help=shared_options.IMAGES_HELP)
    picture_options.add_out(parser, "IMAGE-explain.png")
    parser.add_argument(
        "--label",
        dest="true",
        metavar="NAME",
        help="the class that the images are of (default: that of an image's folder, where the "
        "folder has the name of a class); the picture says whether the model is wrong",
    )
    parser.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="the class to explain (default: the predicted one); its rival is the best other, and "
        "of a wrong answer the class that the image is of",
    )
    shared_options.add_word(parser, "--method", default="auto", text="auto, exact or gradcam")
    parser.add_argument(
        "--smooth", action="store_true", help="blend cells into each other instead of squares"
    )
    picture_options.add_colours(parser)
    add_model_weights(parser)
    shared_options.add_running(parser, precision=False)


def perform(arguments: argparse.Namespace, progress: Progress) -> Explanation:
    """Explain the decision on one image."""
    from offshelf.jobs.explain import explain

    (image,) = arguments.image
    return explain(arguments.model, image, **_settings(arguments), progress=progress)


def perform_several(arguments: argparse.Namespace, progress: Progress) -> Explanations:
    """Explain the decisions on image files and folders."""
    from offshelf.jobs.explain import explain_images

    settings = _settings(arguments)
    return explain_images(arguments.model, arguments.image, **settings, progress=progress)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what both take; what is wrong with the picture's options is said at once."""
    picture_options.check_out(arguments)
    picture_options.look(arguments)
    return {
        "label": arguments.label,
        "method": arguments.method,
        "true": arguments.true,
        "weights": arguments.weights,
        "run": shared_options.run_settings(arguments),
    }


def write(arguments: argparse.Namespace, result: Explanation | Explanations) -> list[Path]:
    """Write the pictures; none where no place is named."""
    if arguments.out is None:
        return []
    found = result.write(arguments.out, picture_options.look(arguments), arguments.smooth)
    return [found] if isinstance(found, Path) else list(found)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    several = _are_several(arguments.image)
    with console.progress(arguments.quiet) as progress:
        result = (perform_several if several else perform)(arguments, progress)
    written = write(arguments, result)
    if arguments.json:
        out = [str(path) for path in written]
        console.print_json(result.to_json() | {"out": out if several else out[0]})
    else:
        console.say(str(result))
        picture_options.say_written(written)
    return 0 if written else 1


def _are_several(images: list[str]) -> bool:
    """Return whether the words may stand for other than one image file."""
    from offshelf.data.tables.sources import is_several

    return len(images) > 1 or is_several(images[0]) or Path(images[0]).is_dir()
