"""``offshelf demo``: the whole way on data and weights that come with the installation."""

from __future__ import annotations

import argparse

from offshelf.cli import console, options
from offshelf.cli import fit as fit_command
from offshelf.cli import predict as predict_command

SUMMARY = "try the whole way on handwritten digits that come with the installation"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--folder", default="offshelf-demo", metavar="DIR", help="where it works (%(default)s)"
    )
    options.add_seed(parser)
    options.add_engine(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.demo import demo

    with console.progress(arguments.quiet) as progress:
        result = demo(arguments.folder, run=options.run_settings(arguments), progress=progress)
    if arguments.json:
        console.print_json(result.to_json())
        return 0
    fit_command.show(result.fitted)
    console.say()
    console.say("three test digits, then two photographs that are no digits:")
    predict_command.show(result.predicted, top=3)
    console.say()
    console.say(f"images: {result.data}")
    console.say(f"model:  {result.fitted.path}")
    console.say("next:")
    console.say(f"  offshelf evaluate {result.fitted.path} {result.data}")
    console.say(f"  offshelf fit {result.data} --layer stage5 --pooling max")
    console.say("  offshelf fit YOUR-FOLDER --out my.offshelf    (one folder per class)")
    console.say("  offshelf layers efficientnet_lite0;  offshelf backbones;  offshelf doctor")
    return 0
