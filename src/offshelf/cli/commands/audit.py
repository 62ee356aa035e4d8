"""``offshelf audit``: what is wrong with labelled images, before they are trained on."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.audit.audit_result import AuditResult
    from offshelf.jobs.setup.settings import RunSettings
    from offshelf.progress import Progress

SUMMARY = "find copies, leaks, doubtful labels and odd pictures"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=shared_options.SPLIT_DATA_HELP)
    parser.add_argument(
        "--html", metavar="PAGE", help="write the findings with pictures to this HTML file"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write all findings to this file: .html (a page with pictures), .csv or .json",
    )
    parser.add_argument(
        "--corrections",
        metavar="FILE",
        help="write the images to decide about to this .csv file: fill in its column decision with "
        "another class or 'leave out'; decisions that it already has are carried out, and kept",
    )
    shared_options.add_classes(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 when there is an error: an unreadable file, or copies of an image in "
        "both splits or under two labels",
    )
    shared_options.add_groups(parser)
    shared_options.add_backbone(parser)
    shared_options.add_layer(parser)
    _add_bounds(parser)
    shared_options.add_seed(parser)
    shared_options.add_test_size(parser)
    shared_options.add_running(parser)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("thresholds")
    text = "bits of 64 in which the hashes of near-duplicates may differ"
    shared_options.add_count(
        group, "--hash-distance", bounds=(0, 32), text=text, default=10, metavar="BITS"
    )
    group.add_argument(
        "--cosine",
        type=float,
        default=0.9,
        metavar="X",
        help="minimum cosine of the features that confirms a near-duplicate (%(default)s)",
    )
    group.add_argument(
        "--margin",
        type=float,
        default=1.0,
        metavar="X",
        help="minimum margin by which another class outscores the label of an image (%(default)s)",
    )


def perform(arguments: argparse.Namespace, progress: Progress) -> AuditResult:
    """Do what the arguments say, and write the files that they ask for."""
    from offshelf.data.tables.corrections import write_corrections
    from offshelf.jobs.audit.findings_file import check_findings_file, write_findings
    from offshelf.jobs.audit.html_page import write_page
    from offshelf.jobs.audit.job import audit
    from offshelf.jobs.audit.thresholds import Bounds
    from offshelf.jobs.setup.page_files import check_apart, check_page

    bounds = Bounds(
        hash_distance=arguments.hash_distance, cosine=arguments.cosine, margin=arguments.margin
    )
    page = check_page(arguments.html) if arguments.html else None
    out = check_findings_file(arguments.out) if arguments.out else None
    settings = _settings(arguments)
    check_apart(arguments.html, arguments.out, arguments.corrections)
    result = audit(
        arguments.data,
        features=shared_options.feature_settings(arguments),
        bounds=bounds,
        run=settings,
        progress=progress,
    )
    if page:
        write_page(result, page, reading=settings.reading, progress=progress)
    if out:
        write_findings(result, out, settings.reading, progress)
    if listed := out or page:
        result = dataclasses.replace(result, listed_in=listed)
    if arguments.corrections:
        waiting = write_corrections(result.corrections(), arguments.corrections)
        file = Path(arguments.corrections)
        result = dataclasses.replace(result, corrections_in=file, waiting=waiting)
    return result


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.data.tables.corrections import waiting_line

    with console.progress(arguments.quiet) as progress:
        result = perform(arguments, progress)
    page = Path(arguments.html) if arguments.html else None
    if arguments.json:
        console.print_json({**result.to_json(), "page": str(page) if page else None})
    else:
        console.say(str(result))
        if page:
            console.say(f"page written to {page}")
        if arguments.out:
            console.say(f"findings written to {arguments.out}")
        if arguments.corrections:
            console.say(waiting_line(arguments.corrections))
    return 1 if arguments.strict and result.severities["error"] else 0


def _settings(arguments: argparse.Namespace) -> RunSettings:
    """Return how the work is done; corrections that are yet to be written change nothing."""
    from offshelf.data.tables.corrections import check_corrections_file

    settings = shared_options.run_settings(arguments)
    if arguments.corrections:
        path = check_corrections_file(arguments.corrections)
        if not path.exists() or not path.stat().st_size:
            return dataclasses.replace(settings, corrections=None)
    return settings
