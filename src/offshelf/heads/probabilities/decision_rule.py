"""Decision rules: from the probabilities of an image to the class that it is called.

Without a rule an image is called what scores highest. A rule is for mistakes that do not all cost
the same: it decides by their expected cost, or from which probability on a class is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from offshelf.data.tables.cost_table import MOST_COST
from offshelf.errors import DataError
from offshelf.text import shown

Matrix = NDArray[np.float64]
# Of figures that differ by less than rounding, the more probable class decides.
_ROUNDING = 1e-12
_LISTED = 5


class DecisionRule(Protocol):
    """What decides which class an image is called."""

    @property
    def kind(self) -> str:
        """``costs`` or ``thresholds``."""

    @property
    def n_classes(self) -> int:
        """How many classes it chooses from, K."""

    def decide(self, probabilities: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class index of each of N images, of N x K probabilities.

        The answer to an image never depends on the others.
        """

    def sentence(self, classes: Sequence[str]) -> str:
        """Return the rule on one line, for the K names of the classes."""

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`rule_from_json` reads."""


@dataclass(frozen=True)
class MistakeCosts:
    """The least expected cost decides.

    With probabilities p the class j costs ``sum over i of p[i] * costs[i][j]``, and the cheapest is
    decided; of classes that cost the same the most probable, then the first. Elkan, "The
    foundations of cost-sensitive learning", IJCAI 2001, 973-978, section 1.

    Attributes:
        costs: K rows of K numbers, 0 to 1e9: row i, column j is the cost of calling an image of
            class i class j; 0 for i = j.

    Raises:
        DataError: they are something else.

    >>> rule = MistakeCosts(((0, 20), (1, 0)))
    >>> rule.decide(np.array([[0.04, 0.96], [0.05, 0.95]])).tolist()
    [1, 0]
    """

    costs: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for true, row in enumerate(self.costs):
            if len(row) != len(self.costs):
                raise DataError(
                    f"costs must be as many columns as rows, not {len(row)} of {len(self.costs)}"
                )
            for decided, cost in enumerate(row):
                if not is_cost(cost):
                    raise DataError(f"a cost is a number from 0 to {MOST_COST:,.0f}, not {cost!r}")
                if true == decided and cost != 0:
                    raise DataError(f"the right decision costs 0, not {cost!r}")
        if len(self.costs) < 2:
            raise DataError("costs must be of two classes or more")

    @property
    def kind(self) -> str:
        """Always ``costs``."""
        return "costs"

    @property
    def n_classes(self) -> int:
        """How many classes it chooses from, K."""
        return len(self.costs)

    def expected(self, probabilities: NDArray[Any]) -> Matrix:
        """Return what each decision is expected to cost, N x K float64.

        >>> MistakeCosts(((0, 20), (1, 0))).expected(np.array([[0.25, 0.75]])).tolist()
        [[0.75, 5.0]]
        """
        matrix = _checked(probabilities, self.n_classes)
        found = np.zeros(matrix.shape)
        # Class by class, in order: a product of matrices rounds differently for more images.
        for true, row in enumerate(np.array(self.costs, np.float64)):
            found += matrix[:, true, None] * row
        return found

    def decide(self, probabilities: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class index of each of N images, of N x K probabilities."""
        expected = self.expected(probabilities)
        least = expected.min(axis=1, keepdims=True)
        return _most_probable(probabilities, expected <= least * (1 + _ROUNDING))

    def sentence(self, classes: Sequence[str]) -> str:
        """Return the rule on one line.

        >>> MistakeCosts(((0, 19), (1, 0))).sentence(["ill", "well"])
        "the least expected cost of mistakes, 1 to 19 each: 'ill' above a probability of 5 %"
        """
        every = [cost for i, row in enumerate(self.costs) for j, cost in enumerate(row) if i != j]
        low, high = min(every), max(every)
        each = f"{high:g}" if low == high else f"{low:g} to {high:g}"
        text = f"the least expected cost of mistakes, {each} each"
        if self.n_classes != 2 or not sum(every):
            return text
        missed, alarm = self.costs[0][1], self.costs[1][0]
        first, share = (0, alarm) if missed >= alarm else (1, missed)
        point = _percent(share / (missed + alarm))
        return f"{text}: '{shown(classes[first])}' above a probability of {point}"

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`rule_from_json` reads."""
        return {"kind": self.kind, "costs": [list(row) for row in self.costs]}


@dataclass(frozen=True)
class ClassThresholds:
    """Classes are called from a probability on.

    Of the classes with a threshold whose probability reaches it (is as large or larger), the one
    that is the largest multiple of its threshold is decided. Where none reaches, it is the most
    probable of the classes without a threshold; where all classes have one, the class that comes
    nearest to its own, as a multiple. Of equal ones the more probable is decided, then the first.

    Attributes:
        values: K thresholds, between 0 and 1, None for a class that has none.

    Raises:
        DataError: they are something else, or all None.

    >>> rule = ClassThresholds((0.3, None, None))
    >>> rule.decide(np.array([[0.3, 0.6, 0.1], [0.2, 0.35, 0.45]])).tolist()
    [0, 2]
    """

    values: tuple[float | None, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            if value is not None and not is_threshold(value):
                raise DataError(f"a threshold lies between 0 and 1, such as 0.3, not {value!r}")
        if all(value is None for value in self.values):
            raise DataError("no class has a threshold")

    @property
    def kind(self) -> str:
        """Always ``thresholds``."""
        return "thresholds"

    @property
    def n_classes(self) -> int:
        """How many classes it chooses from, K."""
        return len(self.values)

    def decide(self, probabilities: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class index of each of N images, of N x K probabilities."""
        matrix = _checked(probabilities, self.n_classes)
        known = np.array([value is not None for value in self.values])
        limits = np.array([1.0 if value is None else value for value in self.values])
        with np.errstate(over="ignore"):
            multiples = np.where(known, matrix / limits, -np.inf)
        reached = known & (matrix >= limits)
        hit = reached.any(axis=1, keepdims=True)
        others = ~known if not known.all() else known
        multiples = np.where(np.where(hit, reached, others), multiples, -np.inf)
        most = multiples.max(axis=1, keepdims=True)
        near = multiples >= most * (1 - _ROUNDING)
        return _most_probable(matrix, np.where(hit, reached & near, others & near))

    def sentence(self, classes: Sequence[str]) -> str:
        """Return the rule on one line.

        >>> ClassThresholds((0.3, None)).sentence(["ill", "well"])
        "'ill' from a probability of 30 % on, else the most probable of the others"
        """
        pairs = zip(classes, self.values, strict=True)
        named = [(shown(name), value) for name, value in pairs if value is not None]
        each = [f"'{name}' from {_percent(value)} on" for name, value in named[:_LISTED]]
        each[0] = each[0].replace("' from ", "' from a probability of ", 1)
        more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
        every = "the one nearest to its own" if None not in self.values else ""
        return f"{', '.join(each)}{more}, else {every or 'the most probable of the others'}"

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`rule_from_json` reads."""
        return {"kind": self.kind, "thresholds": list(self.values)}


def decided(
    rule: DecisionRule | None, scores: NDArray[Any], probabilities: Matrix | None
) -> NDArray[np.int64]:
    """Return the class index of each of N images: by the rule, else by the largest score.

    Args:
        rule: what decides, or None.
        scores: N x K.
        probabilities: N x K; a rule needs them.

    Raises:
        DataError: there is a rule and there are no probabilities.

    >>> decided(None, np.array([[0.5, -0.5]]), None).tolist()
    [0]
    """
    if rule is None:
        labels: NDArray[np.int64] = scores.argmax(axis=1).astype(np.int64)
        return labels
    if probabilities is None:
        raise DataError(f"{rule.kind} need probabilities")
    return rule.decide(probabilities)


def is_cost(value: Any) -> bool:
    """Return whether *value* is the cost of a mistake.

    >>> is_cost(0), is_cost(-1), is_cost(float("nan")), is_cost(True)
    (True, False, False, False)
    """
    return type(value) in (int, float) and 0 <= value <= MOST_COST


def is_threshold(value: Any) -> bool:
    """Return whether *value* is a probability that a class can have as its threshold.

    >>> is_threshold(0.3), is_threshold(0), is_threshold(1.0)
    (True, False, False)
    """
    return type(value) is float and 0 < value < 1


def rule_from_json(document: Any, n_classes: int) -> DecisionRule:
    """Return the rule that ``to_json`` wrote, of an untrusted file.

    Raises:
        DataError: it is damaged, or of another number of classes.

    >>> rule_from_json({"kind": "thresholds", "thresholds": [0.3, None]}, 2)
    ClassThresholds(values=(0.3, None))
    >>> rule_from_json({"kind": "oracle"}, 2)
    Traceback (most recent call last):
    ...
    offshelf.errors.DataError: damaged decision rule: need costs or thresholds
    """
    try:
        rule = _from_json(document)
    except DataError as error:
        raise DataError(f"damaged decision rule: {error}") from None
    if rule.n_classes != n_classes:
        raise DataError(
            f"damaged decision rule: it is of {rule.n_classes} classes, the classifier of "
            f"{n_classes}"
        )
    return rule


def _from_json(document: Any) -> DecisionRule:
    values = document if isinstance(document, Mapping) else {}
    kind, given = values.get("kind"), set(values) - {"kind"}
    if kind == "costs" and given == {"costs"}:
        rows = values["costs"]
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise DataError("its costs are no rows of numbers")
        return MistakeCosts(tuple(map(tuple, rows)))
    if kind == "thresholds" and given == {"thresholds"}:
        if not isinstance(values["thresholds"], list):
            raise DataError("its thresholds are no list")
        return ClassThresholds(tuple(values["thresholds"]))
    raise DataError("need costs or thresholds")


def _checked(probabilities: NDArray[Any], n_classes: int) -> Matrix:
    matrix = np.asarray(probabilities, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != n_classes:
        raise DataError(
            f"probabilities must be N x {n_classes}, not {' x '.join(map(str, matrix.shape))}"
        )
    return matrix


def _most_probable(probabilities: NDArray[Any], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the most probable of the allowed classes of each row; of equal ones the first."""
    found: NDArray[np.int64] = np.where(allowed, probabilities, -1.0).argmax(axis=1)
    return found.astype(np.int64)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
