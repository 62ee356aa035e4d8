"""Thresholds and probabilities of labels, from scores of images that the head had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.label_decisions import LabelDecisions
from offshelf.heads.probabilities.score_calibration import platt
from offshelf.text import counted, listed

Array = NDArray[np.float64]


class Cut(NamedTuple):
    """A threshold, and the F1 of the images whose score is at least that."""

    threshold: float
    f1: float


def average_precision(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float | None:
    """Return the mean precision at each image that has the label; None where none has it.

    As in scikit-learn: equal scores count as one step, ``sum((R_n - R_{n-1}) P_n)``.

    Args:
        truth: N, which images have the label.
        scores: N, finite; high ones speak for it.

    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    found, taken, _ = _steps(truth, scores)
    if not len(found) or not found[-1]:
        return None
    return float((np.diff(found, prepend=0) * found / taken).sum() / found[-1])


def best_cut(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> Cut:
    """Return the threshold of the best F1; of equals the one that takes the fewest images.

    It lies in the middle between the last score that is taken and the first that is not.

    Args:
        truth: N, which images have the label, at least one of them.
        scores: N, finite.

    >>> best_cut(np.array([True, True, False]), np.array([3.0, 2.0, 1.0]))
    Cut(threshold=1.5, f1=1.0)
    """
    found, taken, values = _steps(truth, scores)
    f1 = 2 * found / (taken + found[-1])
    best = int(f1.round(12).argmax())
    below = values[min(best + 1, len(values) - 1)]
    return Cut(float((values[best] + below) / 2), float(f1[best]))


def _steps(truth: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Return at each score, falling, how many are right and how many taken, and the scores."""
    order = np.argsort(-scores, kind="stable")
    values: Array = scores[order].astype(np.float64)
    ends = np.flatnonzero(np.diff(values, append=-np.inf) != 0)
    found = np.cumsum(truth[order], dtype=np.float64)[ends]
    return found, (ends + 1).astype(np.float64), values[ends]


def mean_average_precision(
    membership: NDArray[np.bool_], scores: NDArray[np.floating[Any]]
) -> float:
    """Return the mean of the average precisions of labels; NaN scores are left out.

    0 where no label can be measured.
    """
    found = []
    for truth, column in zip(membership.T, scores.T, strict=True):
        held = np.isfinite(column)
        one = average_precision(truth[held], column[held])
        found += [] if one is None else [one]
    return float(np.mean(found)) if found else 0.0


def decide_labels(
    membership: NDArray[np.bool_], scores: NDArray[np.floating[Any]], labels: Sequence[str]
) -> LabelDecisions:
    """Choose the threshold and the sigmoid of each label on scores of images held out.

    A label that cannot be held out, as one of a single image, has the threshold 0 of the head
    itself. The sigmoid is Platt's, see :func:`.score_calibration.fit_sigmoid`; where high scores
    spoke against the label, its probability is the same for every image.

    Args:
        membership: N x L, which training image has which label.
        scores: N x L; NaN where a head without the image could not be trained.
        labels: L names.

    >>> scores = np.array([[1.0], [0.5], [-1.0], [-2.0]])
    >>> found = decide_labels(np.array([[True], [True], [False], [False]]), scores, ["sea"])
    >>> found.thresholds, found.held_out_f1
    ((-0.25,), (1.0,))
    """
    cuts, curves = list[tuple[float, float | None]](), list[tuple[float, float]]()
    alone, taken, backwards = list[str](), list[str](), list[str]()
    for name, truth, column in zip(labels, membership.T, scores.T, strict=True):
        held = np.isfinite(column)
        has, own = truth[held], column[held].astype(np.float64)
        if not has.any():
            cuts.append((0.0, None))
            curves.append((-1.0, 0.0))
            alone.append(name)
            continue
        cut, (slope, offset) = best_cut(has, own), platt(own, has)
        if slope > 0:
            slope, offset = 0.0, _prior(has)
            backwards.append(name)
        if not has.all() and cut.threshold <= own.min():
            taken.append(name)
        cuts.append(cut)
        curves.append((slope, offset))
    return LabelDecisions(
        thresholds=tuple(threshold for threshold, _ in cuts),
        slopes=tuple(slope for slope, _ in curves),
        offsets=tuple(offset for _, offset in curves),
        held_out_f1=tuple(f1 for _, f1 in cuts),
        notes=tuple(_notes(alone, taken, backwards)),
    )


def _prior(has: NDArray[np.bool_]) -> float:
    """Return the offset of a probability that is the share of images with the label, smoothed."""
    return float(np.log((len(has) - has.sum() + 1) / (has.sum() + 1)))


def _notes(alone: Sequence[str], taken: Sequence[str], backwards: Sequence[str]) -> list[str]:
    lines = []
    if alone:
        number = counted(len(alone), "label")
        lines.append(
            f"{number} could not be held out, so the threshold is the head's own and the "
            f"probability rough; more images with it would mend that: {listed(alone)}"
        )
    if taken:
        number = counted(len(taken), "label")
        lines.append(
            f"{number} not told from the rest, as F1 was best when every image was taken: "
            f"{listed(taken)}"
        )
    if backwards:
        number = counted(len(backwards), "label")
        lines.append(
            f"{number} not told from the rest, as high scores spoke against it: {listed(backwards)}"
        )
    return lines
