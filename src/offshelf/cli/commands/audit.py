"""``offshelf audit``: what is wrong with labelled images, before they are trained on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offshelf.cli import figures
from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.audit.job import AuditResult
    from offshelf.report.findings import Finding

SUMMARY = "find copies, leaks, doubtful labels and odd pictures"
# Pairs of copies are listed in full; of everything else so many lines say enough.
LINES_PER_KIND = 20
LISTED_IN_FULL = ("identical",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=shared_options.DATA_HELP)
    parser.add_argument(
        "--html", metavar="PAGE", help="write the findings with pictures to this HTML file"
    )
    shared_options.add_classes(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 when there is an error: an unreadable file, or copies of an image in "
        "both splits or under two labels",
    )
    shared_options.add_backbone(parser)
    shared_options.add_layer(parser)
    _add_bounds(parser)
    shared_options.add_seed(parser)
    shared_options.add_test_size(parser)
    shared_options.add_engine(parser)
    shared_options.add_output(parser)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what counts")
    group.add_argument(
        "--hash-distance",
        type=shared_options.whole_number(0, 32),
        default=10,
        metavar="BITS",
        help="bits of 64 in which the hashes of near-duplicates may differ (%(default)s)",
    )
    group.add_argument(
        "--cosine",
        type=float,
        default=0.9,
        metavar="X",
        help="least cosine of the features that confirms a near-duplicate (%(default)s)",
    )
    group.add_argument(
        "--margin",
        type=float,
        default=1.0,
        metavar="X",
        help="least amount by which another class outscores the label of an image (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.audit.html_page import check_page, write_page
    from offshelf.jobs.audit.job import audit
    from offshelf.jobs.audit.thresholds import Bounds

    bounds = Bounds(
        hash_distance=arguments.hash_distance, cosine=arguments.cosine, margin=arguments.margin
    )
    page = check_page(arguments.html) if arguments.html else None
    settings = shared_options.run_settings(arguments)
    with console.progress(arguments.quiet) as progress:
        result = audit(
            arguments.data,
            features=shared_options.feature_settings(arguments, arguments.layer, arguments.pooling),
            bounds=bounds,
            run=settings,
            progress=progress,
        )
        if page:
            write_page(result, page, reading=settings.reading, progress=progress)
    if arguments.json:
        console.print_json({**result.to_json(), "page": str(page) if page else None})
    else:
        show(result)
        if page:
            console.say(f"page written to {page}")
    return 1 if arguments.strict and result.severities["error"] else 0


def show(result: AuditResult) -> None:
    """Print the result for a person."""
    from offshelf.report.findings import TITLES, by_kind, short_names, summary_table
    from offshelf.report.tables.table_formats import render

    console.say(render(summary_table(result.findings), "text"))
    folder, names = short_names(result.table.paths)
    sentences = result.bounds.sentences()
    for kind, found in by_kind(result.findings).items():
        if found:
            console.say(f"\n{TITLES[kind]}. {sentences[kind]}")
            for line in _lines(kind, found, names):
                console.say(f"  {line}")
    console.say()
    console.facts(_facts(result, folder))
    if not result.backbone.trained:
        console.say(figures.UNTRAINED)


def _facts(result: AuditResult, folder: str) -> Iterator[tuple[str, str]]:
    from offshelf.jobs.audit.html_page import facts

    if folder:
        yield "paths", f"below {folder}"
    yield from facts(result)
    yield "time", f"{console.seconds_line(result.seconds)}, {result.extraction.engine}"


def _lines(kind: str, found: tuple[Finding, ...], names: dict[str, str]) -> list[str]:
    from offshelf.report.findings import finding_line

    listed = found if kind in LISTED_IN_FULL else found[:LINES_PER_KIND]
    lines = [finding_line(finding, names) for finding in listed]
    if len(found) > len(listed):
        lines.append(f"{len(found) - len(listed):,} more; --json lists them all")
    return lines
