"""``offshelf fit``: train and evaluate a head, and write the model file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options import head_options, shared_options
from offshelf.cli.options.mistake_options import (
    add_errors,
    check_errors,
    refuse_errors,
    say_errors,
    write_errors,
)
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.fit.fit_result import FitResult
    from offshelf.jobs.multilabel.label_fit_result import LabelFitResult
    from offshelf.progress import Progress

SUMMARY = "train a classifier on your images, and measure it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    shared_options.add_data(parser, shared_options.SPLIT_DATA_HELP)
    parser.add_argument(
        "-o", "--out", metavar="MODEL", help="write the model to this .offshelf file"
    )
    shared_options.add_classes(parser)
    shared_options.add_corrections(parser)
    shared_options.add_groups(parser)
    shared_options.add_backbone(parser)
    shared_options.add_layer(parser)
    shared_options.add_flips(parser)
    head_options.add_head(parser)
    head_options.add_probabilities(parser)
    head_options.add_decision(parser)
    shared_options.add_seed(parser)
    shared_options.add_test_size(parser)
    text = "test images kept in the model file for its self-test; 0 keeps none"
    shared_options.add_count(parser, "--samples", bounds=(0, 16), text=text, default=3)
    add_errors(parser)
    shared_options.add_strict(parser)
    shared_options.add_profile(parser)
    shared_options.add_running(parser)


def perform(arguments: argparse.Namespace, progress: Progress) -> FitResult | LabelFitResult:
    """Do what the arguments say."""
    from offshelf.data.tables.label_table import has_label_sets
    from offshelf.jobs.multilabel.by_labels import fit

    check_errors(arguments)
    if has_label_sets(arguments.data):
        refuse_errors(arguments)
    return fit(
        arguments.data,
        arguments.out,
        features=shared_options.feature_settings(arguments),
        head=head_options.head_settings(arguments),
        probability=head_options.probability_settings(arguments),
        decision=head_options.decision_settings(arguments),
        run=shared_options.run_settings(arguments),
        progress=progress,
    )


def write(arguments: argparse.Namespace, result: FitResult | LabelFitResult) -> list[str]:
    """Write the list and the page of wrong images that the arguments ask for."""
    return write_errors(result, arguments)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.report.summary import profile_line

    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    console.show_result(arguments.json, result)
    if arguments.profile and not arguments.json:
        console.say(profile_line(result.extraction))
    say_errors(write(arguments, result), arguments.json)
    return 1 if arguments.strict and result.extraction.failures else 0
