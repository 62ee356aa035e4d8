"""What a fitted head is, and what a kind of head must be able to do. No computing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from offshelf.heads.numerics.row_scaling import ScaledRows
    from offshelf.heads.probabilities.cross_fit import CrossFit

Normalisation = Literal["l2", "none", "standard", "sqrt"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
ClassWeight = Literal["balanced"]
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A classifier that was trained on features.

    Attributes:
        kind: name of the head in :mod:`offshelf.heads.registry`, for example ``svm`` or
            ``fc:256``.
        classes: K class names; column k of a decision belongs to ``classes[k]``.
        arrays: what was learned, float32, finite, read-only. Every kind keeps its matrix
            over the d values of a prepared row under ``weight``. A linear head has
            ``weight`` K x d and ``bias`` K, also for two classes.
        parameters: what it was trained with, JSON values.
        normalisation: what :func:`offshelf.heads.fit_head.decision` does to each feature row.
        notes: one line each, for a person: what was unusual while training.
        reduction: what it does next, for example ``pca:64``; with ``none`` d is D.
        preparation: the arrays of both, see :mod:`offshelf.heads.preparation.prepare`; none for the
            normalisations ``l2``, ``none`` and ``sqrt`` without a reduction.

    >>> weight = np.array([[-1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    >>> arrays = {"weight": weight, "bias": np.zeros(2, dtype=np.float32)}
    >>> FittedHead("svm", ("cat", "dog"), arrays, {"C": 1.0}, "l2").dimension
    2
    """

    kind: str
    classes: tuple[str, ...]
    arrays: Mapping[str, NDArray[np.float32]]
    parameters: Mapping[str, Any]
    normalisation: Normalisation
    notes: tuple[str, ...] = ()
    reduction: str = "none"
    preparation: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """D, the number of values in one feature row."""
        widest = self.preparation.get("shift", self.preparation.get("projection"))
        return int((self.arrays["weight"] if widest is None else widest).shape[-1])


@dataclass(frozen=True)
class Options:
    """What a person may choose about training.

    Attributes:
        c: inverse strength of the regularisation, > 0; ``auto`` chooses it by
            cross-validation.
        seed: of every random choice, 0 to 2**32 - 1.
        class_weight: ``balanced`` gives every class the same weight in the loss, None
            every row.
    """

    c: float | Literal["auto"] = 1.0
    seed: int = 0
    class_weight: ClassWeight | None = None


@dataclass(frozen=True, eq=False)
class Learned:
    """What one kind of head learned; the fields are those of :class:`FittedHead`."""

    arrays: Mapping[str, NDArray[np.float32]]
    parameters: Mapping[str, Any]
    notes: tuple[str, ...] = ()


class Fitter(Protocol):
    """One kind of head, on plain arrays. Rows come finite, those to score scaled and float64."""

    def fit(
        self, rows: ScaledRows, targets: NDArray[np.int64], n_classes: int, options: Options
    ) -> Learned:
        """Learn from rows N x D; targets N, each of 0 .. n_classes - 1 at least once."""

    def cross_fit(self, task: CrossFit) -> NDArray[np.float64] | None:
        """Return the scores N x K of rows that are held out; None where only training tells."""

    def decide(self, head: FittedHead, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores N x K. A row's scores must not depend on the rows beside it."""

    def problem(self, arrays: Mapping[str, NDArray[np.float32]], n_classes: int) -> str:
        """Say what is wrong with the names or shapes of *arrays*, or "" when nothing is."""


def freeze(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return *array* marked read-only, so that a fitted head stays what it was."""
    array.flags.writeable = False
    return array
