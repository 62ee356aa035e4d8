"""What each axis of a comparison is worth: pairs of rows that differ in nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from offshelf.card import Line
from offshelf.heads.regularisation_path import is_end
from offshelf.jobs.compare.comparison_axes import AXES, BACKBONE, LAYER, NO_VALUE, Axis, C, varied
from offshelf.jobs.compare.comparison_rows import Row, Score
from offshelf.measurement.significance_tests import corrected_t, holm, mcnemar
from offshelf.text import counted

ALPHA = 0.05
# More values than this are counted in a sentence, not listed.
LISTED = 3
WEIGHTS, CLASS_WEIGHT = "weights", "class weight"
REAL, NOT_REAL = "a real difference", "no real difference"


@dataclass(frozen=True, kw_only=True, repr=False)
class Effect(Line):
    """Two values of an axis, all else equal.

    Attributes:
        axis: its name.
        value: that of the better row.
        other: that of the other row.
        difference: of their accuracies, as a share, 0 or more.
        p: of the paired test, after Holm's correction.
        real: whether the data can tell the two apart.
        pairs: rows of the two values that are equal in all else.
        mean: the difference, on average over those pairs.
    """

    axis: str
    value: str
    other: str
    difference: float
    p: float
    real: bool
    pairs: int
    mean: float

    def __str__(self) -> str:
        return _sentence(next(axis for axis in AXES if axis.name == self.axis), [self])

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def effects_of(rows: Sequence[Row], sizes: tuple[int, int]) -> tuple[Effect, ...]:
    """Return what each axis that varies is worth, at the best row that has a like one.

    Args:
        rows: those with a score, the best first. Against the best row the verdict of the
            table stands; of other pairs the same test is made.
        sizes: training and test images of a fold.
    """
    ends = _deepest(rows)
    return tuple(
        effect for axis in varied(rows) for effect in _effects(axis, rows, ends, sizes) if effect
    )


def sentences(effects: Sequence[Effect]) -> Iterator[str]:
    """Yield a sentence for each axis."""
    for axis in AXES:
        of_axis = [effect for effect in effects if effect.axis == axis.name]
        if of_axis:
            yield _sentence(axis, of_axis)


def balance_of(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what class weights do to the balanced accuracy, which they are for, where they vary."""
    axis, ends = next(axis for axis in AXES if axis.name == CLASS_WEIGHT), _deepest(rows)
    anchor = next((row for row in rows if axis.of(row) != axis.usual), None)
    if anchor is None:
        return
    found = _means(axis, anchor, rows, ends, lambda score: score.balanced_accuracy)
    differences = found.get(axis.usual, [])
    if not differences:
        return
    mean = round(float(np.mean(differences)), 12)
    does = (
        f"{'gains' if mean > 0 else 'costs'} {points(mean)} points" if mean else "changes nothing"
    )
    pairs = counted(len(differences), "pair")
    yield (
        f"balanced accuracy, the mean recall of the classes, which class weights are for: "
        f"{axis.said(axis.of(anchor))} {does} (mean over {pairs})"
    )


def paired_p(first: Score, second: Score, sizes: tuple[int, int]) -> float:
    """Return the p-value of the paired test of two rows."""
    if len(first.right):
        return mcnemar(first.right, second.right).p
    pair = first.accuracies, second.accuracies
    return corrected_t(*pair, n_train=sizes[0], n_test=sizes[1]).p


def points(share: float) -> str:
    """Return a difference in percentage points, without its sign.

    >>> points(0.0071), points(-0.71), points(0.0003)
    ('0.7', '71', '0.03')
    """
    size = abs(100 * share)
    return f"{size:.0f}" if size >= 9.95 else f"{size:.1f}" if size >= 0.095 else f"{size:.2f}"


