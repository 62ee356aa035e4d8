"""``offshelf filters``: the filters of a network's first convolution as pictures."""

from __future__ import annotations

import argparse
import dataclasses

from offshelf.cli import console, options, pictures

SUMMARY = "draw the filters of a network's first convolution"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("backbone", metavar="BACKBONE", help="a name of 'offshelf backbones'")
    options.add_weights(parser)
    pictures.add_out(parser, "BACKBONE-filters.png")
    pictures.add_channels(parser, "64")
    pictures.add_scale(parser)
    options.add_cache(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.engine.contract import EngineOptions
    from offshelf.jobs.setup.settings import FeatureSettings, RunSettings
    from offshelf.jobs.visualise.first_filters import first_filters

    pictures.check_out(arguments)
    look = pictures.look(arguments)
    features = FeatureSettings(
        arguments.backbone, weights=arguments.weights, download=not arguments.no_download
    )
    engine = dataclasses.replace(EngineOptions(), cache_dir=arguments.cache_dir)
    with console.progress(arguments.quiet) as progress:
        result = first_filters(
            features,
            choice=pictures.choice(arguments, 64),
            run=RunSettings(engine=engine),
            progress=progress,
        )
    written = result.write(arguments.out, look)
    if arguments.json:
        console.print_json(result.to_json() | {"out": str(written)})
    else:
        console.say(str(result))
        pictures.say_written([written])
    return 0
