"""Figures of several labels per image: average precision and F1, with intervals.

Intervals of F1 and of average precision are percentiles of 1000 bootstrap samples of the images,
or of their groups, drawn with the seed 0: Efron and Tibshirani, "An introduction to the
bootstrap", 1993, chapter 13. As no sample is wrong where no image is, they also reach to the ends
of Wilson's interval: of F1 that of hits among hits and mistakes, F1 / (2 - F1), after Hand,
Christen and Kirielle, "F*: an interpretable transformation of the F-measure", Machine Learning 110
(2021), 451-456; of average precision that of as many trials as images have the label, after Boyd,
Eng and Page, "Area under the precision-recall curve", ECML PKDD 2013, 451-466. A mean over labels
takes the means of their ends where its own interval would be a point.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.checks import numbers, same_length
from offshelf.errors import DataError
from offshelf.heads.multilabel.label_thresholds import average_precision
from offshelf.measurement.metrics import wilson

Membership = NDArray[np.bool_]
Array = NDArray[np.float64]
Interval = tuple[float, float]
DRAWS, _AT_A_TIME = 1000, 100
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """One label on a test set; shares are from 0 to 1, intervals of 95 %.

    Attributes:
        name: of the label.
        n: test images that have it.
        predicted: test images that were said to have it.
        threshold: probability from which an image is said to have it; None where the model has
            no probabilities.
        precision: share of the images predicted that have it; None where none was predicted.
        recall: share of the images that have it that were predicted; None where none has it.
        f1: ``2 hits / (n + predicted)``, so 0 where nothing was hit; None where both are none.
        average_precision: mean precision at each image that has it, by falling score; None where
            none has it.
        precision_interval: Wilson's; None where there is no precision.
        recall_interval: the same of the recall.
        f1_interval: see :func:`evaluate_labels`; None where there is no F1.
        average_precision_interval: the same of the average precision.
    """

    name: str
    n: int
    predicted: int
    threshold: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None
    f1_interval: Interval | None
    average_precision_interval: Interval | None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelsEvaluation(Brief):
    """What a test set says about several labels per image. All shares are from 0 to 1.

    The means are over the labels that some test image has.

    Attributes:
        n: number of test images.
        mean_average_precision: mean of the average precisions (mAP).
        micro_f1: F1 of all decisions together.
        macro_f1: mean F1 of the labels.
        exact: share of the images whose labels were all predicted, and no other.
        unlabelled: images without any label.
        predicted_none: images of which no label was predicted.
        intervals: of each of the first four, 95 %, see :func:`evaluate_labels`.
        per_label: one row per label, in the order of the labels.
    """

    n: int
    mean_average_precision: float
    micro_f1: float
    macro_f1: float
    exact: float
    unlabelled: int
    predicted_none: int
    intervals: dict[str, Interval]
    per_label: tuple[LabelFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "per_label": [_as_json(row) for row in self.per_label],
        }


def _as_json(row: LabelFigures) -> dict[str, Any]:
    pairs = dataclasses.asdict(row).items()
    return {name: list(one) if isinstance(one, tuple) else one for name, one in pairs}


def evaluate_labels(
    truth: Membership,
    scores: NDArray[Any],
    present: Membership,
    labels: Sequence[str],
    *,
    thresholds: Sequence[float] | None = None,
    units: NDArray[np.int64] | None = None,
) -> LabelsEvaluation:
    """Compare labels that were predicted with the truth.

    Average precision, F1, precision and recall are those of scikit-learn; the means leave out
    labels that no test image has. How the intervals are made, the module says.

    Args:
        truth: N x L, which image has which label.
        scores: N x L, finite.
        present: N x L, which label was predicted of which image.
        labels: L names.
        thresholds: L probabilities from which a label is predicted, for the result.
        units: N, the group of each image; None where images are independent.

    Raises:
        DataError: no images, none with a label, or shapes that do not fit.

    >>> truth = np.array([[True, False], [True, True], [False, True]])
    >>> found = evaluate_labels(truth, truth * 2.0, truth, ["beach", "sea"])
    >>> found.mean_average_precision, found.micro_f1, found.exact
    (1.0, 1.0, 1.0)
    """
    scores = numbers("scores", scores, 2)
    _check_shapes(truth, scores, present, labels)
    drawn = _Bootstrap(truth, scores, present, units)
    limits: Sequence[float | None] = thresholds or [None] * len(labels)
    each = enumerate(zip(labels, limits, strict=True))
    rows = tuple(_figures(name, limit, drawn, place) for place, (name, limit) in each)
    right, measured = int((truth == present).all(axis=1).sum()), [row for row in rows if row.n]
    return LabelsEvaluation(
        n=len(truth),
        mean_average_precision=_mean([row.average_precision for row in measured]),
        micro_f1=float(2 * (truth & present).sum() / (truth.sum() + present.sum())),
        macro_f1=_mean([row.f1 for row in measured]),
        exact=right / len(truth),
        unlabelled=int((~truth.any(axis=1)).sum()),
        predicted_none=int((~present.any(axis=1)).sum()),
        intervals=drawn.intervals() | {"exact": wilson(right, len(truth))},
        per_label=rows,
    )


def _check_shapes(
    truth: Membership, scores: Array, present: Membership, labels: Sequence[str]
) -> None:
    for what, array in (("scores", scores), ("predictions", present)):
        if array.shape != truth.shape:
            raise DataError(f"{what} of shape {array.shape} for labels of shape {truth.shape}")
    same_length("columns of labels", truth.shape[1], "names", len(labels))
    if not truth.any():
        raise DataError("no test image has a label: nothing to evaluate")


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def _figures(name: str, threshold: float | None, drawn: _Bootstrap, place: int) -> LabelFigures:
    truth, present = drawn.truth[:, place], drawn.present[:, place]
    n, predicted, hits = int(truth.sum()), int(present.sum()), int((truth & present).sum())
    return LabelFigures(
        name=name,
        n=n,
        predicted=predicted,
        threshold=threshold,
        precision=hits / predicted if predicted else None,
        recall=hits / n if n else None,
        f1=2 * hits / (n + predicted) if n + predicted else None,
        average_precision=average_precision(truth, drawn.scores[:, place]),
        precision_interval=wilson(hits, predicted) if predicted else None,
        recall_interval=wilson(hits, n) if n else None,
        f1_interval=drawn.f1_ends(place) if n + predicted else None,
        average_precision_interval=drawn.precision_ends(place) if n else None,
    )


class _Bootstrap:
    """Figures of labels on samples of the images, with replacement."""

    def __init__(
        self,
        truth: Membership,
        scores: Array,
        present: Membership,
        units: NDArray[np.int64] | None,
    ) -> None:
        self.truth, self.scores, self.present = truth, scores, present
        own = np.arange(len(truth)) if units is None else np.unique(units, return_inverse=True)[1]
        f1, precisions, micro = list[Array](), list[Array](), list[Array]()
        hit, either = (
            (truth & present).astype(np.float32),
            np.add(truth, present, dtype=np.float32),
        )
        rankings = [_Ranking.of(*pair) for pair in zip(truth.T, scores.T, strict=True)]
        for weights in _draws(own):
            hits, whole = (np.asarray(weights @ one, np.float64) for one in (hit, either))
            f1.append(_quotients(2 * hits, whole))
            micro.append(_quotients(2 * hits.sum(axis=1), whole.sum(axis=1)))
            precisions.append(np.stack([one.precisions(weights) for one in rankings], axis=1))
        self.f1, self.precisions = np.concatenate(f1), np.concatenate(precisions)
        self._micro = np.concatenate(micro)

    def f1_ends(self, place: int) -> Interval:
        """Return the interval of the F1 of a label."""
        truth, present = self.truth[:, place], self.present[:, place]
        return _hull(_ends(self.f1[:, place]), _f1_ends(truth, present))

    def precision_ends(self, place: int) -> Interval:
        """Return the interval of the average precision of a label that images have."""
        truth = self.truth[:, place]
        found, n = average_precision(truth, self.scores[:, place]) or 0.0, int(truth.sum())
        return _hull(_ends(self.precisions[:, place]), wilson(min(found * n, n), n))

    def intervals(self) -> dict[str, Interval]:
        """Return those of the means, over the labels that the images have."""
        has = np.flatnonzero(self.truth.any(axis=0)).tolist()
        f1 = [self.f1_ends(place) for place in has]
        precisions = [self.precision_ends(place) for place in has]
        return {
            "mean_average_precision": _mean_ends(self.precisions[:, has], precisions),
            "micro_f1": _hull(_ends(self._micro), _f1_ends(self.truth, self.present)),
            "macro_f1": _mean_ends(self.f1[:, has], f1),
        }


def _f1_ends(truth: Membership, present: Membership) -> Interval:
    """Return Wilson's interval of the share of hits among hits and mistakes, as one of F1."""
    low, high = wilson(int((truth & present).sum()), int((truth | present).sum()))
    return 2 * low / (1 + low), 2 * high / (1 + high)