def edge_of(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line where the best row has an end of the values of C, and more may be better."""
    best, ends = rows[0], _deepest(rows)
    if best.recipe.c == "auto":
        for c in sorted(set(filter(is_end, best.c))):
            which = "largest" if c > 1 else "smallest"
            yield f"C auto chose {c:g} for the best row, the {which} that it tries"
        return
    own = float(best.recipe.c)
    others = {
        float(row.recipe.c): row
        for row in _like(_C, best, rows, ends)
        if not isinstance(row.recipe.c, str)
    }
    beside = [min(others, key=lambda c: abs(math.log(c / own)))] if others else []
    if not beside or min(others) < own < max(others) or not _better(best, others[beside[0]]):
        return
    which, step = ("largest", 10) if own > beside[0] else ("smallest", 0.1)
    yield (
        f"C = {own:g} of the best row is the {which} of those given: give {own * step:g} and "
        f"{own * step * step:g}, too, or auto, which goes on beyond its ends"
    )


def _better(row: Row, other: Row) -> bool:
    return bool(row.score and other.score and row.score.accuracy > other.score.accuracy)


Ends = dict[str, int]
Key = tuple[object, ...]


def _deepest(rows: Sequence[Row]) -> Ends:
    """Return for each backbone the place of its deepest layer."""
    ends: Ends = {}
    for row in rows:
        ends[row.view.backbone] = max(row.depth, ends.get(row.view.backbone, 0))
    return ends


def _effects(
    axis: Axis, rows: Sequence[Row], ends: Ends, sizes: tuple[int, int]
) -> list[Effect | None]:
    single = rows
    if axis.name in (BACKBONE, LAYER):
        # What stands side by side is compared in a sentence of its own.
        single = [row for row in rows if len(row.view.parts) == 1]
    for anchor in single:
        others = _like(axis, anchor, single, ends)
        if others:
            tested = _tested(anchor, others, rows[0], sizes)
            means = _means(axis, anchor, single, ends)
            return [
                _effect(axis, (anchor, other), p, means.get(axis.of(other), []))
                for other, p in zip(others, tested, strict=True)
            ]
    return []


def _like(axis: Axis, anchor: Row, rows: Sequence[Row], ends: Ends) -> list[Row]:
    """Return the row of every other value that is equal to *anchor* in all else."""
    own = _key(axis, anchor, ends)
    found: dict[str, Row] = {}
    for row in rows:
        value = axis.of(row)
        if value not in (axis.of(anchor), NO_VALUE) and axis.of(anchor) != NO_VALUE:
            key = _key(axis, row, ends)
            pairs = zip(own, key, strict=True)
            if all(a == b or NO_VALUE in (a, b) for a, b in pairs):
                found.setdefault(value, row)
    return list(found.values())


def _key(axis: Axis, row: Row, ends: Ends) -> Key:
    """Return the values of a row on all other axes; the deepest layers of networks are alike."""
    values: list[object] = [one.of(row) for one in AXES if one not in (axis, _LAYER)]
    if axis is not _LAYER:
        last = axis.name == BACKBONE and row.depth == ends[row.view.backbone]
        values.append("deepest" if last else row.view.layer)
    return (row.view.product, *values)


_LAYER = next(axis for axis in AXES if axis.name == LAYER)
_C = next(axis for axis in AXES if axis.name == C)


def _tested(
    anchor: Row, others: Sequence[Row], best: Row, sizes: tuple[int, int]
) -> list[tuple[float, bool]]:
    """Return for each other row the p-value against *anchor*, and whether the two differ."""
    if anchor is best:
        return [(row.verdict.adjusted, not row.verdict.same) for row in others if row.verdict]
    p = [paired_p(anchor.score, row.score, sizes) for row in others if anchor.score and row.score]
    return [(adjusted, adjusted <= ALPHA) for adjusted in holm(p).tolist()]


def _accuracy(score: Score) -> float:
    return score.accuracy


def _means(
    axis: Axis,
    anchor: Row,
    rows: Sequence[Row],
    ends: Ends,
    figure: Callable[[Score], float] = _accuracy,
) -> dict[str, list[float]]:
    """Return for each other value how much better that of *anchor* is, of every pair."""
    by_key: dict[Key, dict[str, float]] = {}
    for row in rows:
        if row.score:
            of_key = by_key.setdefault(_key(axis, row, ends), {})
            of_key.setdefault(axis.of(row), figure(row.score))
    found: dict[str, list[float]] = {}
    for values in by_key.values():
        if axis.of(anchor) in values:
            own = values[axis.of(anchor)]
            for value, other in values.items():
                found.setdefault(value, []).append(own - other)
    return found


def _effect(
    axis: Axis, pair: tuple[Row, Row], tested: tuple[float, bool], differences: Sequence[float]
) -> Effect | None:
    anchor, other = pair
    if anchor.score is None or other.score is None:
        return None
    difference = anchor.score.accuracy - other.score.accuracy
    return Effect(
        axis=axis.name,
        value=axis.of(anchor),
        other=axis.of(other),
        difference=difference,
        p=tested[0],
        real=tested[1],
        pairs=len(differences) or 1,
        mean=float(np.mean(differences)) if len(differences) else difference,
    )


def _sentence(axis: Axis, effects: Sequence[Effect]) -> str:
    listed = effects[:LISTED]
    text = "; ".join(_clause(axis, effect, first=effect is listed[0]) for effect in listed)
    if len(effects) > LISTED:
        most = max(effects[LISTED:], key=lambda effect: effect.difference)
        more = len(effects) - LISTED
        text += f"; {more} more up to {points(most.difference)} points behind"
    if len(effects) == 1 and effects[0].pairs > 1:
        plus = "+" if f"+{points(effects[0].difference)}" in text else ""
        sign = "-" if effects[0].mean < 0 else plus
        text += f" ({sign}{points(effects[0].mean)} on average over {effects[0].pairs} pairs)"
    return text


def _clause(axis: Axis, effect: Effect, first: bool) -> str:
    value, other = axis.said(effect.value), axis.said(effect.other)
    verdict = REAL if effect.real else NOT_REAL
    size = f"{points(effect.difference)} points"
    if axis.treats and axis.usual in (effect.value, effect.other):
        treated, does = (other, "costs") if effect.value == axis.usual else (value, "gains")
        if not effect.difference:
            return f"{treated} changes no accuracy"
        return f"{treated} {does} {size}, {verdict}"
    if axis.name == WEIGHTS:
        value = value.removesuffix(f" {WEIGHTS}")
    if not effect.difference:
        size = "the same accuracy"
        return f"{value} against {other}: {size}" if first else f"against {other}: {size}"
    text = f"against {other}: +{size}, {verdict}"
    return f"{value} {text}" if first else text
