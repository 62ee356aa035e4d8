"""``offshelf demo``: the whole way on data and weights that come with the installation."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.demo import DemoResult

SUMMARY = "try the whole way on images that come with the installation"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--folder",
        default="offshelf-demo",
        metavar="DIR",
        help="the folder for its images and model (%(default)s)",
    )
    shared_options.add_seed(parser)
    shared_options.add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.demo import demo

    with console.progress(arguments.quiet) as progress:
        result = demo(
            arguments.folder, run=shared_options.run_settings(arguments), progress=progress
        )
    console.show(arguments.json, result.to_json, lambda: text(result))
    return 0


def text(result: DemoResult) -> str:
    """Return what was made, and what to try next."""
    from offshelf.report.summary import facts_text

    figures = result.fitted.to_json()
    trained, tested = figures["n_train"], figures["n_test"]
    model, data = shlex.quote(str(result.fitted.path)), shlex.quote(str(result.data))
    photos = shlex.quote(str(result.data.parent / "photos"))
    following = facts_text(
        [
            (f"offshelf evaluate {model} {data}", "the figures again, from the file"),
            (f"offshelf predict {model} {photos} --json", "for programs"),
            (f"offshelf fit {data} --layer stage5 --pooling max", "another layer"),
            ("offshelf fit YOUR-FOLDER --out my.offshelf", "your images, one folder per class"),
            ("offshelf backbones", "other networks"),
        ]
    )
    blocks = (
        f"1. Train on {trained:,} handwritten digits, test on {tested:,} others",
        str(result.fitted),
        "2. Label images with the model file: three test digits, two photographs of none",
        str(result.predicted),
        "3. Try next",
        following,
    )
    return "\n\n".join(blocks)
