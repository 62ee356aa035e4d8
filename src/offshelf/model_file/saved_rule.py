"""The decision rule of a model in its file, which is untrusted until checked."""

from __future__ import annotations

from typing import Any

from offshelf.errors import DataError, ModelFileError
from offshelf.heads.head import FittedHead
from offshelf.heads.probabilities.decision_rule import DecisionRule, rule_from_json
from offshelf.heads.probabilities.probability_model import Certainty


def read_rule(document: Any, head: FittedHead, certainty: Certainty) -> DecisionRule | None:
    """Return the rule that a manifest states; None where it states none.

    Raises:
        ModelFileError: it is damaged, there are no probabilities for it, or several labels.
    """
    if document is None:
        return None
    try:
        rule = rule_from_json(document, len(head.classes))
    except DataError as error:
        raise ModelFileError(str(error)) from error
    if head.decisions is not None:
        raise ModelFileError("a decision rule of one label in a model of several")
    if certainty.calibration is None:
        raise ModelFileError("a decision rule without a calibration: it needs probabilities")
    return rule
