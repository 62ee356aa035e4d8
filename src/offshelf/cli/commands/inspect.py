"""``offshelf inspect``: the parameter table of a network, and what an extraction will cost."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from offshelf.cli.options import shared_options
from offshelf.cli.terminal import console

if TYPE_CHECKING:
    from offshelf.jobs.extract.forecast import Forecast
    from offshelf.jobs.inspect import Inspection
    from offshelf.progress import Progress

SUMMARY = "show what a network is made of, and what an extraction costs"
FORMS = ("text", "markdown", "csv", "json", "html", "latex")
EPILOG = (
    "The table needs no weights. Every parameter is counted once; attention is one row with "
    "its projections; parameters that are no layer (class token, position embedding, layer "
    "scale) have rows of their own. MACs are multiply-accumulates of convolutions and matrix "
    "products, activation memory is each layer's output in float32, both for --batch-size "
    "images. The receptive field is followed through convolution, pooling, padding, sums and "
    "joins of branches; behind a mean over the whole map, a flattening or attention there is "
    "none. The forecast runs the real extraction on a few images of DATA in a process of its "
    "own and throws the features away."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("backbone", metavar="BACKBONE", help="a name of 'offshelf backbones'")
    parser.add_argument(
        "--all", action="store_true", help="also activations, normalisation and dropout"
    )
    text = "side of the square input (default: the network's own)"
    shared_options.add_count(parser, "--input-size", bounds=(1, 8192), text=text, metavar="PIXELS")
    text = (
        "images that MACs and activation memory are stated for (1); with --data also the images "
        "in one request (the engine's choice)"
    )
    shared_options.add_count(parser, "--batch-size", bounds=(1, 4096), text=text)
    parser.add_argument(
        "--format", choices=FORMS, default="text", help="%(choices)s; csv has the layers alone"
    )
    _add_forecast(parser)
    shared_options.add_cache(parser)
    shared_options.add_output(parser)


def _add_forecast(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("forecast of an extraction")
    group.add_argument(
        "--data",
        metavar="DATA",
        help="a folder of images, or a CSV or Parquet file with a column path: forecast the "
        "seconds, peak memory and disk of extracting their features",
    )
    shared_options.add_layers(group, "several (penultimate)")
    shared_options.add_poolings(group)
    shared_options.add_weights(group)
    shared_options.add_device(group)
    shared_options.add_workers(group)


def perform(arguments: argparse.Namespace, progress: Progress) -> Inspection:
    """Do what the arguments say."""
    from offshelf.jobs.inspect import inspect

    inspection = inspect(
        arguments.backbone,
        input_size=arguments.input_size,
        batch_size=arguments.batch_size or 1,
        cache_dir=arguments.cache_dir,
    )
    if not arguments.data:
        return inspection
    return dataclasses.replace(inspection, forecast=_forecast(arguments, progress))


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with console.progress(arguments.quiet or not arguments.data) as progress:
        inspection = perform(arguments, progress)
    form = "json" if arguments.json else arguments.format
    if form == "json":
        console.print_json(inspection.to_json(arguments.all))
        return 0
    console.say(inspection.render(form, arguments.all))
    if inspection.forecast:
        _show(inspection.forecast, form)
    return 0


def _show(forecast: Forecast, form: str) -> None:
    from offshelf.report.tables.table_formats import render

    console.say("\n" + render(forecast.table(), form))
    if form in {"text", "markdown"}:
        console.say(("\n" if form == "markdown" else "") + forecast.remark())


def _forecast(arguments: argparse.Namespace, progress: Progress) -> Forecast:
    from offshelf.data.tables.image_table import list_images
    from offshelf.jobs.extract.forecast import forecast
    from offshelf.progress import note_all

    table = list_images([arguments.data])
    note_all(progress, table.warnings)
    return forecast(
        table.paths,
        shared_options.feature_settings(arguments),
        arguments.layer,
        arguments.pooling,
        shared_options.run_settings(arguments),
        progress=progress,
    )
