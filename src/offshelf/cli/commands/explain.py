"""``offshelf explain``: which parts of an image speak for a model's decision."""

from __future__ import annotations

import argparse

from offshelf.cli.options import picture_options, shared_options
from offshelf.cli.terminal import console

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
    parser.add_argument("model", metavar="MODEL", help="a model file (.offshelf)")
    parser.add_argument("image", metavar="IMAGE", help="an image file")
    picture_options.add_out(parser, "IMAGE-explain.png")
    parser.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="the class to explain (default: the predicted one); its rival is the best other",
    )
    shared_options.add_word(parser, "--method", default="auto", text="auto, exact or gradcam")
    parser.add_argument(
        "--smooth", action="store_true", help="blend cells into each other instead of squares"
    )
    picture_options.add_colours(parser)
    shared_options.add_model_weights(parser)
    shared_options.add_running(parser, precision=False)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.explain import explain

    picture_options.check_out(arguments)
    look = picture_options.look(arguments)
    with console.progress(arguments.quiet) as progress:
        result = explain(
            arguments.model,
            arguments.image,
            label=arguments.label,
            method=arguments.method,
            weights=arguments.weights,
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    written = result.write(arguments.out, look, arguments.smooth)
    if arguments.json:
        document = result.to_json() | {"model": arguments.model, "out": str(written)}
        console.print_json(document)
    else:
        console.say(str(result))
        picture_options.say_written([written])
    return 0
