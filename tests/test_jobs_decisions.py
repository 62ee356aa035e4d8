"""Costs of mistakes and thresholds: how a job takes them, and what it says of both decisions."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pytest

from offshelf.errors import OffshelfError
from offshelf.functions.values import converted
from offshelf.heads.probabilities.decision_rule import ClassThresholds, MistakeCosts
from offshelf.heads.probabilities.decision_settings import (
    DecisionSettings,
    check_decidable,
    parsed_thresholds,
    rule_of,
)
from offshelf.heads.probabilities.probability_model import Certainty, ProbabilitySettings
from offshelf.measurement.decisions import Decisions, decisions
from offshelf.report.decision_blocks import decision_blocks, decision_facts
from offshelf.report.result import Facts, blocks_text
from refusals import refused

ILL, WELL = 0, 1
SCREENING = MistakeCosts(((0.0, 20.0), (1.0, 0.0)))
CLASSES = ("ill", "well")


def screened() -> Decisions:
    """Of 10 ill and 30 well images: 6 and 30 right by probability, 9 and 20 by cost."""
    targets = np.array([ILL] * 10 + [WELL] * 30)
    probable = np.array([ILL] * 6 + [WELL] * 4 + [WELL] * 30)
    by_cost = np.array([ILL] * 9 + [WELL] + [ILL] * 10 + [WELL] * 20)
    return decisions(SCREENING, targets, probable, by_cost, CLASSES)


def test_figures_of_both_decisions_by_hand() -> None:
    found = screened()
    assert found.changed == 13
    assert (found.most_probable.accuracy, found.decided.accuracy) == (0.9, 0.725)
    cost = found.cost
    assert cost is not None
    # 4 missed of 40; 1 missed and 10 false alarms; 30 false alarms where all are called ill.
    assert (cost.most_probable, cost.decided, cost.saved) == (2.0, 0.75, 1.25)
    assert (cost.always, cost.always_class) == (0.75, "ill")
    low, high = cost.interval
    assert -0.5 < low < 1.25 < high < 3.5
    well, ill = found.classes
    assert (ill.name, ill.n, ill.recall) == ("ill", 10, (0.6, 0.9))
    assert ill.precision == (1.0, 9 / 19)
    assert (well.recall, well.precision) == ((1.0, 2 / 3), (30 / 34, 20 / 21))


def test_the_interval_is_that_of_images_drawn_again() -> None:
    """Image by image, with other draws: the same but for chance."""
    found = screened()
    assert found.cost is not None
    saved = np.array([0.0] * 6 + [20.0] * 3 + [0.0] + [-1.0] * 10 + [0.0] * 20)
    draws = np.random.default_rng(1).choice(saved, size=(20_000, 40)).mean(axis=1)
    np.testing.assert_allclose(found.cost.interval, np.quantile(draws, (0.025, 0.975)), atol=0.08)
    assert screened().cost == found.cost


def test_without_costs_there_is_no_mean_cost() -> None:
    rule, labels = ClassThresholds((0.3, None)), np.array([ILL, WELL])
    found = decisions(rule, labels, labels, labels, CLASSES)
    assert (found.cost, found.changed, found.classes) == (None, 0, ())
    assert blocks_text(decision_blocks(found)).splitlines() == [
        "Two decisions",
        "decided by           accuracy  balanced",
        "-------------------  --------  --------",
        "most probable class  100.00 %  100.00 %",
        "thresholds           100.00 %  100.00 %",
    ]
    assert list(decision_facts(found)) == [
        ("decides", "'ill' from a probability of 30 % on, else the most probable of the others"),
        ("changed", "0 of 2 images called another class than the most probable"),
    ]


def test_both_decisions_are_shown() -> None:
    found = screened()
    assert found.cost is not None
    low, high = found.cost.interval
    text = blocks_text([*decision_blocks(found), Facts(tuple(decision_facts(found)))])
    assert text.splitlines() == [
        "Two decisions",
        "decided by           accuracy  balanced  mean cost",
        "-------------------  --------  --------  ---------",
        "most probable class   90.00 %   80.00 %          2",
        "least expected cost   72.50 %   78.33 %       0.75",
        "",
        "Classes that the costs change",
        "class  images    recall  recall by costs  precision  precision by costs",
        "-----  ------  --------  ---------------  ---------  ------------------",
        "well       30  100.00 %          66.67 %    88.24 %             95.24 %",
        "ill        10   60.00 %          90.00 %   100.00 %             47.37 %",
        "",
        "decides    the least expected cost of mistakes, 1 to 20 each: 'ill' above a probability "
        "of 4.76 %",
        "changed    13 of 40 images called another class than the most probable",
        f"mean cost  0.75 of an image, 2 by the most probable class: saves 1.25 (95 % interval "
        f"{low:.4g} to {high:.4g}); every image called 'ill' costs 0.75",
    ]
    assert not list(decision_blocks(None))
    assert not list(decision_facts(None))


def test_of_many_classes_the_ten_most_changed_are_shown() -> None:
    targets = np.arange(12)
    names = tuple(f"c{number:02}" for number in targets)
    found = decisions(ClassThresholds((0.3,) * 12), targets, targets, np.roll(targets, 1), names)
    table = blocks_text(decision_blocks(found)).rstrip().split("\n\n")[1].splitlines()
    assert len(table) == 14
    assert table[-1] == "... 2 more classes; --json has all"


def test_json_is_plain_values() -> None:
    document = screened().to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["rule"] == {"kind": "costs", "costs": [[0.0, 20.0], [1.0, 0.0]]}
    assert document["changed"] == 13
    assert document["mean_cost"]["decided"] == 0.75
    assert document["changed_classes"][1] == {
        "name": "ill",
        "n": 10,
        "most_probable": {"recall": 0.6, "precision": 1.0},
        "decided": {"recall": 0.9, "precision": 9 / 19},
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ill=0.3", {"ill": 0.3}),
        (" ill = 0.3 , well=.7", {"ill": 0.3, "well": 0.7}),
        ('"a,b=0.3",c=0.5', {"a,b": 0.3, "c": 0.5}),
        ("a=b=0.3", {"a=b": 0.3}),
        ("ill=3e-1", {"ill": 0.3}),
        ("ill\n=0.3", {"ill": 0.3}),
    ],
)
def test_thresholds_are_read(text: str, found: dict[str, float]) -> None:
    assert parsed_thresholds(text) == found


NEED = "thresholds: need CLASS=PROBABILITY, such as ill=0.3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", f"{NEED}, not ''"),
        ("ill", f"{NEED}, not 'ill'"),
        ("ill=0.3,", f"{NEED}, not ''"),
        ("=0.3", f"{NEED}, not '=0.3'"),
        ("ill=0,3", f"{NEED}, not '3'"),
        ("ill=", "thresholds: of 'ill', '' is no number"),
        ("ill=30%", "thresholds: of 'ill', '30%' is no number"),
        ("ill=0.3,ill=0.4", "thresholds: 'ill' has two; keep one of them"),
    ],
)
def test_what_is_no_list_of_thresholds(text: str, said: str) -> None:
    assert refused(lambda: parsed_thresholds(text)) == said


def make(settings: DecisionSettings, classes: tuple[str, ...] = CLASSES) -> Any:
    return rule_of(settings, ProbabilitySettings())(classes)


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"il": 0.3}, "thresholds: 'il' is none of the classes 'ill', 'well'. Did you mean 'ill'?"),
        ({"ill": 0.3, "ILL": 0.4}, "thresholds: 'ill' and 'ILL' are one class"),
        (
            {"ill": 30.0},
            "the threshold of 'ill' is a share between 0 and 1 such as 0.3, not 30.0",
        ),
        ({"ill": 0}, "the threshold of 'ill' is a share between 0 and 1 such as 0.05, not 0"),
        (
            {"ill": float("nan")},
            "the threshold of 'ill' is a share between 0 and 1 such as 0.05, not nan",
        ),
        (
            {"ill": "0.3"},
            "the threshold of 'ill' is a share between 0 and 1 such as 0.05, not '0.3'",
        ),
        ({}, f"{NEED}, not none"),
        ([("ill", 0.3)], f"{NEED}, not list"),
        ("ill", f"{NEED}, not 'ill'"),
    ],
)
def test_thresholds_that_do_not_fit(thresholds: Any, said: str) -> None:
    assert refused(lambda: make(DecisionSettings(thresholds=thresholds))) == said


def test_thresholds_of_classes_in_other_cases() -> None:
    settings = DecisionSettings(thresholds={"Well": 0.25})
    assert make(settings) == make(DecisionSettings(thresholds="Well=0.25"))
    assert make(settings) == ClassThresholds((None, 0.25))
    numbers: Any = {1: 0.25}
    found = make(DecisionSettings(thresholds=numbers), ("0", "1"))
    assert found == ClassThresholds((None, 0.25))


@pytest.mark.parametrize("costs", [np.eye(2), {("ill", "well"): 20}, 5])
def test_costs_are_a_file(costs: Any) -> None:
    said = f"costs: need the name of a CSV file, not {type(costs).__name__}"
    assert refused(lambda: make(DecisionSettings(costs=costs))) == said


def test_a_value_that_is_no_text_is_said_on_one_line() -> None:
    option = argparse.ArgumentParser().add_argument("--costs", metavar="FILE")
    with pytest.raises(OffshelfError) as caught:
        converted("costs", np.eye(2), option)
    assert str(caught.value) == "costs: a text, not array([[1., 0.], [0., 1.]])"
    with pytest.raises(OffshelfError) as caught:
        converted("costs", list(range(1000)), option)
    assert len(str(caught.value)) < 120


def test_costs_and_thresholds_are_either_or() -> None:
    both = DecisionSettings(costs="costs.csv", thresholds={"ill": 0.3})
    said = "costs and thresholds: each decides by itself; give one of them"
    assert refused(lambda: rule_of(both, ProbabilitySettings())) == said


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (DecisionSettings(costs="costs.csv"), "costs"),
        (DecisionSettings(thresholds={"ill": 0.3}), "thresholds"),
    ],
)
def test_a_rule_needs_probabilities(settings: DecisionSettings, what: str) -> None:
    with pytest.raises(OffshelfError) as caught:
        rule_of(settings, ProbabilitySettings("none"))
    expected = f"{what} need probabilities: calibrate by temperature or sigmoid, not none"
    assert str(caught.value) == expected


def test_a_rule_is_refused_where_training_gave_no_probabilities() -> None:
    check_decidable(None, Certainty())
    notes = ("no probabilities: every class has a single training image", "another")
    for certainty, why in (
        (Certainty(notes=notes), "every class has a single training image"),
        (Certainty(notes=("another",)), "there are none"),
    ):
        with pytest.raises(OffshelfError) as caught:
            check_decidable(SCREENING, certainty)
        assert str(caught.value) == f"costs need probabilities: {why}"


def test_in_python_thresholds_are_a_dict_or_a_list() -> None:
    option = argparse.ArgumentParser().add_argument("--thresholds", metavar="LIST")
    for value in ({"a,b": 0.3, "c": np.float64(0.5)}, '"a,b=0.3",c=0.5', ['"a,b=0.3"', "c=0.5"]):
        text = converted("thresholds", value, option)
        assert parsed_thresholds(text) == {"a,b": 0.3, "c": 0.5}
