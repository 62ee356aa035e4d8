"""``offshelf extract``: features of images as a Parquet table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.extract.job import ExtractResult

SUMMARY = "write features of images to a Parquet file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data", metavar="DATA", help=f"{shared_options.DATA_HELP}; or {shared_options.IMAGES_HELP}"
    )
    shared_options.add_classes(parser)
    parser.add_argument(
        "-o",
        "--out",
        default="features.parquet",
        metavar="FILE",
        help="the Parquet file: a row per image, a column per layer and pooling (%(default)s)",
    )
    shared_options.add_backbone(parser)
    shared_options.add_layers(parser, "several in one pass (penultimate)")
    shared_options.add_poolings(parser)
    shared_options.add_seed(parser)
    shared_options.add_profile(parser)
    shared_options.add_strict(parser)
    shared_options.add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.extract.job import extract_features

    with console.progress(arguments.quiet) as progress:
        result = extract_features(
            arguments.data,
            arguments.out,
            features=shared_options.feature_settings(arguments),
            layers=arguments.layer,
            poolings=arguments.pooling,
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    console.show(arguments.json, result.to_json, lambda: text(result, arguments.profile))
    ok, failed = len(result.extraction.ok), len(result.extraction.failures)
    return console.exit_code(ok, failed, arguments.strict)


def text(result: ExtractResult, profile: bool = False) -> str:
    """Return the result for a person; with *profile* also where the processor time went."""
    from offshelf.report import summary

    document = result.to_json()
    rate, computed = document["images_per_second"], document["computed"]
    facts = summary.facts_text(
        [
            ("images", f"{document['n_ok']:,}, {document['n_failed']:,} left out"),
            *(
                ("column", f"{layer['column']}: {layer['dimension']:,} float32 of an image")
                for layer in document["layers"]
            ),
            ("network", f"{document['backbone']}, {document['engine']}"),
            (
                "speed",
                f"{rate:,.1f} images/s from files to features{_computed(document)}"
                if computed
                else "all features were in the store",
            ),
            ("file", str(document["out"])),
        ]
    )
    blocks = [facts, *summary.reservations(document["failures"], result.backbone.trained)]
    blocks += [summary.profile_line(result.extraction.profile)] if profile else []
    return "\n".join(blocks)


def _computed(document: dict[str, Any]) -> str:
    computed, of = document["computed"], document["n_ok"]
    return "" if computed == of else f"; {computed:,} went through the network, the rest was known"
