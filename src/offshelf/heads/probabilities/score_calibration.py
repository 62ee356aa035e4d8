"""Scores into probabilities: fitted on out-of-fold scores, applied as a pure function.

Parameters are plain numbers that JSON holds; nothing here depends on other parts of the
package but its errors and checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, numbers, same_length
from offshelf.errors import DataError

Matrix = NDArray[np.float64]
# Inverse temperatures that are looked at, in units of the mean spread of a row's scores.
_LOW, _HIGH = 1e-3, 1e3
_STEPS, _HALVINGS, _TOLERANCE = 100, 30, 1e-10
# Of the numbers in a file.
_LARGEST = 1e100


@dataclass(frozen=True)
class Temperature:
    """Probabilities ``softmax(scores / temperature)``; the predicted class never changes.

    Attributes:
        temperature: > 0, finite; above 1 the scores were too sure.
        notes: one line each: what was unusual in the data it was fitted on.

    >>> Temperature(2.0).probabilities(np.array([[0.0, 0.0], [2.0, -2.0]])).round(3).tolist()
    [[0.5, 0.5], [0.881, 0.119]]
    """

    temperature: float
    notes: tuple[str, ...] = ()

    def probabilities(self, scores: NDArray[Any]) -> Matrix:
        """Return N x K float64 probabilities, each row with the sum 1, of scores N x K."""
        return np.exp(log_softmax(numbers("scores", scores, 2) / self.temperature))

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`calibration_from_json` reads."""
        return {"kind": "temperature", "temperature": self.temperature, "notes": list(self.notes)}


@dataclass(frozen=True)
class Sigmoid:
    """Probabilities ``1 / (1 + exp(slope * score + offset))`` per class, scaled to the sum 1.

    The predicted class may change, as each class has a curve of its own.

    Attributes:
        slopes: K numbers, below 0 where a high score speaks for the class.
        offsets: K numbers.
        notes: one line each: what was unusual in the data it was fitted on.

    >>> Sigmoid((-1.0, -1.0), (0.0, 0.0)).probabilities(np.array([[3.0, 3.0]])).tolist()
    [[0.5, 0.5]]
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def probabilities(self, scores: NDArray[Any]) -> Matrix:
        """Return N x K float64 probabilities, each row with the sum 1, of scores N x K.

        Raises:
            DataError: another number of columns than classes.
        """
        matrix = numbers("scores", scores, 2)
        same_length("columns of scores", matrix.shape[1], "calibrated classes", len(self.slopes))
        # In logarithms, so that a row far from every class keeps its order, not 0 / 0.
        single = -np.logaddexp(0.0, np.array(self.slopes) * matrix + np.array(self.offsets))
        return np.exp(log_softmax(single))

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`calibration_from_json` reads."""
        return {
            "kind": "sigmoid",
            "slopes": list(self.slopes),
            "offsets": list(self.offsets),
            "notes": list(self.notes),
        }


Calibration = Temperature | Sigmoid


def fit_temperature(scores: NDArray[Any], targets: NDArray[np.int64]) -> Temperature:
    """Return the temperature of least log loss.

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017,
    section 4.2. The loss is convex in 1 / temperature; Newton's method within bounds of
    1/1000 and 1000 times the mean spread of a row's scores. Where every row is right, no
    temperature is low enough: then the mean probability of the true class is set to
    (N + 1) / (N + 2), Laplace's rule, and a note says so.

    Args:
        scores: N x K decision scores of images that the head was not trained on
            (out of fold), finite, K >= 2.
        targets: N true class indices.

    Raises:
        DataError: shapes that do not fit, values that are not finite, or targets outside.

    >>> draw = np.random.default_rng(0)
    >>> logits = 3 * draw.normal(size=(3000, 3))
    >>> targets = (logits + draw.gumbel(size=(3000, 3))).argmax(axis=1)
    >>> 3.7 < fit_temperature(4 * logits, targets).temperature < 4.3
    True
    """
    matrix, targets = _checked(scores, targets)
    spread = float(matrix.std(axis=1).mean())
    if spread == 0:
        return Temperature(1.0, ("all scores of a row are equal: probabilities are too",))
    scaled = matrix / spread
    if _all_right(scaled, targets):
        note = "every out-of-fold score was right: the temperature is set by Laplace's rule"
        return Temperature(spread / _laplace(scaled, targets), (note,))
    inverse = _newton_inverse(scaled, targets)
    notes: tuple[str, ...] = ()
    if inverse <= _LOW * (1 + 1e-6):
        notes = ("the scores do not tell the classes apart: probabilities are near equal",)
    return Temperature(spread / inverse, notes)


def fit_sigmoid(scores: NDArray[Any], targets: NDArray[np.int64]) -> Sigmoid:
    """Return a sigmoid per class, one class against the rest.

    Platt, "Probabilistic outputs for support vector machines and comparisons to regularized
    likelihood methods", 1999, with his smoothed targets ``(N+ + 1) / (N+ + 2)`` and
    ``1 / (N- + 2)``; by the damped Newton method of Lin, Lin and Weng, "A note on Platt's
    probabilistic outputs for support vector machines", Machine Learning 68 (2007), 267-276.
    The classes are then scaled to the sum 1, as scikit-learn does.

    Args:
        scores: N x K decision scores, out of fold, finite, K >= 2.
        targets: N true class indices.

    Raises:
        DataError: shapes that do not fit, values that are not finite, or targets outside.

    >>> scores = np.array([[2.0, -2.0], [1.0, -1.0], [-1.0, 1.0], [-2.0, 2.0]])
    >>> fit_sigmoid(scores, np.array([0, 0, 1, 1])).probabilities(scores)[0].round(2).tolist()
    [0.79, 0.21]
    """
    matrix, targets = _checked(scores, targets)
    pairs = [platt(column, targets == k) for k, column in enumerate(matrix.T)]
    backwards = sum(slope > 0 for slope, _ in pairs)
    note = f"in {backwards} of {len(pairs)} classes a higher score spoke against the class"
    return Sigmoid(
        tuple(slope for slope, _ in pairs),
        tuple(offset for _, offset in pairs),
        (note,) if backwards else (),
    )


