"""Answers of a network's own classifier: its best classes, and what experiments change of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.catalogue.libraries import class_names
from offshelf.card import Brief, Line
from offshelf.heads.probabilities.score_calibration import log_softmax
from offshelf.report.tables.result_rows import Cell, Column, Table
from offshelf.report.tables.table_formats import format_cell
from offshelf.text import shown, spelled

NORMAL, PLAIN = "evaluation", "not normalised"


@dataclass(frozen=True, eq=False, repr=False)
class NetworkRun(Brief):
    """The output of one run of the network on one image.

    Attributes:
        way: how it was run: ``evaluation`` is right; ``not normalised``, ``alone`` and
            ``in a batch`` (training mode) and ``evaluation after`` those are experiments.
        logits: float32, 1,000 values.
        number: from 1 where there are several runs of this way, else 0.
    """

    way: str
    logits: NDArray[np.float32]
    number: int = 0

    @property
    def name(self) -> str:
        """The way, with the number where there are several."""
        return f"{self.way} {self.number}" if self.number else self.way

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, float64."""
        return np.asarray(np.exp(log_softmax(self.logits.astype(np.float64)[None]))[0])

    @property
    def ranking(self) -> list[int]:
        """Numbers of the classes, the best first; equal ones in their order."""
        order: list[int] = np.argsort(-self.logits, kind="stable").tolist()
        return order


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


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Line):
    """What the network answers for one image.

    Attributes:
        path: the file.
        status: ``ok``, or why there is no answer.
        reason: the same in a sentence.
        runs: of the network; the first is ``evaluation``. None where there is no answer.
    """

    path: str
    status: str
    reason: str
    runs: tuple[NetworkRun, ...]

    def __str__(self) -> str:
        return self.line()

    def line(self, count: int = 5) -> str:
        """Return the *count* best classes on one line, or why there are none."""
        if not self.runs:
            return f"{shown(self.path)}: {self.status}, {self.reason}"
        best = ", ".join(
            f"{guess.label} {format_cell(guess.probability, 'percent')}"
            for guess in self.best(count)
        )
        return f"{shown(self.path)}: {best}"

    @property
    def logits(self) -> dict[str, NDArray[np.float32]]:
        """Vectors of 1,000 values by name of the run, ``evaluation`` first."""
        return {run.name: run.logits for run in self.runs}

    def best(self, count: int = 5, view: str = NORMAL) -> tuple[Guess, ...]:
        """Return the *count* most probable classes, the best first; () without an answer."""
        run = next((run for run in self.runs if run.name == view), None)
        if run is None:
            return ()
        names, shares = class_names(), run.probabilities
        return tuple(
            Guess(names[k], k, float(shares[k]), float(run.logits[k])) for k in run.ranking[:count]
        )

    def table(self, count: int = 5) -> Table:
        """Return the best classes of every run, side by side."""
        chosen: dict[int, None] = {}
        for run in self.runs:
            # Of the experiments: all of one, only the first of many.
            chosen |= dict.fromkeys(run.ranking[: count if run.way in (NORMAL, PLAIN) else 1])
        shares = [run.probabilities for run in self.runs]
        columns = (Column("class"), *(Column(run.name, "percent") for run in self.runs))
        names = class_names()
        rows: list[tuple[Cell, ...]] = [
            (names[k], *(float(share[k]) for share in shares)) for k in chosen
        ]
        return Table(self.path, columns, tuple(rows))

    def changes(self) -> tuple[str, ...]:
        """Return one line for each experiment: what it changed."""
        ways: dict[str, list[NetworkRun]] = {}
        for run in self.runs[1:]:
            ways.setdefault(run.way, []).append(run)
        lines = []
        for way, runs in ways.items():
            lines.append(f"{way}: {self._changed_by(runs[0])}")
            if len(runs) > 1:
                moved = np.ptp([run.probabilities for run in runs], axis=0).max()
                text = f"differ by up to {format_cell(float(moved), 'percent')}"
                lines[-1] += f"; its {len(runs)} passes {text if moved else 'agree'}"
        return tuple(lines)

    def to_json(self, count: int = 5) -> dict[str, Any]:
        """Return the best classes of every run as JSON values."""
        guesses = {
            run.name: [dataclasses.asdict(guess) for guess in self.best(count, run.name)]
            for run in self.runs
        }
        return {
            "path": spelled(self.path),
            "status": self.status,
            "reason": self.reason,
            "top": guesses.pop(NORMAL, []),
            "views": guesses,
            "changes": list(self.changes()),
        }

    def _changed_by(self, run: NetworkRun) -> str:
        before, after = self.best(5), self.best(5, run.name)
        kept = len({guess.index for guess in before} & {guess.index for guess in after})
        moved = np.abs(self.runs[0].probabilities - run.probabilities).sum() / 2
        was, now = (
            f"{one.label} ({format_cell(one.probability, 'percent')})"
            for one in (before[0], after[0])
        )
        same = before[0].index == after[0].index
        top = f"still {now}, was {was}" if same else f"{now} instead of {was}"
        return (
            f"{top}; {kept} of the 5 best stay; "
            f"{format_cell(float(moved), 'percent')} of the probability has moved"
        )
