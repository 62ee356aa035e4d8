"""``offshelf curve``: accuracy against training images, and how many more would help."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from offshelf.cli.options import head_options, shared_options
from offshelf.cli.options.picture_options import check_picture, say_written
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.curve import CurveResult

SUMMARY = "measure how many more images would help, and how much"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DATA", help=shared_options.DATA_HELP)
    parser.add_argument(
        "--sizes",
        type=_sizes,
        metavar="LIST",
        help="training images per class, for example 5,10,20,40 (default: doubling from about 5 to "
        "the smallest class)",
    )
    shared_options.add_classes(parser)
    text = "draws of training images at every size"
    shared_options.add_count(parser, "--repeats", bounds=(1, 1000), text=text, default=5)
    parser.add_argument(
        "--target",
        type=float,
        metavar="SHARE",
        help="target accuracy, for example 0.95: report how many images per class reach it "
        "(default: the next whole per cent)",
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="draw the curve, .png or .svg")
    shared_options.add_backbone(parser)
    shared_options.add_layer(parser)
    head_options.add_head(parser)
    shared_options.add_seed(parser)
    shared_options.add_test_size(parser)
    shared_options.add_running(parser)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 5,10,20") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{min(sizes)} images per class: one is the least")
    return sizes


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.curve import CurveSettings, learning_curve

    if arguments.out is not None:
        check_picture(arguments.out)
    with console.progress(arguments.quiet) as progress:
        result = learning_curve(
            arguments.data,
            settings=CurveSettings(arguments.sizes, arguments.repeats, arguments.target),
            features=shared_options.feature_settings(arguments),
            head=head_options.head_settings(arguments),
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    picture = _draw(result, Path(arguments.out)) if arguments.out is not None else None
    if arguments.json:
        document = result.to_json() | {"sentences": list(_sentences(result))}
        console.print_json(document | {"picture": str(picture) if picture else None})
    else:
        console.say(text(result))
        say_written([picture] if picture else [])
    return 0


def text(result: CurveResult) -> str:
    """Return the result for a person."""
    from offshelf.report import summary
    from offshelf.report.pictures.learning_chart import curve_table
    from offshelf.report.tables.table_formats import render

    failures = [row.to_json() for row in result.extraction.failures]
    table = render(curve_table(result.curve, result.intervals))
    blocks = [table, "", summary.facts_text(_facts(result))]
    return "\n".join(blocks + summary.reservations(failures, result.backbone.trained))


def _facts(result: CurveResult) -> Iterator[tuple[str, str]]:
    from offshelf.report.summary import seconds_line

    for sentence in _sentences(result):
        yield "more", sentence
    curve = result.curve
    repeats = curve.points[0].repeats
    draws = "1 draw" if repeats == 1 else f"{repeats} draws"
    yield (
        "measured",
        f"on the same {result.n_test:,} test images, {draws} of training images at every size; "
        "intervals (95 %) are over draws",
    )
    if 1 in result.draws and repeats > 1:
        n = curve.points[result.draws.index(1)].n
        yield "", f"no interval at {n:,}: there, all draws hold the same images"
    if curve.backtest is not None:
        yield (
            "backtest",
            "extrapolated from the smaller sizes, the largest is off by "
            f"{100 * curve.backtest:.2f} points",
        )
    yield "time", f"{seconds_line(result.seconds)}, {result.extraction.engine}"


def _sentences(result: CurveResult) -> Iterator[str]:
    from offshelf.report.pictures.learning_chart import curve_sentences

    yield from curve_sentences(result.curve, result.needed)


def _draw(result: CurveResult, path: Path) -> Path:
    from offshelf.jobs.visualise.picture_files import write_picture
    from offshelf.report.pictures.canvas import form_of
    from offshelf.report.pictures.learning_chart import curve_chart

    head, kind = result.head.head, result.kind
    title = f"{result.backbone.spec.name} {kind.column}, {head}: {result.n_test:,} test images"
    return write_picture(
        path, curve_chart(result.curve, result.intervals, title, form=form_of(path))
    )
