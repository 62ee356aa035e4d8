"""Linear heads: a score is the inner product of a row with a class's weights, plus its bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.head import FittedHead, frozen
from offshelf.heads.kinds.fitter import CrossFit, Learned, mirrored
from offshelf.heads.numerics.reproducible import exact_product
from offshelf.heads.numerics.row_scaling import ScaledRows
from offshelf.heads.options import FOLDS, GRID, Options
from offshelf.heads.regularisation_path import best_of, regularisation_path
from offshelf.heads.svm.solve import (
    EXACT,
    Search,
    Training,
    cross_fit,
    finish,
    make_training,
    search,
    solve,
)
from offshelf.text import counted

Array = NDArray[np.float64]


class LinearHead:
    """What all linear heads share: ``weight`` K x D and ``bias`` K."""

    uses_c: ClassVar[bool] = True
    searches_c: ClassVar[bool] = True
    one_vs_rest: ClassVar[bool] = False

    def decide(self, head: FittedHead, rows: Array) -> Array:
        """Return ``rows @ weight.T + bias``, exact in the sense of :mod:`.reproducible`."""
        scores = exact_product(rows, head.arrays["weight"].astype(np.float64))
        scores += head.arrays["bias"]
        return scores

    def problem(self, arrays: Mapping[str, NDArray[np.float32]], n_classes: int) -> str:
        """Say which array is missing, unknown or misshapen, or "" when none is."""
        if set(arrays) != {"weight", "bias"}:
            return f"holds the arrays {sorted(arrays)} instead of ['bias', 'weight']"
        weight, bias = arrays["weight"].shape, arrays["bias"].shape
        if len(weight) != 2 or weight[0] != n_classes or weight[1] < 1:
            return f"has weights of shape {weight} for {n_classes} classes"
        if bias != (n_classes,):
            return f"has biases of shape {bias} for {n_classes} classes"
        return ""


def linear_arrays(weight: Array, bias: Array) -> dict[str, NDArray[np.float32]]:
    """Return weights and biases as a head keeps them; one row for two classes is mirrored."""
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return {"weight": frozen(weight), "bias": frozen(bias)}


def halved(weight: Array, bias: Array) -> tuple[Array, Array]:
    """Return half the difference of the second of two classes to the first, else the same.

    Mirrored, it scores both classes as far apart as before, so a softmax is the same.
    """
    if len(weight) != 2:
        return weight, bias
    return (weight[1:] - weight[:1]) / 2, (bias[1:] - bias[:1]) / 2


def fewest_errors(
    errors_at: Callable[[Sequence[float]], list[float]], c: float | Literal["auto"]
) -> tuple[tuple[float, ...], list[float]]:
    """Return the values of C to choose from, one where it is given, and the errors at each."""
    if c != "auto":
        return (c,), errors_at((c,))
    cs, figures = regularisation_path(lambda some: [-error for error in errors_at(some)])
    return cs, [-figure for figure in figures]


class LinearSvm(LinearHead):
    """One-vs-rest linear support vector machine with squared hinge loss.

    Minimises, for each class, ``|w|^2 / 2 + C * sum(max(0, 1 - y * (w.x + b))^2)`` as
    scikit-learn's ``LinearSVC`` does (the bias is regularised with the weights). Scores are
    within 1e-4 of the minimum's, see :mod:`.newton`. ``auto`` takes the C of
    :mod:`.regularisation_path` with the best accuracy in five-fold cross-validation, see
    :mod:`.svm.solve`; of fewer than five rows each is a fold. Balanced classes are those of
    ``LinearSVC(class_weight="balanced")``.
    """

    one_vs_rest = True

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K; two classes get mirrored rows."""
        if options.c == "auto":
            return learn_best(*_searched(rows, targets, n_classes, options), options.seed)
        training = make_training(rows, targets, n_classes, options.c, options.class_weight)
        return _learned(solve(training, options.c), options.c, options.seed)

    def cross_fit(self, task: CrossFit) -> Array | None:
        """Return the scores of rows that are held out, from one matrix of inner products."""
        given = task.rows, task.targets, task.n_classes, task.c, task.options.class_weight
        training = make_training(*given)
        weight, bias = (
            task.arrays[name].astype(np.float64)[-len(training.positives) :]
            for name in ("weight", "bias")
        )
        head = training.minimum(weight, bias, task.c)
        scores = cross_fit(training, task.c, task.fold, head).T.astype(np.float64, copy=False)
        return mirrored(scores) if scores.shape[1] == 1 else scores


