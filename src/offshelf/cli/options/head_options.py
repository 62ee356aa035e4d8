"""Options of the classifier, its calibration and rejection."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from offshelf.cli.options.shared_options import add_word
from offshelf.cli.terminal.parser import strength
from offshelf.heads.kinds.registry import names_and_sizes

if TYPE_CHECKING:
    from offshelf.heads.probabilities.decision_settings import DecisionSettings
    from offshelf.heads.probabilities.probability_model import ProbabilitySettings
    from offshelf.jobs.setup.settings import HeadSettings


def add_head(parser: argparse.ArgumentParser) -> None:
    """Add which classifier."""
    head = parser.add_argument_group("classifier")
    add_word(head, "--head", default="svm", text=names_and_sizes())
    head.add_argument(
        "--C",
        dest="c",
        type=strength,
        default=1.0,
        metavar="X",
        help="inverse strength of the regularisation, or auto: the best of seven by "
        "cross-validation on the training images, and beyond them while that is better "
        "(%(default)s)",
    )
    text = "normalisation of the features: l2, none, standard or sqrt"
    add_word(head, "--normalisation", default="l2", text=text)
    text = "reduction of the dimensions: none, pca:N, whiten:N or random:N"
    add_word(head, "--reduction", default="none", text=text)
    head.add_argument(
        "--class-weight",
        choices=("none", "balanced"),
        default="none",
        help="balanced gives classes of few images the weight of the others (%(default)s)",
    )


def head_settings(arguments: argparse.Namespace) -> HeadSettings:
    """Return the classifier that the options ask for."""
    from offshelf.jobs.setup.settings import HeadSettings

    return HeadSettings(
        arguments.head,
        c=arguments.c,
        normalisation=arguments.normalisation,
        reduction=arguments.reduction,
        class_weight=None if arguments.class_weight == "none" else arguments.class_weight,
    )


def add_probabilities(parser: argparse.ArgumentParser) -> None:
    """Add how scores become probabilities, and which images are unknown."""
    group = parser.add_argument_group("probabilities")
    text = (
        "temperature (labels never change), sigmoid (a curve per class) or none, fitted on "
        "training images that are held out in turn"
    )
    add_word(group, "--calibrate", default="temperature", metavar="HOW", text=text)
    group.add_argument(
        "--reject",
        type=float,
        metavar="RATE",
        help="reject images as unknown, at this false-rejection rate on training images, for "
        "example 0.05 (default: no image is rejected)",
    )
    text = (
        "confidence (the largest probability), centroid_distance (to the nearest class), "
        "neighbour_distance (to the nearest training image), covariance_distance (to the nearest "
        "class, in units of the covariance) or auto, the one that tells held-out classes best"
    )
    add_word(group, "--reject-by", default="auto", metavar="WHAT", text=text)


def add_decision(parser: argparse.ArgumentParser) -> None:
    """Add what decides the label in place of the largest score."""
    group = parser.add_argument_group("decision")
    group.add_argument(
        "--costs",
        metavar="FILE",
        help="decide by the least expected cost of mistakes: a CSV file, class by class (a row for "
        "each true class, a column for each decided one) or with the columns true, decided and "
        "cost, of which pairs that are not named cost 1",
    )
    group.add_argument(
        "--thresholds",
        metavar="LIST",
        help="call an image a class from a probability on, CLASS=0.3[,CLASS=0.7]: of the classes "
        "that reach their own, the one that is the largest multiple of it; where none does, the "
        "most probable of the others",
    )


def decision_settings(arguments: argparse.Namespace) -> DecisionSettings:
    """Return how the options decide.

    Raises:
        OffshelfError: the thresholds are no list of classes with probabilities.
    """
    from offshelf.heads.probabilities.decision_settings import DecisionSettings, parsed_thresholds

    given = arguments.thresholds
    thresholds = None if given is None else parsed_thresholds(given)
    return DecisionSettings(arguments.costs, thresholds)


def probability_settings(arguments: argparse.Namespace) -> ProbabilitySettings:
    """Return what the options ask for."""
    from offshelf.heads.probabilities.probability_model import ProbabilitySettings

    return ProbabilitySettings(arguments.calibrate, arguments.reject, arguments.reject_by)
