"""Rows from finished cells: costs, the test against the best, their order, the findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import numpy as np

from offshelf.errors import HeadError
from offshelf.jobs.compare.axis_effects import (
    ALPHA,
    NOT_REAL,
    REAL,
    Effect,
    balance_of,
    edge_of,
    effects_of,
    paired_p,
    sentences,
)
from offshelf.jobs.compare.comparison_axes import AXES, Axis, name_of, naming
from offshelf.jobs.compare.comparison_rows import (
    Cost,
    Row,
    Verdict,
    score_of,
    sizes,
)
from offshelf.jobs.compare.feature_sets import Source, View
from offshelf.jobs.compare.grid_cell import Cell, read_cell
from offshelf.jobs.compare.plan import Plan
from offshelf.jobs.compare.source_features import (
    Extracted,
    Speed,
    milliseconds,
    weights_bytes,
)
from offshelf.jobs.setup.settings import HeadSettings
from offshelf.measurement.significance_tests import not_distinguishable
from offshelf.measurement.transferability import Agreement, Transfer, agreement
from offshelf.text import p_text

TESTS = {"mcnemar": "McNemar's exact test", "corrected_t": "the corrected resampled t-test"}
Scores = Mapping[int, Transfer]
Measured = tuple[Mapping[Source, Extracted], Mapping[Source, Speed]]


class Assembled(TypedDict):
    """Rows (the best first), test, effects of the axes, rank correlations and findings."""

    rows: tuple[Row, ...]
    test: str
    effects: tuple[Effect, ...]
    agreement: dict[str, Agreement]
    findings: tuple[str, ...]


def assemble(plan: Plan, views: Sequence[View], measured: Measured, scores: Scores) -> Assembled:
    """Return everything that a result states about its rows; every cell of *plan* is finished.

    Raises:
        HeadError: no head could be trained at all.
    """
    depths = _depths(views)
    rows = []
    for number, view in enumerate(views):
        spent = milliseconds(view, *measured) or None, weights_bytes(view, measured[0])
        for recipe in plan.recipes:
            cells = [_cell(plan, number, fold, recipe) for fold in range(len(plan.folds))]
            row = _row(plan, view, recipe, cells, spent)
            row = dataclasses.replace(row, transfer=scores.get(number), depth=depths[number])
            rows.append(row)
    good = [row for row in rows if row.score]
    if not good:
        raise HeadError(rows[0].problem)
    judged, test = _judged(plan, sorted(good, key=_rank))
    found = _agreement(judged)
    effects = effects_of(judged, sizes(plan))
    findings = (
        *_best(judged),
        *_effects(effects, test),
        *balance_of(judged),
        *edge_of(judged),
        *_depth(judged),
        *_concatenation(judged, sizes(plan)),
        *_leaks(judged[0]),
        *_agreement_lines(found),
    )
    failed = (row for row in rows if not row.score)
    return {
        "rows": (*judged, *failed),
        "test": test,
        "effects": effects,
        "agreement": found,
        "findings": findings,
    }


def _rank(row: Row) -> tuple[float, float, int]:
    """Return what a row with a score is sorted by; of equal ones the order of the grid stays."""
    if row.score is None or row.cost is None:
        return 0.0, 0.0, 0
    accuracy, balanced = row.score.accuracy, row.score.balanced_accuracy
    return -round(accuracy, 12), -round(balanced, 12), row.cost.dimension


def _depths(views: Sequence[View]) -> list[int]:
    """Return for each view the place of its layer among those of its backbone."""
    seen: dict[str, dict[str, int]] = {}
    places = []
    for view in views:
        layers = seen.setdefault(view.backbone, {})
        places.append(layers.setdefault(view.layer, len(layers)))
    return places


def _cell(plan: Plan, view: int, fold: int, recipe: HeadSettings) -> Cell:
    cell = read_cell(plan, view, fold, recipe)
    if cell is None:
        raise HeadError(
            "a result file was deleted while the comparison ran: run the same command again"
        )
    return cell


def _row(
    plan: Plan,
    view: View,
    recipe: HeadSettings,
    cells: list[Cell],
    spent: tuple[float | None, int],
) -> Row:
    problem = next((cell.problem for cell in cells if cell.problem), "")
    if problem:
        return Row(view=view, recipe=recipe, problem=problem)
    tested = [max(1, len(cell.predictions)) for cell in cells]
    dimension = cells[0].dimension
    cost = Cost(
        dimension=dimension,
        stored_bytes=4 * dimension * sum(bool(digest) for digest in plan.digests),
        model_bytes=spent[1] + int(np.median([cell.head_bytes for cell in cells])),
        ms_per_image=spent[0],
        fit_seconds=float(np.median([cell.fit_seconds for cell in cells])),
        predict_ms=float(
            np.median([1000 * c.predict_seconds / n for c, n in zip(cells, tested, strict=True)])
        ),
    )
    cs = tuple(cell.c for cell in cells if cell.c is not None)
    return Row(view=view, recipe=recipe, score=score_of(plan, cells), cost=cost, c=cs)


def _judged(plan: Plan, rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Test every row against the best."""
    scores = [row.score for row in rows if row.score]
    if len(plan.folds) == 1:
        verdicts = not_distinguishable([score.right for score in scores])
    else:
        n_train, n_test = sizes(plan)
        verdicts = not_distinguishable(
            [np.array(score.accuracies) for score in scores], n_train=n_train, n_test=n_test
        )
    columns = zip(rows, verdicts.p, verdicts.adjusted, verdicts.same, strict=True)
    judged = [
        dataclasses.replace(row, verdict=Verdict(p, adjusted, same))
        for row, p, adjusted, same in columns
    ]
    return judged, verdicts.test


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


