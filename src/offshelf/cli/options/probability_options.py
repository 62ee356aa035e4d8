"""Options of calibration and rejection."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offshelf.heads.probabilities.fit_probabilities import ProbabilitySettings


def add_probabilities(parser: argparse.ArgumentParser) -> None:
    """Add how scores become probabilities, and which images are unknown."""
    group = parser.add_argument_group("probabilities")
    group.add_argument(
        "--calibrate",
        default="temperature",
        metavar="HOW",
        help="temperature (labels never change), sigmoid (a curve per class) or none, fitted on "
        "training images that are held out in turn (%(default)s)",
    )
    group.add_argument(
        "--reject",
        type=float,
        metavar="RATE",
        help="reject images as unknown, at this false-rejection rate on training images, for "
        "example 0.05 (default: no image is rejected)",
    )
    group.add_argument(
        "--reject-by",
        default="confidence",
        metavar="WHAT",
        help="confidence (the largest probability) or centroid_distance (to the nearest class) "
        "(%(default)s)",
    )


def probability_settings(arguments: argparse.Namespace) -> ProbabilitySettings:
    """Return what the options ask for."""
    from offshelf.heads.probabilities.fit_probabilities import ProbabilitySettings

    return ProbabilitySettings(arguments.calibrate, arguments.reject, arguments.reject_by)
