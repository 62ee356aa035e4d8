"""``offshelf fit``: train and evaluate a head, and write the model file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from offshelf.cli.options import head_options, shared_options
from offshelf.cli.options.mistake_options import add_errors, check_errors, write_errors
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.heads.head import FittedHead
    from offshelf.jobs.fit.job import FitResult

SUMMARY = "train a classifier on your images, and measure it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=shared_options.DATA_HELP)
    parser.add_argument(
        "-o", "--out", metavar="MODEL", help="write the model to this .offshelf file"
    )
    shared_options.add_classes(parser)
    shared_options.add_backbone(parser)
    shared_options.add_layer(parser)
    head_options.add_head(parser)
    head_options.add_probabilities(parser)
    shared_options.add_seed(parser)
    shared_options.add_test_size(parser)
    text = "test images kept in the model file for its self-test; 0 keeps none"
    shared_options.add_count(parser, "--samples", bounds=(0, 16), text=text, default=3)
    add_errors(parser)
    shared_options.add_strict(parser)
    shared_options.add_profile(parser)
    shared_options.add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.fit.job import fit

    check_errors(arguments)
    with console.progress(arguments.quiet) as progress:
        result = fit(
            arguments.data,
            arguments.out,
            features=shared_options.feature_settings(arguments),
            head=head_options.head_settings(arguments),
            probability=head_options.probability_settings(arguments),
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    console.show(arguments.json, result.to_json, lambda: text(result, arguments.profile))
    write_errors(result.mistakes, arguments)
    return 1 if arguments.strict and result.extraction.failures else 0


def text(result: FitResult, profile: bool = False) -> str:
    """Return the result for a person; with *profile* also where the processor time went."""
    from offshelf.report import summary
    from offshelf.report.mistakes import mistake_blocks
    from offshelf.report.tables.table_formats import render

    document = result.to_json()
    facts = [
        *summary.accuracy_facts(result.evaluation),
        *summary.probability_facts(result.trust),
        *_leaks(result),
        *_work(result, document),
        _model(result),
    ]
    blocks = [summary.classes_text(result.evaluation), ""]
    for block in mistake_blocks(result.mistakes, result.evaluation.n):
        blocks.append(block if isinstance(block, str) else render(block))
    blocks.append(summary.facts_text(facts))
    blocks += summary.reservations(document["failures"], result.backbone.trained)
    blocks += [summary.profile_line(result.extraction.profile)] if profile else []
    return "\n".join(blocks)


def _leaks(result: FitResult) -> Iterator[tuple[str, str]]:
    if len(result.leaks.rows):
        yield "leaks", result.leaks.sentence()


def _classifier(head: FittedHead) -> Iterator[str]:
    yield head.kind
    for key, text in (("C", "C"), ("k", "neighbours")):
        if key in head.parameters:
            yield f"{text} = {head.parameters[key]:g}"
    if head.reduction != "none":
        yield head.reduction
    if "class_weight" in head.parameters:
        yield "classes balanced"


def _work(result: FitResult, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from offshelf.report.summary import seconds_line

    yield (
        "images",
        f"{document['n_train']:,} to train, {document['n_test']:,} to test, "
        f"{document['n_failed']:,} left out",
    )
    yield (
        "features",
        f"{document['backbone']} {document['layer']}, {document['pooling']}: "
        f"{document['dimension']:,} of an image",
    )
    yield "classifier", ", ".join(_classifier(result.model.head))
    yield "time", f"{seconds_line(document['seconds'])}, {document['engine']}"


def _model(result: FitResult) -> tuple[str, str]:
    if result.path is None:
        return "model", "not kept; --out MODEL.offshelf keeps it"
    kept = len(result.model.samples)
    images = f" (holds {kept} of your test images for its self-test)" if kept else ""
    return "model", f"{result.path}{images}"