def _best(rows: Sequence[Row]) -> Iterator[str]:
    best, axes = rows[0], naming(rows)
    if best.score is None:
        return
    low, high = best.score.interval
    spread = "" if best.score.sd is None else f", standard deviation {100 * best.score.sd:.2f}"
    yield (
        f"best: {name_of(best, _full(axes))}{best.chosen}: {100 * best.score.accuracy:.2f} % "
        f"(95 % interval {100 * low:.2f} % to {100 * high:.2f} %{spread})"
    )
    if len(rows) < 2:
        return
    same = [row for row in rows[1:] if row.verdict and row.verdict.same]
    count = len(rows) - 1
    others = f"{count} other rows" if count > 1 else "other row"
    if not same:
        yield f"worse than the best beyond chance: {'all' if count > 1 else 'the only'} {others}"
        return
    named = "; ".join(name_of(row, axes) for row in same[:4])
    more = f" and {len(same) - 4} more" if len(same) > 4 else ""
    share = f"{len(same)} of {others}" if count > 1 else f"the only {others}"
    yield f"not distinguishable from the best: {share}: {named}{more}"
    yield (
        "the best row was chosen by these test images, so its own accuracy is on the "
        "optimistic side"
    )
    tied = sum(_rank(row)[0] == _rank(best)[0] for row in rows)
    if tied > 1:
        yield (
            f"{tied} rows have the accuracy of the best: the higher balanced accuracy comes first, "
            "then fewer dimensions, then the order in which they were asked for"
        )


def _full(axes: Sequence[Axis]) -> list[Axis]:
    """Return *axes* with those that every name should have."""
    return [axis for axis in AXES if axis in axes or axis in naming(())]


def _effects(effects: Sequence[Effect], test: str) -> Iterator[str]:
    yield from sentences(effects)
    if effects:
        yield f"real: beyond chance by {TESTS[test]} with Holm's correction, at the level {ALPHA}"


def _depth(rows: Sequence[Row]) -> Iterator[str]:
    """Say of each backbone whether accuracy rises with depth."""
    by_backbone: dict[str, dict[int, float]] = {}
    for row in rows:
        if len(row.view.parts) > 1 or row.score is None:
            continue
        depths = by_backbone.setdefault(row.view.backbone, {})
        number = row.depth
        depths[number] = max(row.score.accuracy, depths.get(number, 0.0))
    for backbone, depths in by_backbone.items():
        if len(depths) < 3:
            continue
        values = [depths[number] for number in sorted(depths)]
        steps = int(np.sum(np.diff(values) > 0))
        yield (
            f"depth, {backbone}: accuracy rises in {steps} of {len(values) - 1} steps, from "
            f"{100 * values[0]:.2f} % to {100 * values[-1]:.2f} %"
        )


def _concatenation(rows: Sequence[Row], sizes: tuple[int, int]) -> Iterator[str]:
    """Test the best concatenation against the best single layer, once."""
    several = next((row for row in rows if len(row.view.parts) > 1), None)
    single = next((row for row in rows if len(row.view.parts) == 1), None)
    if several is None or single is None or several.score is None or single.score is None:
        return
    margin = several.score.accuracy - single.score.accuracy
    p, axes = paired_p(several.score, single.score, sizes), _full(naming(rows))
    yield (
        f"concatenation {name_of(several, axes)} against {name_of(single, axes)}: "
        f"{100 * margin:+.2f} points (p {_p(p)}), {REAL if p <= ALPHA else NOT_REAL}"
    )


def _p(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _leaks(best: Row) -> Iterator[str]:
    score = best.score
    if score is None or not score.leaks:
        return
    rest = f"{100 * score.without_leaks:.2f} %" if score.without_leaks is not None else "not known"
    yield (
        f"{score.leaks:,} test {'image' if score.leaks == 1 else 'images'} also stand among "
        f"the training images; the best row's accuracy without: {rest}"
    )


def _agreement_lines(agreement: dict[str, Agreement]) -> Iterator[str]:
    for name, found in agreement.items():
        rho = "not defined" if found.spearman is None else f"{found.spearman:.2f}"
        yield (
            f"{name} orders {found.n} kinds of features with a rank correlation of {rho} to the "
            f"measured accuracy; choosing by it would lose {100 * found.regret:.2f} points"
        )
