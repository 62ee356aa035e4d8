"""Linear heads: a score is the inner product of a row with a class's weights, plus its bias."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.heads.exact import exact_product
from offshelf.heads.head import FittedHead, Learned, Options, freeze

TOLERANCE = 1e-4
MAX_ITERATIONS = 10_000


class LinearSvm:
    """One-vs-rest linear support vector machine with squared hinge loss.

    Minimises, for each class, ``|w|^2 / 2 + C * sum(max(0, 1 - y * (w.x + b))^2)`` as
    scikit-learn's ``LinearSVC`` does (the bias is regularised with the weights). Solved by
    LIBLINEAR: Fan, Chang, Hsieh, Wang and Lin, "LIBLINEAR: A Library for Large Linear
    Classification", JMLR 9 (2008), 1871-1874; the dual for fewer rows than dimensions, else
    the primal. Where the dual does not converge the primal is solved instead.
    """

    def fit(
        self,
        rows: NDArray[np.float64],
        targets: NDArray[np.int64],
        n_classes: int,
        options: Options,
    ) -> Learned:
        """Learn ``weight`` K x D and ``bias`` K; two classes get mirrored rows."""
        model, notes = _solve(rows, targets, options)
        weight, bias = model.coef_, model.intercept_
        if n_classes == 2:
            weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
        parameters = {
            "C": options.c,
            "seed": options.seed,
            "loss": "squared_hinge",
            "tolerance": TOLERANCE,
        }
        return Learned(_linear_arrays(weight, bias), parameters, notes)

    def decide(self, head: FittedHead, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``rows @ weight.T + bias``, exact in the sense of :mod:`.exact`."""
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


def _linear_arrays(
    weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> dict[str, NDArray[np.float32]]:
    return {
        "weight": freeze(np.ascontiguousarray(weight, dtype=np.float32)),
        "bias": freeze(np.ascontiguousarray(bias, dtype=np.float32)),
    }


def _solve(
    rows: NDArray[np.float64], targets: NDArray[np.int64], options: Options
) -> tuple[Any, tuple[str, ...]]:
    model = _train(rows, targets, options, dual="auto")
    if model.n_iter_ < MAX_ITERATIONS:
        return model, ()
    model = _train(rows, targets, options, dual=False)
    if model.n_iter_ < MAX_ITERATIONS:
        return model, (
            f"svm: the dual solver did not converge in {MAX_ITERATIONS} rounds at "
            f"C={options.c:g}; solved in the primal instead",
        )
    return model, (
        f"svm: not converged after {MAX_ITERATIONS} rounds at C={options.c:g}; "
        "scores are approximate, a smaller C converges",
    )


def _train(
    rows: NDArray[np.float64], targets: NDArray[np.int64], options: Options, dual: bool | str
) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    model = LinearSVC(
        C=options.c,
        dual=dual,
        tol=TOLERANCE,
        max_iter=MAX_ITERATIONS,
        random_state=options.seed,
    )
    with warnings.catch_warnings():
        # The caller reads n_iter_ and says the same in a note.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows, targets)
