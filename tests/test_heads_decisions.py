"""Decision rules: expected costs and thresholds on probabilities, and what files may hold."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from offshelf.heads.probabilities.decision_rule import (
    ClassThresholds,
    DecisionRule,
    MistakeCosts,
    rule_from_json,
)
from refusals import refused

SCREENING = MistakeCosts(((0.0, 20.0), (1.0, 0.0)))
THREE = MistakeCosts(((0.0, 1.0, 10.0), (2.0, 0.0, 3.0), (0.5, 4.0, 0.0)))


def drawn(n: int, k: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.5), size=n)


def cheapest(costs: tuple[tuple[float, ...], ...], probabilities: NDArray[np.float64]) -> int:
    """The decision by exact arithmetic; of equal ones the more probable, then the first."""
    exact, known = [Fraction(float(p)) for p in probabilities], range(len(costs))
    totals = [sum(exact[i] * Fraction(costs[i][j]) for i in known) for j in known]
    return min(known, key=lambda j: (totals[j], -exact[j], j))


def test_expected_costs_by_hand() -> None:
    # Half of row 0, three tenths of row 1 and two of row 2.
    found = THREE.expected(np.array([[0.5, 0.3, 0.2]]))
    np.testing.assert_allclose(found, [[0.7, 1.3, 5.9]], rtol=1e-15)
    assert THREE.decide(np.array([[0.5, 0.3, 0.2]])).tolist() == [0]
    # The least probable class costs 1.2, class 1 costs 1.7 and class 2 costs 2.5.
    assert THREE.decide(np.array([[0.1, 0.5, 0.4]])).tolist() == [0]


def test_two_classes_are_decided_at_elkans_threshold() -> None:
    """C10 / (C10 + C01) = 1 / 21, equation (2) of Elkan 2001."""
    point = 1 / 21
    ill = np.array([point * 0.999, point * 1.001, 0.0, 1.0])
    found = SCREENING.decide(np.column_stack([ill, 1 - ill]))
    assert found.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("k", [2, 3, 7])
def test_the_decision_is_that_of_every_sum_written_out(k: int) -> None:
    draw = np.random.default_rng(k)
    for _ in range(20):
        matrix = draw.choice([0.25, 1, 2, 20, 1000], size=(k, k)) * (1 - np.eye(k))
        rule = MistakeCosts(tuple(map(tuple, matrix.tolist())))
        rows = drawn(50, k, int(draw.integers(1000)))
        expected = [cheapest(rule.costs, row) for row in rows]
        assert rule.decide(rows).tolist() == expected


def test_equal_costs_decide_the_most_probable_class() -> None:
    for k in (2, 5, 40):
        rule = MistakeCosts(tuple(tuple(float(i != j) for j in range(k)) for i in range(k)))
        rows = drawn(400, k)
        assert rule.decide(rows).tolist() == rows.argmax(axis=1).tolist()
        # Equal probabilities, and such that differ by rounding alone.
        rows = np.full((1, k), 1 / k)
        assert rule.decide(rows).tolist() == [0]
    near = np.array([[0.1 + 0.2, 0.3, 0.4 - 4e-17]])
    rule = MistakeCosts(((0, 1, 1), (1, 0, 1), (1, 1, 0)))
    assert rule.decide(near).tolist() == [2]


def test_of_equal_costs_the_more_probable_class_is_decided() -> None:
    # 0.25 * 3 = 0.75 * 1
    rule = MistakeCosts(((0, 3), (1, 0)))
    assert rule.decide(np.array([[0.25, 0.75]])).tolist() == [1]
    # Mistakes between 0 and 1 cost nothing.
    rule = MistakeCosts(((0, 0, 1), (0, 0, 1), (1, 1, 0)))
    assert rule.decide(np.array([[0.2, 0.35, 0.45], [0.4, 0.4, 0.2]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("values", "row", "decided"),
    [
        ((0.3, None), (0.3, 0.7), 0),
        ((0.3, None), (0.29, 0.71), 1),
        ((0.9, None), (0.89, 0.11), 1),
        ((0.9, None), (0.9, 0.1), 0),
        # Several reach: the largest multiple, 0.4 / 0.3 against 0.6 / 0.5.
        ((0.3, 0.5), (0.4, 0.6), 0),
        ((0.3, 0.5), (0.3, 0.7), 1),
        # Equal multiples: the more probable.
        ((0.25, 0.5, None), (0.3, 0.6, 0.1), 1),
        ((0.2, 0.2, 0.2), (0.3, 0.3, 0.4), 2),
        ((0.2, 0.2, None), (0.3, 0.3, 0.4), 0),
        # None reaches: the most probable of those without one, however probable the others.
        ((0.5, 0.7, None, None), (0.2, 0.6, 0.05, 0.15), 3),
        ((0.9, None, None), (0.4, 0.3, 0.3), 1),
        # None reaches and all have one: nearest to its own.
        ((0.8, 0.9), (0.5, 0.5), 0),
        ((0.5, 0.9), (0.45, 0.55), 0),
        ((0.99, 0.5, 0.5), (0.6, 0.25, 0.15), 0),
        ((1e-320, 0.5), (0.0, 1.0), 1),
        ((1e-320, 0.5), (1e-9, 1.0), 0),
    ],
)
def test_thresholds(values: Any, row: Any, decided: int) -> None:
    assert ClassThresholds(values).decide(np.array([row])).tolist() == [decided]


def test_thresholds_are_their_definition_written_out() -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        k = int(draw.integers(2, 6))
        drawn_values = draw.uniform(0.05, 0.95, k).tolist()
        values = [value if draw.random() < 0.6 else None for value in drawn_values]
        if not any(values):
            continue
        rows = drawn(30, k, int(draw.integers(1000)))
        found = ClassThresholds(tuple(values)).decide(rows)
        for row, decided in zip(rows, found.tolist(), strict=True):
            known = [j for j in range(k) if values[j] is not None]
            reached = [j for j in known if row[j] >= values[j]]
            free = [j for j in range(k) if values[j] is None]
            if reached or not free:
                expected = max(reached or known, key=lambda j: (row[j] / values[j], row[j]))
            else:
                expected = max(free, key=lambda j: row[j])
            assert decided == expected


@pytest.mark.parametrize("rule", [THREE, ClassThresholds((0.2, None, 0.5))])
def test_an_image_is_decided_alone_as_in_company(rule: DecisionRule) -> None:
    rows = drawn(997, 3)
    together = rule.decide(rows)
    alone = np.concatenate([rule.decide(row[None]) for row in rows])
    assert (together == alone).all()
    assert rule.decide(rows[::-1]).tolist() == together[::-1].tolist()
    if isinstance(rule, MistakeCosts):
        single = np.concatenate([rule.expected(row[None]) for row in rows])
        assert (rule.expected(rows).view(np.uint64) == single.view(np.uint64)).all()
    assert rule.decide(np.empty((0, 3))).tolist() == []


@pytest.mark.parametrize("rule", [SCREENING, THREE, ClassThresholds((0.3, None))])
def test_rules_survive_a_file(rule: DecisionRule) -> None:
    assert rule_from_json(json.loads(json.dumps(rule.to_json())), rule.n_classes) == rule


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (
            SCREENING,
            "the least expected cost of mistakes, 1 to 20 each: 'a' above a probability of 4.76 %",
        ),
        (
            MistakeCosts(((0, 1), (4, 0))),
            "the least expected cost of mistakes, 1 to 4 each: 'b' above a probability of 20 %",
        ),
        (THREE, "the least expected cost of mistakes, 0.5 to 10 each"),
        (
            MistakeCosts(((0, 2, 2), (2, 0, 2), (2, 2, 0))),
            "the least expected cost of mistakes, 2 each",
        ),
        (
            ClassThresholds((0.3, None, 0.755)),
            "'a' from a probability of 30 % on, 'c' from 75.5 % on, else the most probable of the "
            "others",
        ),
        (
            ClassThresholds((0.3, 0.7)),
            "'a' from a probability of 30 % on, 'b' from 70 % on, else the one nearest to its own",
        ),
        (
            ClassThresholds((0.1,) * 7),
            "'a' from a probability of 10 % on, 'b' from 10 % on, 'c' from 10 % on, 'd' from 10 % "
            "on, 'e' from 10 % on and 2 more, else the one nearest to its own",
        ),
    ],
)
def test_a_rule_says_itself(rule: DecisionRule, text: str) -> None:
    assert rule.sentence("abcdefg"[: rule.n_classes]) == text


DAMAGED = "damaged decision rule: "


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "need costs or thresholds"),
        ([], "need costs or thresholds"),
        ({}, "need costs or thresholds"),
        ({"kind": ["costs"], "costs": []}, "need costs or thresholds"),
        ({"kind": "costs"}, "need costs or thresholds"),
        ({"kind": "costs", "costs": [[0, 1], [1, 0]], "more": 1}, "need costs or thresholds"),
        ({"kind": "costs", "costs": "ab"}, "its costs are no rows of numbers"),
        ({"kind": "costs", "costs": [0, 1]}, "its costs are no rows of numbers"),
        ({"kind": "costs", "costs": []}, "costs must be of two classes or more"),
        ({"kind": "costs", "costs": [[0]]}, "costs must be of two classes or more"),
        (
            {"kind": "costs", "costs": [[0, 1, 1], [1, 0, 1]]},
            "costs must be as many columns as rows, not 3 of 2",
        ),
        (
            {"kind": "costs", "costs": [[0, -1], [1, 0]]},
            "a cost is a number from 0 to 1,000,000,000, not -1",
        ),
        (
            {"kind": "costs", "costs": [[0, "1"], [1, 0]]},
            "a cost is a number from 0 to 1,000,000,000, not '1'",
        ),
        (
            {"kind": "costs", "costs": [[0, True], [1, 0]]},
            "a cost is a number from 0 to 1,000,000,000, not True",
        ),
        (
            {"kind": "costs", "costs": [[0, float("nan")], [1, 0]]},
            "a cost is a number from 0 to 1,000,000,000, not nan",
        ),
        (
            {"kind": "costs", "costs": [[0, float("inf")], [1, 0]]},
            "a cost is a number from 0 to 1,000,000,000, not inf",
        ),
        ({"kind": "costs", "costs": [[0, 1], [1, 2]]}, "the right decision costs 0, not 2"),
        (
            {"kind": "costs", "costs": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]},
            "it is of 3 classes, the classifier of 2",
        ),
        ({"kind": "thresholds", "thresholds": {"a": 0.3}}, "its thresholds are no list"),
        ({"kind": "thresholds", "thresholds": [None, None]}, "no class has a threshold"),
        ({"kind": "thresholds", "thresholds": []}, "no class has a threshold"),
        (
            {"kind": "thresholds", "thresholds": [0.3, 1]},
            "a threshold lies between 0 and 1, such as 0.3, not 1",
        ),
        (
            {"kind": "thresholds", "thresholds": [0.0, None]},
            "a threshold lies between 0 and 1, such as 0.3, not 0.0",
        ),
        (
            {"kind": "thresholds", "thresholds": [float("nan"), None]},
            "a threshold lies between 0 and 1, such as 0.3, not nan",
        ),
        ({"kind": "thresholds", "thresholds": [0.3]}, "it is of 1 classes, the classifier of 2"),
    ],
)
def test_a_damaged_rule_is_refused_in_one_line(document: Any, text: str) -> None:
    assert refused(lambda: rule_from_json(document, 2)) == DAMAGED + text


def test_a_number_of_many_digits_is_no_cost() -> None:
    text = refused(lambda: MistakeCosts(((0, 10**400), (1, 0))))
    assert text.startswith("a cost is a number from 0 to 1,000,000,000, not 1000")


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 2, 2)])
def test_probabilities_of_other_classes_are_refused(shape: tuple[int, ...]) -> None:
    words = " x ".join(map(str, shape))
    for rule in (SCREENING, ClassThresholds((0.3, None))):
        text = refused(lambda rule=rule: rule.decide(np.zeros(shape)))  # type: ignore[misc]
        assert text == f"probabilities must be N x 2, not {words}"


def test_rules_are_values() -> None:
    assert len({SCREENING, MistakeCosts(((0.0, 20.0), (1.0, 0.0))), THREE}) == 2
    pairs = itertools.permutations([SCREENING, THREE, ClassThresholds((0.3, None))], 2)
    assert all(first != second for first, second in pairs)
