"""How images are decided: by what mistakes cost, by thresholds of classes, or by neither."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offshelf.checks import share
from offshelf.data.folders.class_names import class_number
from offshelf.data.tables.cost_table import read_costs
from offshelf.errors import DataError, HeadError, did_you_mean
from offshelf.heads.probabilities.decision_rule import ClassThresholds, DecisionRule, MistakeCosts
from offshelf.heads.probabilities.probability_model import (
    UNCALIBRATED,
    Certainty,
    ProbabilitySettings,
)
from offshelf.text import listed, shown

_EXAMPLE = "CLASS=PROBABILITY, such as ill=0.3"
RuleOf = Callable[[Sequence[str]], DecisionRule | None]


@dataclass(frozen=True)
class DecisionSettings:
    """What an image is called, in place of the class with the largest score.

    Attributes:
        costs: a CSV file of what mistakes cost; the least expected cost decides.
        thresholds: class -> probability from which on it is called, between 0 and 1; or a text
            as :func:`parsed_thresholds` takes it.

    >>> DecisionSettings(thresholds={"ill": 0.05}).costs is None
    True
    """

    costs: str | Path | None = None
    thresholds: Mapping[str, float] | str | None = None


def parsed_thresholds(text: str) -> dict[str, float]:
    """Return the thresholds that a list such as ``ill=0.3,odd=0.7`` names.

    A name with a comma stands in double quotes with its threshold: ``"a,b=0.3"``.

    Raises:
        DataError: a part is no such pair, a threshold is no probability, or a class stands twice.

    >>> parsed_thresholds("ill=0.3, odd=0.7")
    {'ill': 0.3, 'odd': 0.7}
    """
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a line break
        parts = text.split(",")
    found: dict[str, float] = {}
    for part in parts or [""]:
        name, _, value = (word.strip() for word in part.rpartition("="))
        if not name:
            raise DataError(f"thresholds: need {_EXAMPLE}, not {shown(part)!r}")
        if name in found:
            raise DataError(f"thresholds: '{shown(name)}' has two; keep one of them")
        try:
            found[name] = float(value)
        except ValueError:
            raise DataError(
                f"thresholds: of '{shown(name)}', '{shown(value)}' is no number"
            ) from None
    return found


def rule_of(settings: DecisionSettings | None, probability: ProbabilitySettings) -> RuleOf:
    """Return what makes the rule for the names of classes, after checks of all that can be.

    Raises:
        DataError: both are given, the file cannot be used, or a threshold is no probability.
        HeadError: there are to be no probabilities to decide on.

    >>> probability = ProbabilitySettings()
    >>> make = rule_of(DecisionSettings(thresholds={"ill": 0.3}), probability)
    >>> make(["ill", "well"])
    ClassThresholds(values=(0.3, None))
    >>> rule_of(None, probability)(["ill", "well"]) is None
    True
    """
    settings = settings or DecisionSettings()
    costs, thresholds = settings.costs, settings.thresholds
    if costs is None and thresholds is None:
        return lambda _: None
    if costs is not None and thresholds is not None:
        raise DataError("costs and thresholds: each decides by itself; give one of them")
    if probability.calibrate == "none":
        what = "costs" if thresholds is None else "thresholds"
        raise HeadError(f"{what} need probabilities: calibrate by temperature or sigmoid, not none")
    if thresholds is None:
        if not isinstance(costs, str | os.PathLike):
            raise DataError(f"costs: need the name of a CSV file, not {type(costs).__name__}")
        table = read_costs(costs)
        return lambda classes: MistakeCosts(table.matrix(classes))
    values = _checked(thresholds)
    return lambda classes: _thresholds(values, classes)


def _checked(thresholds: Any) -> dict[str, float]:
    if isinstance(thresholds, str):
        thresholds = parsed_thresholds(thresholds)
    if not isinstance(thresholds, Mapping) or not thresholds:
        told = "none" if isinstance(thresholds, Mapping) else type(thresholds).__name__
        raise DataError(f"thresholds: need {_EXAMPLE}, not {told}")
    pairs = ((str(name), one) for name, one in thresholds.items())
    return {name: share(f"the threshold of '{shown(name)}'", one) for name, one in pairs}


def _thresholds(values: Mapping[str, float], classes: Sequence[str]) -> ClassThresholds:
    found: dict[int, str] = {}
    for name in values:
        number = class_number(name, classes)
        if number is None:
            hint = did_you_mean(name, classes)
            raise DataError(
                f"thresholds: '{shown(name)}' is none of the classes {listed(classes)}.{hint}"
            )
        other = found.setdefault(number, name)
        if other != name:
            raise DataError(f"thresholds: '{shown(other)}' and '{shown(name)}' are one class")
    known = {number: values[name] for number, name in found.items()}
    return ClassThresholds(tuple(known.get(number) for number in range(len(classes))))


def check_decidable(rule: DecisionRule | None, certainty: Certainty) -> None:
    """Refuse a rule where training gave no probabilities.

    Raises:
        HeadError: there are none.
    """
    if rule is not None and certainty.calibration is None:
        told = [note for note in certainty.notes if note.startswith(UNCALIBRATED)]
        why = next(iter(told), UNCALIBRATED).removeprefix(UNCALIBRATED) or "there are none"
        raise HeadError(f"{rule.kind} need probabilities: {shown(why)}")
