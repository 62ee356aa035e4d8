"""``offshelf predict``: labels for images, with probability and score of every class."""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console
from offshelf.errors import OffshelfError
from offshelf.heads.kinds.registry import get_fitter
from offshelf.text import counted

if TYPE_CHECKING:
    from offshelf.heads.probabilities.probability_model import Certainty
    from offshelf.jobs.predict import PredictFiles, PredictResult
    from offshelf.prediction import Prediction

SUMMARY = "label images with a model file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="a model file (.offshelf)")
    parser.add_argument("paths", nargs="+", metavar="PATH", help=shared_options.IMAGES_HELP)
    shared_options.add_model_weights(parser)
    text = "classes to show for an image"
    shared_options.add_count(parser, "--top", bounds=(1, 1000), text=text, default=3, metavar="K")
    _add_files(parser)
    shared_options.add_strict(parser)
    shared_options.add_running(parser, precision=False)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--csv",
        action="store_true",
        help="print CSV: path, status, reason, label, its probability, the runner-up with its own, "
        "the score of every class and, of a calibrated model, its probability; four digits",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="write all predictions to this file: .csv, .parquet or .json (the last two with all "
        "digits)",
    )
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="the columns of CSV and Parquet, with commas between: path, status, reason, label, "
        "probability, runner_up, runner_up_probability, unknown, scores, probabilities (of all "
        "classes), score:CLASS, probability:CLASS (default: all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.predict import predict
    from offshelf.report.tables.prediction_table import csv_text

    written = _files(arguments)
    with console.progress(arguments.quiet) as progress:
        result = predict(
            arguments.model,
            arguments.paths,
            weights=arguments.weights,
            written=written,
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    if arguments.json:
        console.print_json(result.to_json())
    elif arguments.csv:
        sys.stdout.write(csv_text(result.table(written.columns)) + "\n")
    else:
        console.say(text(result, arguments.top))
    return console.exit_code(result.n_ok, result.n_failed, arguments.strict)


def _files(arguments: argparse.Namespace) -> PredictFiles:
    """Return what is to be written.

    Raises:
        OffshelfError: options that contradict one another.
    """
    from offshelf.jobs.predict import PredictFiles
    from offshelf.report.tables.prediction_table import column_names

    if arguments.csv and arguments.json:
        raise OffshelfError("--csv and --json: choose one")
    if arguments.columns is not None and not (arguments.csv or arguments.out):
        raise OffshelfError("--columns: chooses those of --csv and of --out FILE; give one of them")
    columns = column_names(arguments.columns) if arguments.columns is not None else ()
    return PredictFiles(out=arguments.out, columns=columns)


def text(result: PredictResult, top: int) -> str:
    """Return the labels for a person, with *top* classes of an image.

    What stands in a file is counted only.
    """
    from offshelf.report import summary

    labelled = [row for row in result.predictions if row.label is not None]
    failures = [row.to_json() for row in result.predictions if row.label is None]
    failed = summary.failure_lines(failures)
    if result.out is not None:
        lines = [*_counts(result, labelled), *failed]
    else:
        lines = [*_labels(result, labelled, top), *failed, *_legend(result, labelled)]
    return "\n".join(lines if result.backbone.trained else [*lines, summary.UNTRAINED])


def _counts(result: PredictResult, labelled: list[Prediction]) -> Iterator[str]:
    from offshelf.report import summary
    from offshelf.report.tables.result_rows import Column, Table
    from offshelf.report.tables.table_formats import render

    found = collections.Counter(row.label for row in labelled if not row.unknown)
    cells = [(str(label), number) for label, number in found.most_common()]
    if unknown := sum(row.unknown for row in labelled):
        cells.append(("(unknown)", unknown))
    if cells:
        columns = (Column("label"), Column("images", "integer"))
        yield render(Table("", columns, tuple(cells)))
        yield ""
    images = f"{result.n_ok:,}, {result.n_failed:,} left out"
    rows = counted(len(result.predictions), "row")
    yield summary.facts_text([("images", images), ("file", f"{result.out} ({rows})")])


def _labels(result: PredictResult, labelled: list[Prediction], top: int) -> list[str]:
    from offshelf.report.tables.result_rows import Column, Table
    from offshelf.report.tables.table_formats import render

    claiming = get_fitter(result.model.head.kind).one_vs_rest
    lines = []
    if labelled:
        sure = (Column("probability", "percent"),) if result.model.certainty.calibration else ()
        columns = (Column("image"), Column("label"), *sure, Column("score"), Column("then"))
        cells = tuple(_cells(row, top, claiming) for row in labelled)
        lines += [render(Table("", columns, cells)), ""]
    return lines


def _legend(result: PredictResult, labelled: list[Prediction]) -> Iterator[str]:
    certainty, kind = result.model.certainty, result.model.head.kind
    if certainty.calibration:
        yield (
            f"probability: of the label, if the image is of one of the classes ({certainty.kind} "
            "scaling, fitted on training images held out)"
        )
    yield f"score: decision value of the {kind}, no probability"
    if certainty.threshold:
        share = 100 * certainty.threshold.false_reject
        typical = f"less typical than {100 - share:.3g} % of the training images"
        yield f"unknown: {typical}, {_what(certainty)}"
    claiming = get_fitter(kind).one_vs_rest
    if claiming and any(max(row.scores.values()) < 0 and not row.unknown for row in labelled):
        yield "(label): no class claims the image, all scores are below zero"


def _what(certainty: Certainty) -> str:
    if certainty.centroids is None:
        return "by the largest probability"
    return "by the distance to the nearest class"


def _cells(row: Prediction, top: int, claiming: bool) -> tuple[str | float, ...]:
    (label, score), *others = list(row.scores.items())[:top]
    shown = f"({label})" if claiming and score < 0 else label
    shown = f"unknown (nearest: {label})" if row.unknown else shown
    if not row.probabilities:
        then = ", ".join(f"{name} {value:+.3f}" for name, value in others)
        return row.path, shown, f"{score:+.3f}", then
    shares = row.probabilities
    then = ", ".join(f"{name} {100 * shares[name]:.2f} %" for name, _ in others)
    return row.path, shown, shares[label], f"{score:+.3f}", then
