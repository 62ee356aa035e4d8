"""``offshelf classify``: the best ImageNet classes of pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.classify import ClassifyResult
    from offshelf.progress import Progress

SUMMARY = "name what is on pictures with a network's own classifier"
EPILOG = (
    "The network's output is a vector of 1,000 numbers, the logits, one for each class of "
    "ImageNet-1k. Their softmax gives 1,000 probabilities that sum to one; the largest are "
    "shown. A picture of something that is not among the 1,000 classes still gets them. "
    "Pictures are cropped as the network's publisher does (short side, then centre) unless "
    "--resize says otherwise."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("paths", nargs="+", metavar="IMAGE", help=shared_options.IMAGES_HELP)
    text = "classes to show for an image"
    shared_options.add_count(
        parser, "-k", "--top", bounds=(1, 1000), text=text, default=5, metavar="K"
    )
    shared_options.add_backbone(parser)
    group = parser.add_argument_group("experiments, besides the normal answer")
    group.add_argument(
        "--no-normalize",
        action="store_true",
        help="also give the network pixels in [0, 1], without mean and standard deviation",
    )
    group.add_argument(
        "--train-mode",
        action="store_true",
        help="also run the network in training mode (batch statistics, dropout), three times "
        "alone and three times in a batch; with torch on the CPU, at most 16 images",
    )
    shared_options.add_seed(parser)
    shared_options.add_strict(parser)
    shared_options.add_running(parser)


def perform(arguments: argparse.Namespace, progress: Progress) -> ClassifyResult:
    """Do what the arguments say."""
    from offshelf.jobs.classify import classify

    return classify(
        arguments.paths,
        shared_options.feature_settings(arguments),
        run=shared_options.run_settings(arguments),
        no_normalize=arguments.no_normalize,
        train_mode=arguments.train_mode,
        progress=progress,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.report.result import blocks_text

    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    if arguments.json:
        console.print_json(result.to_json(arguments.top))
    else:
        console.say(blocks_text(result.blocks(arguments.top)))
    return console.exit_code(result.n_ok, result.n_failed, arguments.strict)
