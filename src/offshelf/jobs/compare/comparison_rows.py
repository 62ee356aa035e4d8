"""The rows of a comparison: scores, costs and verdict of each view and recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief, Line
from offshelf.jobs.compare.comparison_axes import name_of
from offshelf.jobs.compare.feature_sets import View
from offshelf.jobs.compare.grid_cell import Cell
from offshelf.jobs.compare.plan import Plan
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.measurement.metrics import evaluate, wilson
from offshelf.measurement.significance_tests import corrected_interval
from offshelf.measurement.splits.protocol import Fold
from offshelf.measurement.transferability import Transfer

SAME = "= best"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Score(Brief):
    """Accuracy of one row under the protocol.

    Attributes:
        accuracies: one for each fold, 0 to 1.
        balanced: balanced accuracy of each fold: the mean over classes of their recall.
        interval: 95 % interval of the (mean) accuracy: Wilson's for one fold, else that of
            the corrected resampled t-test.
        right: for one fold, which test images were labelled rightly; else empty.
        leaks: test images, over all folds, that are, byte for byte, training images, too.
        without_leaks: mean accuracy without those; None where there are none.
    """

    accuracies: tuple[float, ...]
    balanced: tuple[float, ...]
    interval: tuple[float, float]
    right: NDArray[np.bool_]
    leaks: int
    without_leaks: float | None

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.accuracies))

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.balanced))

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.interval[1]

    @property
    def sd(self) -> float | None:
        """Standard deviation of the accuracy over the folds; None for one fold."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None

    @property
    def balanced_sd(self) -> float | None:
        """Standard deviation of the balanced accuracy over the folds; None for one fold."""
        return float(np.std(self.balanced, ddof=1)) if len(self.balanced) > 1 else None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a row costs.

    Attributes:
        dimension: values of an image that the head sees.
        stored_bytes: of all images at that dimension, in float32.
        model_bytes: of the weights of its networks, each once, and of the arrays of the head.
        ms_per_image: files to features, None where not known.
        fit_seconds: to train the head, median over the folds.
        predict_ms: to label an image from its features, median over the folds.
    """

    dimension: int
    stored_bytes: int
    model_bytes: int
    ms_per_image: float | None
    fit_seconds: float
    predict_ms: float


@dataclass(frozen=True)
class Verdict:
    """A row against the best.

    Attributes:
        p: of the paired test, 1 for the best itself.
        adjusted: the same after Holm's correction for all rows.
        same: whether the data cannot tell it from the best.
    """

    p: float
    adjusted: float
    same: bool


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Row(Line):
    """One row.

    Attributes:
        view: the features.
        recipe: the head.
        score: accuracy; None where no head could be trained.
        cost: time and size; None likewise.
        verdict: against the best; None likewise.
        c: values of C in force, of each fold.
        transfer: cheap scores of the features, where asked for.
        problem: why there is no head, "" where there is.
        command: the line for a shell with which ``fit`` makes it; "" where it can not.
        depth: place of the view in the grid; deeper layers of a backbone come later.
    """

    view: View
    recipe: HeadSettings
    score: Score | None = None
    cost: Cost | None = None
    verdict: Verdict | None = None
    c: tuple[float, ...] = ()
    transfer: Transfer | None = None
    problem: str = ""
    command: str = ""
    depth: int = 0

    @property
    def conclusion(self) -> str:
        """The verdict in a word or two, or why there is no head."""
        if self.problem:
            return self.problem
        return SAME if self.verdict and self.verdict.same else "worse"

    @property
    def chosen(self) -> str:
        """The values of C that ``auto`` chose, in brackets, else ""."""
        if self.recipe.c != "auto" or not self.c:
            return ""
        return f" (C {', '.join(f'{c:.3g}' for c in sorted(set(self.c)))})"

    def __str__(self) -> str:
        what = f"{name_of(self)}{self.chosen}"
        if self.score is None:
            return f"{what}: {self.problem}"
        low, high = (100 * end for end in self.score.interval)
        return (
            f"{what}: accuracy {100 * self.score.accuracy:.2f} % "
            f"(95 % interval {low:.2f} to {high:.2f} %), {self.conclusion}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as one flat JSON object."""
        view, recipe = self.view, self.recipe
        document = {
            "backbone": view.backbone,
            "layer": view.layer,
            "pooling": view.pooling,
            "weights": view.weights,
            "resize": view.resize,
            "scaling": view.scaling,
            "grey": view.grey,
            "precision": view.precision,
            "flips": view.flips,
            "normalisation": recipe.normalisation,
            "reduction": recipe.reduction,
            "head": recipe.head,
            "class_weight": recipe.class_weight,
            "C": recipe.c,
            "C_chosen": list(self.c),
            "problem": self.problem,
            "fit_command": self.command or None,
        }
        return document | self._figures()

    def _figures(self) -> dict[str, Any]:
        if self.score is None or self.cost is None or self.verdict is None:
            return {"accuracy": None}
        score = self.score
        return {
            "accuracy": score.accuracy,
            "accuracy_interval": list(score.interval),
            "accuracy_sd": score.sd,
            "balanced_accuracy": score.balanced_accuracy,
            "balanced_accuracy_sd": score.balanced_sd,
            "accuracies": list(score.accuracies),
            "n_test_in_train": score.leaks,
            "accuracy_without_leaks": score.without_leaks,
            "p": self.verdict.p,
            "p_adjusted": self.verdict.adjusted,
            "same_as_best": self.verdict.same,
            **asdict(self.cost),
            "transfer": self.transfer.to_json() if self.transfer else None,
        }


def score_of(plan: Plan, cells: list[Cell]) -> Score:
    """Return the figures of one row from its cells, one for each fold."""
    accuracies, balanced, hits, leaks, without = [], [], [], 0, []
    for fold, cell in zip(plan.folds, cells, strict=True):
        targets = plan.targets[fold.test]
        predictions = np.array(cell.predictions, np.int64)
        figures = evaluate(targets, predictions, plan.classes)
        right = targets == predictions
        leaked = leaked_rows(plan, fold)
        accuracies.append(figures.accuracy)
        balanced.append(figures.balanced_accuracy)
        hits.append(right)
        leaks += int(leaked.sum())
        if not leaked.all():
            without.append(float(right[~leaked].mean()))
    return Score(
        accuracies=tuple(accuracies),
        balanced=tuple(balanced),
        interval=_interval(plan, accuracies, hits),
        right=hits[0] if len(hits) == 1 else np.empty(0, bool),
        leaks=leaks,
        without_leaks=float(np.mean(without)) if leaks and without else None,
    )


def leaked_rows(plan: Plan, fold: Fold) -> NDArray[np.bool_]:
    """Return which test images of *fold* are, byte for byte, among its training images."""
    train = {plan.digests[row] for row in fold.train.tolist()}
    return np.array([plan.digests[row] in train for row in fold.test.tolist()], bool)


def sizes(plan: Plan) -> tuple[int, int]:
    """Return the mean number of training and of test images of a fold."""
    train = round(float(np.mean([len(fold.train) for fold in plan.folds])))
    return train, round(float(np.mean([len(fold.test) for fold in plan.folds])))


def _interval(
    plan: Plan, accuracies: list[float], hits: list[NDArray[np.bool_]]
) -> tuple[float, float]:
    if len(accuracies) == 1:
        return wilson(int(hits[0].sum()), len(hits[0]))
    n_train, n_test = sizes(plan)
    low, high = corrected_interval(accuracies, n_train=n_train, n_test=n_test)
    return max(0.0, low), min(1.0, high)
