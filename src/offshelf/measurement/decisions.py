"""Two decisions on the same images: the most probable class, and that of a rule."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.checks import class_indices, same_length
from offshelf.heads.probabilities.decision_rule import DecisionRule, MistakeCosts
from offshelf.measurement.metrics import Evaluation, evaluate

_SAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an image costs on average, decided in several ways.

    Attributes:
        most_probable: where it is called the most probable class.
        decided: where the rule decides.
        saved: the first minus the second.
        interval: of that, 95 %: by bootstrap over the images.
        always: where every image is called one class, the one with which that costs least: what a
            classifier has to do better than.
        always_class: the name of that class.
    """

    most_probable: float
    decided: float
    saved: float
    interval: tuple[float, float]
    always: float
    always_class: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self) | {"interval": list(self.interval)}


@dataclass(frozen=True, kw_only=True)
class ChangedClass:
    """A class whose recall or precision differs between the two. All shares are from 0 to 1.

    Attributes:
        name: of the class.
        n: images of it.
        recall: of the most probable class, and of the rule's.
        precision: of both in the same order.
    """

    name: str
    n: int
    recall: tuple[float, float]
    precision: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, each decision with its own."""
        both = zip(("most_probable", "decided"), self.recall, self.precision, strict=True)
        figures = {way: {"recall": r, "precision": p} for way, r, p in both}
        return {"name": self.name, "n": self.n, **figures}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decisions(Brief):
    """What a rule changes on a test set.

    Attributes:
        rule: what decides.
        most_probable: figures where each image is called its most probable class.
        decided: figures of the rule.
        changed: how many images the rule calls another class than the most probable.
        cost: of an image; None for a rule that knows no costs.
    """

    rule: DecisionRule
    most_probable: Evaluation
    decided: Evaluation
    changed: int
    cost: Cost | None

    @property
    def classes(self) -> tuple[ChangedClass, ...]:
        """The classes whose recall or precision differs, those with the most change first."""
        pairs = zip(self.most_probable.per_class, self.decided.per_class, strict=True)
        found = [
            ChangedClass(
                name=one.name,
                n=one.n,
                recall=(one.recall, two.recall),
                precision=(one.precision, two.precision),
            )
            for one, two in pairs
            if (one.recall, one.precision) != (two.recall, two.precision)
        ]
        return tuple(sorted(found, key=lambda row: -abs(row.recall[1] - row.recall[0])))

    def to_json(self) -> dict[str, Any]:
        """Return both decisions as JSON values, without their confusions."""
        return {
            "rule": self.rule.to_json(),
            "sentence": self.rule.sentence(self.decided.classes),
            **self.figures(),
            "changed_classes": [row.to_json() for row in self.classes],
        }

    def figures(self) -> dict[str, Any]:
        """Return the figures of all classes together as JSON values."""
        return {
            "changed": self.changed,
            "most_probable": _figures(self.most_probable),
            "decided": _figures(self.decided),
            "mean_cost": self.cost.to_json() if self.cost else None,
        }


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "accuracy": evaluation.accuracy,
        "accuracy_interval": list(evaluation.accuracy_interval),
        "balanced_accuracy": evaluation.balanced_accuracy,
    }


def decisions(
    rule: DecisionRule,
    targets: NDArray[np.int64],
    most_probable: NDArray[np.int64],
    decided: NDArray[np.int64],
    classes: tuple[str, ...],
) -> Decisions:
    """Compare what a rule decided with the most probable classes.

    Args:
        rule: what decided.
        targets: N true class indices, N >= 1.
        most_probable: N class indices.
        decided: N class indices.
        classes: K class names.

    Raises:
        DataError: no images, lists of different lengths, or an index that belongs to no class.

    >>> rule = MistakeCosts(((0, 20), (1, 0)))
    >>> one, two = np.array([1, 1, 1]), np.array([0, 1, 0])
    >>> found = decisions(rule, np.array([0, 1, 1]), one, two, ("ill", "well"))
    >>> found.changed, round(found.cost.most_probable, 2), round(found.cost.decided, 2)
    (2, 6.67, 0.33)
    """
    every = [
        class_indices("labels", one, len(classes)) for one in (targets, most_probable, decided)
    ]
    for labels in every[1:]:
        same_length("targets", len(every[0]), "labels", len(labels))
    truth, first, second = every
    return Decisions(
        rule=rule,
        most_probable=evaluate(truth, first, classes),
        decided=evaluate(truth, second, classes),
        changed=int((first != second).sum()),
        cost=_cost(rule, every, classes) if isinstance(rule, MistakeCosts) else None,
    )


def _cost(rule: MistakeCosts, labels: list[NDArray[np.int64]], classes: tuple[str, ...]) -> Cost:
    truth, first, second = labels
    costs = np.array(rule.costs, np.float64)
    before, after = costs[truth, first], costs[truth, second]
    always = costs[truth].mean(axis=0)
    values, counts = np.unique(before - after, return_counts=True)
    n = len(truth)
    # Images of one saving are drawn together: the same as image by image, with replacement.
    draws = np.random.default_rng(0).multinomial(n, counts / n, size=_SAMPLES)
    low, high = np.quantile(draws @ values / n, (0.025, 0.975))
    return Cost(
        most_probable=float(before.mean()),
        decided=float(after.mean()),
        saved=float((before - after).mean()),
        interval=(float(low), float(high)),
        always=float(always.min()),
        always_class=classes[int(always.argmin())],
    )