def _searched(
    rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
) -> tuple[Training, Search]:
    """Cross-validate C; return the training in which the best can be finished, and all of it."""
    found: dict[float, tuple[Training, Search]] = {}
    folds = min(FOLDS, len(targets))

    def measure(cs: Sequence[float]) -> list[float]:
        largest = max(*cs, *GRID)
        training = make_training(rows, targets, n_classes, largest, options.class_weight)
        part = search(training, cs, folds, options.seed)
        found.update(dict.fromkeys(cs, (training, part)))
        return [float(figure) for figure in part.accuracies.mean(axis=1)]

    cs, figures = regularisation_path(measure)
    parts = list(dict.fromkeys(found[c][1] for c in cs))
    every = Search(
        cs,
        np.concatenate([part.accuracies for part in parts]),
        tuple(point for part in parts for point in part.solutions),
    )
    return found[cs[best_of(figures)]][0], every


def learn_best(training: Training, found: Search, seed: int) -> Learned:
    """Return what the SVM learns from all rows at the C that cross-validation chose."""
    c = found.cs[found.best]
    learned = _learned(finish(training, c, found.solutions[found.best]), c, seed)
    record = {"C_grid": list(found.cs), "fold_accuracies": found.accuracies.tolist()}
    folds, fewest = found.accuracies.shape[1], int(np.bincount(training.targets).min())
    rows = counted(fewest, "row")
    rare = (f"svm: a class has only {rows} for the {folds} folds that chose C",)
    return Learned(
        learned.arrays,
        {**learned.parameters, **record},
        learned.notes + (rare if fewest < folds else ()),
    )


def _learned(solved: tuple[Array, Array, bool], c: float, seed: int) -> Learned:
    weight, bias, found = solved
    parameters = {"C": c, "seed": seed, "loss": "squared_hinge", "tolerance": EXACT}
    note = f"svm: not converged at C={c:g}; scores are approximate, a smaller C converges"
    return Learned(linear_arrays(weight, bias), parameters, () if found else (note,))


def linear_weights(head: FittedHead) -> tuple[Array, Array]:
    """Return weights K x D and biases K over the features themselves.

    The scores are ``weight @ x + bias`` with x the feature row, for the normalisation ``l2``
    divided by its Euclidean norm first; standardising and reductions are in the weights.

    Raises:
        HeadError: the head is not linear, as ``knn`` and ``fc:256``, or takes roots.

    >>> arrays = {"weight": np.float32([[-1, 0], [1, 0]]), "bias": np.zeros(2, np.float32)}
    >>> standard = {"shift": np.float32([1, 0]), "scale": np.float32([2, 1])}
    >>> head = FittedHead("svm", ("a", "b"), arrays, {}, "standard", preparation=standard)
    >>> linear_weights(head)
    (array([[-2.,  0.],
           [ 2.,  0.]]), array([ 2., -2.]))
    """
    shape = head.arrays["weight"].shape if set(head.arrays) == {"weight", "bias"} else ()
    if len(shape) != 2 or shape[0] != len(head.classes):
        raise HeadError(f"the head {head.kind} is not linear: it cannot be explained")
    if head.normalisation == "sqrt":
        raise HeadError(
            f"the head {head.kind} takes roots of its features (normalisation 'sqrt'): "
            "it cannot be explained"
        )
    weight, bias = (head.arrays[name].astype(np.float64) for name in ("weight", "bias"))
    arrays: dict[str, Any] = {k: v.astype(np.float64) for k, v in head.preparation.items()}
    if "projection" in arrays:
        weight = weight @ arrays["projection"]
    if "centre" in arrays:
        bias = bias - weight @ arrays["centre"]
    if "shift" in arrays:
        weight = weight * arrays["scale"]
        bias = bias - weight @ arrays["shift"]
    return weight, bias
