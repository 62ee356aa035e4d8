"""``offshelf predict``: labels for images, with probability and score of every class."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console
from offshelf.errors import OffshelfError
from offshelf.heads.kinds.registry import get_fitter
from offshelf.text import spelled

if TYPE_CHECKING:
    from offshelf.heads.probabilities.probability_model import Certainty
    from offshelf.jobs.predict import PredictResult
    from offshelf.prediction import Prediction

SUMMARY = "label images with a model file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="a model file (.offshelf)")
    parser.add_argument("paths", nargs="+", metavar="PATH", help=shared_options.IMAGES_HELP)
    shared_options.add_model_weights(parser)
    text = "classes to show for an image"
    shared_options.add_count(parser, "--top", bounds=(1, 1000), text=text, default=3, metavar="K")
    parser.add_argument(
        "--csv",
        action="store_true",
        help="print CSV: path, status, reason, label, the score of every class and, of a "
        "calibrated model, its probability",
    )
    shared_options.add_strict(parser)
    shared_options.add_running(parser, precision=False)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.predict import predict

    if arguments.csv and arguments.json:
        raise OffshelfError("--csv and --json: choose one")
    with console.progress(arguments.quiet) as progress:
        result = predict(
            arguments.model,
            arguments.paths,
            weights=arguments.weights,
            run=shared_options.run_settings(arguments),
            progress=progress,
        )
    if arguments.json:
        console.print_json(result.to_json())
    elif arguments.csv:
        write_csv(result)
    else:
        console.say(text(result, arguments.top))
    return console.exit_code(result.n_ok, result.n_failed, arguments.strict)


def write_csv(result: PredictResult) -> None:
    """Print one CSV row per image, a column for each class's score and probability.

    ``label`` is the nearest class also where ``unknown`` says yes; that column is there for
    models that reject, those of probabilities for models that are calibrated.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    classes, certainty = result.model.classes, result.model.certainty
    rejects = ["unknown"] if certainty.threshold else []
    sure = classes if certainty.calibration else ()
    header = ["path", "status", "reason", "label", *rejects]
    writer.writerow(
        [*header, *(f"score:{name}" for name in classes), *(f"probability:{n}" for n in sure)]
    )
    for row in result.predictions:
        scores = [row.scores.get(name, "") for name in classes]
        shares = [row.probabilities.get(name, "") for name in sure]
        # An image without a label is neither known nor unknown.
        word = ("yes" if row.unknown else "no") if row.label is not None else ""
        line = [
            spelled(row.path),
            row.status,
            row.reason,
            row.label or "",
            *(word for _ in rejects),
        ]
        writer.writerow([*line, *scores, *shares])


def text(result: PredictResult, top: int) -> str:
    """Return the labels for a person, with *top* classes of an image."""
    from offshelf.report import summary
    from offshelf.report.tables.result_rows import Column, Table
    from offshelf.report.tables.table_formats import render

    claiming = get_fitter(result.model.head.kind).one_vs_rest
    labelled = [row for row in result.predictions if row.label is not None]
    lines = []
    if labelled:
        sure = (Column("probability", "percent"),) if result.model.certainty.calibration else ()
        columns = (Column("image"), Column("label"), *sure, Column("score"), Column("then"))
        cells = tuple(_cells(row, top, claiming) for row in labelled)
        lines += [render(Table("", columns, cells)), ""]
    failures = [row.to_json() for row in result.predictions if row.label is None]
    lines += [*summary.failure_lines(failures), *_legend(result, labelled)]
    return "\n".join(lines if result.backbone.trained else [*lines, summary.UNTRAINED])


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
