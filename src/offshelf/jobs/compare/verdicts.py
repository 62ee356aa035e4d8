"""From finished cells to rows: figures, costs, the test against the best, the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from offshelf.errors import HeadError
from offshelf.evaluate.significance.not_distinguishable import not_distinguishable
from offshelf.evaluate.transfer.rank_agreement import Agreement, agreement
from offshelf.evaluate.transfer.transferability import Transfer
from offshelf.jobs.compare.comparison_rows import Cost, Row, Verdict, score_of, sizes
from offshelf.jobs.compare.feature_sets import Source, View
from offshelf.jobs.compare.grid_cell import Cell, read_cell
from offshelf.jobs.compare.plan import Plan, Recipe
from offshelf.jobs.compare.sentences import findings_of
from offshelf.jobs.compare.source_features import Extracted
from offshelf.jobs.compare.speed import Speed, milliseconds

Scores = Mapping[int, Transfer]
Measured = tuple[Mapping[Source, Extracted], Mapping[Source, Speed]]
Assembled = tuple[tuple[Row, ...], str, dict[str, Agreement], tuple[str, ...]]


def assemble(plan: Plan, views: Sequence[View], measured: Measured, scores: Scores) -> Assembled:
    """Return rows (the best first), the name of the test, rank correlations and findings.

    Args:
        plan: with every cell finished.
        views: those of the plan.
        measured: what was extracted, and how fast.
        scores: cheap scores by number of the view.

    Raises:
        HeadError: no head could be trained at all.
    """
    depths = _depths(views)
    rows = []
    for number, view in enumerate(views):
        ms = milliseconds(view, *measured) or None
        for recipe in plan.recipes:
            cells = [_cell(plan, number, fold, recipe) for fold in range(len(plan.folds))]
            row = _row(plan, view, recipe, cells, ms)
            row = dataclasses.replace(row, transfer=scores.get(number), depth=depths[number])
            rows.append(row)
    good = [row for row in rows if row.score]
    if not good:
        raise HeadError(rows[0].problem)
    judged, test = _judged(plan, good)
    ordered = (*sorted(judged, key=_rank), *(row for row in rows if not row.score))
    found = _agreement(judged)
    return ordered, test, found, findings_of(ordered, found, sizes(plan))


def _depths(views: Sequence[View]) -> list[int]:
    """Return for each view the place of its layer among those of its backbone."""
    seen: dict[str, dict[str, int]] = {}
    places = []
    for view in views:
        layers = seen.setdefault(view.backbone, {})
        places.append(layers.setdefault(view.layer, len(layers)))
    return places


def _cell(plan: Plan, view: int, fold: int, recipe: Recipe) -> Cell:
    cell = read_cell(plan, view, fold, recipe)
    if cell is None:
        raise HeadError("a result vanished while it was needed: run the same command again")
    return cell


def _row(plan: Plan, view: View, recipe: Recipe, cells: list[Cell], ms: float | None) -> Row:
    problem = next((cell.problem for cell in cells if cell.problem), "")
    if problem:
        return Row(view, recipe, None, None, None, (), None, problem)
    tested = [max(1, len(cell.predictions)) for cell in cells]
    dimension = cells[0].dimension
    cost = Cost(
        dimension,
        4 * dimension * sum(bool(digest) for digest in plan.digests),
        ms,
        float(np.median([cell.fit_seconds for cell in cells])),
        float(
            np.median([1000 * c.predict_seconds / n for c, n in zip(cells, tested, strict=True)])
        ),
    )
    cs = tuple(cell.c for cell in cells if cell.c is not None)
    return Row(view, recipe, score_of(plan, cells), cost, None, cs, None, "")


def _judged(plan: Plan, rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Test every row against the best."""
    single = len(plan.folds) == 1
    n_train, n_test = sizes(plan)
    scores = [row.score for row in rows if row.score]
    if single:
        verdicts = not_distinguishable([score.right for score in scores])
    else:
        verdicts = not_distinguishable(
            [np.array(score.accuracies) for score in scores], n_train=n_train, n_test=n_test
        )
    columns = zip(rows, verdicts.p, verdicts.adjusted, verdicts.same, strict=True)
    judged = [
        dataclasses.replace(row, verdict=Verdict(p, adjusted, same))
        for row, p, adjusted, same in columns
    ]
    return judged, verdicts.test


def _rank(row: Row) -> float:
    return -row.score.accuracy if row.score else 0.0


def _agreement(rows: Sequence[Row]) -> dict[str, Agreement]:
    """Compare each cheap score with the best accuracy that was measured on its features."""
    best: dict[View, Row] = {}
    for row in rows:
        if row.transfer and row.score:
            known = best.get(row.view)
            if known is None or known.score is None or row.score.accuracy > known.score.accuracy:
                best[row.view] = row
    if len(best) < 2:
        return {}
    found = [row for row in best.values() if row.transfer and row.score]
    accuracies = [row.score.accuracy for row in found if row.score]
    cheap = [row.transfer for row in found if row.transfer]
    return {
        "LogME": agreement([one.logme for one in cheap], accuracies),
        "H-score": agreement([one.h_score_shrunk for one in cheap], accuracies),
        "ridge leave-one-out": agreement([-one.ridge_error for one in cheap], accuracies),
    }