def _mean_ends(drawn: Array, ends: Sequence[Interval]) -> Interval:
    """Return the interval of a mean over labels; a point only where no label has more."""
    low, high = _ends(_row_means(drawn))
    if high > low:
        return low, high
    return _hull((low, high), tuple(np.mean(ends, axis=0).tolist()))


def _hull(one: Interval, other: Interval) -> Interval:
    return min(one[0], other[0]), max(one[1], other[1])


def _draws(units: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
    """Yield how often each image is in each of some samples, B x N."""
    draw, number = np.random.default_rng(0), int(units.max()) + 1
    for _ in range(DRAWS // _AT_A_TIME):
        chosen = draw.integers(0, number, (_AT_A_TIME, number))
        own = np.arange(_AT_A_TIME)[:, None] * number + chosen
        counts = np.bincount(own.ravel(), minlength=_AT_A_TIME * number)
        yield counts.reshape(_AT_A_TIME, number)[:, units].astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Images by falling score of a label.

    Attributes:
        order: N, the images.
        positives: P, those of them that have the label, as they stand in the order.
        ends: P, for each of these the place of the last image with the same score.
    """

    order: NDArray[np.intp]
    positives: NDArray[np.intp]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, has: NDArray[np.bool_], scores: Array) -> _Ranking:
        order = np.argsort(-scores, kind="stable")
        steps = np.flatnonzero(np.diff(scores[order], append=-np.inf) != 0)
        places = np.flatnonzero(has[order])
        return cls(order, order[places], steps[np.searchsorted(steps, places)])

    def precisions(self, weights: NDArray[np.float32]) -> Array:
        """Return the average precision in each sample, B; NaN where no image has the label."""
        if not len(self.positives):
            return np.full(len(weights), np.nan)
        taken = np.cumsum(weights[:, self.order], axis=1)[:, self.ends].astype(np.float64)
        own = weights[:, self.positives].astype(np.float64)
        last = np.searchsorted(self.ends, self.ends, side="right") - 1
        found = np.cumsum(own, axis=1)
        values = own * _quotients(found[:, last], taken, 0.0)
        return _quotients(values.sum(axis=1), found[:, -1])


def _quotients(part: Array, whole: Array, empty: float = np.nan) -> Array:
    found = np.full(part.shape, empty)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _row_means(values: Array) -> Array:
    """Return the mean of each row without its NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    return _quotients(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(float))


def _ends(values: Array) -> Interval:
    low, high = np.percentile(values[np.isfinite(values)], _ENDS)
    return float(low), float(high)
