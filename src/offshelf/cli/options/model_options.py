"""Options of commands that use a model file, and those they lack as the file decides them."""

from __future__ import annotations

import argparse

from offshelf.cli.terminal.parser import Parser

_CLASSIFIER = "the model file holds a classifier that is trained"
_PROBABILITIES = "the model file holds what its probabilities are made with"
_REJECTION = "the model file says which images are rejected"
_FEATURES = "the model file names its features"
_DECISION = "the model file holds what decides; train it again with 'offshelf fit --costs'"
# Of the options of fit.
DECIDED_BY_THE_MODEL = {
    "--backbone": "the model file names its network",
    "--weights": "the model file names its weights",
    "--no-download": "the weights of a model are never downloaded",
    "--layer": "the model file says which layer is taken",
    "--features": _FEATURES,
    "--flips": "the model file says where mirror images are used",
    "--input-size": "the model file says at which size its network runs",
    "--pooling": "the model file says how the layer is pooled",
    "--resize": "the model file says how images are resized",
    "--grey": "the model file says what becomes of grey and colour",
    "--decode": "the model file says how images are decoded",
    "--precision": "the model file says in which precision its network runs",
    "--head": _CLASSIFIER,
    "--C": _CLASSIFIER,
    "--normalisation": _CLASSIFIER,
    "--reduction": _CLASSIFIER,
    "--class-weight": _CLASSIFIER,
    "--groups": _CLASSIFIER,
    "--calibrate": _PROBABILITIES,
    "--costs": _DECISION,
    "--thresholds": _DECISION,
    "--reject": _REJECTION,
    "--reject-by": _REJECTION,
}
_SHORT = {"-b": "--backbone", "-l": "--layer"}


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model file; an option that it decides is answered with that."""
    parser.add_argument("model", metavar="MODEL", help="a model file (.offshelf)")
    if isinstance(parser, Parser):
        short = {one: DECIDED_BY_THE_MODEL[long] for one, long in _SHORT.items()}
        parser.decided = DECIDED_BY_THE_MODEL | short


def add_model_weights(parser: argparse.ArgumentParser) -> None:
    """Add where the weights of a finished model are; no other file is ever taken."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="the weights file that the model was trained on, where it is in none of the usual "
        "places; it is checked against the model, and never downloaded",
    )