def calibration_from_json(document: Any, n_classes: int) -> Calibration:
    """Return the calibration that ``to_json`` wrote.

    DataError where the JSON of an untrusted file has another kind, or numbers that are missing,
    not finite, out of range or of another number of classes.
    """
    values = document if isinstance(document, Mapping) else {}
    notes = values.get("notes", [])
    if isinstance(notes, list) and all(isinstance(note, str) for note in notes):
        if values.get("kind") == "temperature":
            temperature = _plain(values.get("temperature"))
            if temperature is not None and temperature >= 1 / _LARGEST:
                return Temperature(temperature, tuple(notes))
        if values.get("kind") == "sigmoid":
            slopes, offsets = _list(values.get("slopes")), _list(values.get("offsets"))
            if len(slopes) == len(offsets) == n_classes:
                return Sigmoid(slopes, offsets, tuple(notes))
    raise DataError(f"damaged calibration: no temperature and no sigmoids of {n_classes} classes")


def log_softmax(scores: Matrix) -> Matrix:
    """Return the logarithm of the softmax of each row of finite *scores*.

    scipy.special has it, too, but to import that takes longer than to label ten images.
    """
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _checked(scores: NDArray[Any], targets: NDArray[np.int64]) -> tuple[Matrix, NDArray[np.int64]]:
    matrix = numbers("scores", scores, 2)
    if matrix.shape[1] < 2:
        raise DataError("scores need a column for each of at least two classes")
    targets = class_indices("targets", targets, matrix.shape[1])
    same_length("rows of scores", len(matrix), "targets", len(targets))
    return matrix, targets


def _all_right(scores: Matrix, targets: NDArray[np.int64]) -> bool:
    others = scores.copy()
    others[np.arange(len(targets)), targets] = -np.inf
    return bool((scores[np.arange(len(targets)), targets] >= others.max(axis=1)).all())


def _newton_inverse(scores: Matrix, targets: NDArray[np.int64]) -> float:
    """Minimise the convex log loss over the inverse temperature; bisect where Newton leaves."""
    low, high, inverse = _LOW, _HIGH, 1.0
    true = scores[np.arange(len(targets)), targets].mean()
    for _ in range(_STEPS):
        weights = np.exp(log_softmax(scores * inverse))
        expected = (weights * scores).sum(axis=1)
        slope = float(expected.mean() - true)
        bend = float(((weights * scores**2).sum(axis=1) - expected**2).mean())
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        moved = inverse - slope / bend if bend > 0 else 0.0
        if not low < moved < high:
            moved = math.sqrt(low * high)
        if abs(moved - inverse) <= _TOLERANCE * inverse:
            break
        inverse = moved
    return inverse


def _laplace(scores: Matrix, targets: NDArray[np.int64]) -> float:
    wanted = (len(targets) + 1) / (len(targets) + 2)
    low, high = _LOW, _HIGH
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        chosen = log_softmax(scores * middle)[np.arange(len(targets)), targets]
        low, high = (middle, high) if np.exp(chosen).mean() < wanted else (low, middle)
    return math.sqrt(low * high)


def platt(scores: Matrix, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset of one class against the rest, see :func:`fit_sigmoid`.

    They are fitted on scores of about one, then scaled back.
    """
    scale = max(float(np.abs(scores).max()), np.finfo(np.float64).tiny)
    x, n = scores / scale, int(positive.sum())
    wanted = np.where(positive, (n + 1) / (n + 2), 1 / (len(x) - n + 2))
    slope, offset = 0.0, math.log((len(x) - n + 1) / (n + 1))
    loss = _platt_loss(slope, offset, x, wanted)
    for _ in range(_STEPS):
        p = np.exp(-np.logaddexp(0.0, slope * x + offset))
        away, bend = wanted - p, p * (1 - p)
        gradient = np.array([away @ x, away.sum()])
        if np.abs(gradient).max() < _TOLERANCE * len(x):
            break
        mixed = bend @ x
        hessian = np.array([[bend @ x**2, mixed], [mixed, bend.sum()]]) + 1e-12 * np.eye(2)
        move = -np.linalg.solve(hessian, gradient)
        for halving in range(_HALVINGS):
            step = move / 2**halving
            new = _platt_loss(slope + step[0], offset + step[1], x, wanted)
            if new < loss + 1e-4 * float(gradient @ step):
                break
        else:
            break
        slope, offset, loss = slope + float(step[0]), offset + float(step[1]), new
    return slope / scale, offset


def _platt_loss(slope: float, offset: float, x: Matrix, wanted: Matrix) -> float:
    """Return the cross entropy, as Lin, Lin and Weng write it so that nothing overflows."""
    z = slope * x + offset
    return float((np.logaddexp(0.0, z) - (1 - wanted) * z).sum())


def _plain(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # So that no product or quotient with a float32 score overflows; NaN fails, too.
    return float(value) if abs(value) <= _LARGEST else None


def _list(values: Any) -> tuple[float, ...]:
    found = [_plain(value) for value in values] if isinstance(values, list) else []
    return tuple(value for value in found if value is not None)
