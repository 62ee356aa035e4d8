"""What a classifier answers: probabilities, the best classes, and how far answers differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.catalogue.imagenet import class_names
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import spelled

NORMAL = "evaluation"
PLAIN = "not normalised"


@dataclass(frozen=True)
class Guess:
    """One class of an answer.

    Attributes:
        label: the name of the class.
        index: its number, 0 to 999.
        probability: softmax of the logits.
        logit: the network's output for it.
    """

    label: str
    index: int
    probability: float
    logit: float


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network says of one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no answer.
        reason: the same in a sentence.
        logits: float32 vectors of 1,000 values, by how the network was run; the proper
            way, ``evaluation``, is always there when the status is ``ok``.
    """

    path: str
    status: str
    reason: str
    logits: Mapping[str, NDArray[np.float32]]

    def best(self, count: int = 5, view: str = NORMAL) -> tuple[Guess, ...]:
        """Return the *count* most probable classes, the best first; () without an answer."""
        if view not in self.logits:
            return ()
        logits, names = self.logits[view], class_names()
        shares = softmax(logits)
        return tuple(
            Guess(names[k], int(k), float(shares[k]), float(logits[k]))
            for k in ranking(logits)[:count]
        )

    def table(self, count: int = 5) -> Table:
        """Return the best classes of every way of running the network, side by side."""
        chosen = dict.fromkeys(int(k) for k in ranking(self.logits[NORMAL])[:count])
        for view, logits in self.logits.items():
            # Of the other ways: all of one, only the first of many.
            chosen |= dict.fromkeys(ranking(logits)[: count if view == PLAIN else 1].tolist())
        shares = {view: softmax(logits) for view, logits in self.logits.items()}
        rows = tuple(_row(k, list(shares.values())) for k in chosen)
        columns = (Column("class"), *(Column(view, "percent") for view in shares))
        return Table(self.path, columns, rows)

    def changes(self) -> tuple[str, ...]:
        """Return one line for each other way of running the network: what it changed."""
        groups: dict[str, list[str]] = {}
        for view in self.logits:
            if view != NORMAL:
                groups.setdefault(view.rstrip(" 123456789"), []).append(view)
        lines = []
        for name, views in groups.items():
            lines.append(f"{name}: {_against(self, views[0])}")
            if len(views) > 1:
                moved = spread(softmax(self.logits[view]) for view in views)
                text = f"differ by up to {format_cell(moved, 'percent')}" if moved else "agree"
                lines[-1] += f"; its {len(views)} passes {text}"
        return tuple(lines)

    def to_json(self, count: int = 5) -> dict[str, Any]:
        """Return the best classes of every way as JSON values."""
        return {
            "path": spelled(self.path),
            "status": self.status,
            "reason": self.reason,
            "top": [dataclasses.asdict(guess) for guess in self.best(count)],
            "views": {
                view: [dataclasses.asdict(guess) for guess in self.best(count, view)]
                for view in self.logits
                if view != NORMAL
            },
            "changes": list(self.changes()),
        }


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities in float64 that sum to one, along the last axis.

    >>> softmax(np.array([1000.0, 1000.0], np.float32))
    array([0.5, 0.5])
    """
    exact = np.asarray(logits, np.float64)
    powers = np.exp(exact - exact.max(-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return shares


def ranking(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return class numbers, the best first; equal ones in their order."""
    return np.argsort(-logits, kind="stable")


def spread(answers: Iterable[NDArray[np.float64]]) -> float:
    """Return by how much the probability of one class differs between answers at most.

    >>> spread([np.array([0.25, 0.75]), np.array([0.5, 0.5])])
    0.25
    """
    return float(np.ptp(np.stack(list(answers)), axis=0).max())


def _row(index: int, shares: list[NDArray[np.float64]]) -> tuple[Cell, ...]:
    return (class_names()[index], *(float(share[index]) for share in shares))


def _against(answer: Answer, view: str) -> str:
    before, after = answer.best(5), answer.best(5, view)
    kept = len({guess.index for guess in before} & {guess.index for guess in after})
    moved = np.abs(softmax(answer.logits[NORMAL]) - softmax(answer.logits[view])).sum() / 2
    first = [
        f"{one.label} ({format_cell(one.probability, 'percent')})" for one in (before[0], after[0])
    ]
    same = before[0].index == after[0].index
    top = f"still {first[1]}, was {first[0]}" if same else f"{first[1]} instead of {first[0]}"
    return (
        f"{top}; {kept} of the 5 best stay; "
        f"{format_cell(float(moved), 'percent')} of the probability has moved"
    )
