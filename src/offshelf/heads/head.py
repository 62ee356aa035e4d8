"""A fitted head: a classifier that was trained on features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.heads.label_decisions import LabelDecisions
from offshelf.heads.options import Normalisation


@dataclass(frozen=True, eq=False, repr=False)
class FittedHead(Brief):
    """A classifier that was trained on features.

    Attributes:
        kind: name of the head in :mod:`offshelf.heads.kinds.registry`, for example ``svm`` or
            ``fc:256``.
        classes: K class names; column k of a decision belongs to ``classes[k]``.
        arrays: what was learned, float32, finite, read-only. Every kind keeps its matrix
            over the d values of a prepared row under ``weight``. A linear head has
            ``weight`` K x d and ``bias`` K, also for two classes.
        parameters: what it was trained with, JSON values.
        normalisation: what :func:`.fit_head.decision` does to each feature row.
        notes: one line each: what was unusual while training.
        reduction: what it does next, for example ``pca:64``; with ``none`` d is D.
        preparation: the arrays of both, see :mod:`offshelf.heads.preparation.prepare`; none for the
            normalisations ``l2``, ``none`` and ``sqrt`` without a reduction.
        decisions: which of its classes a row has, where it may have several of them, or none;
            None for a head whose row is of one class.

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
    decisions: LabelDecisions | None = None

    @property
    def dimension(self) -> int:
        """D, the number of values in one feature row."""
        widest = self.preparation.get("shift", self.preparation.get("projection"))
        return int((self.arrays["weight"] if widest is None else widest).shape[-1])


def frozen(values: Any) -> NDArray[np.float32]:
    """Return *values* as float32, read-only, so that a fitted head stays what it was."""
    array = np.ascontiguousarray(values, dtype=np.float32)
    array.flags.writeable = False
    return array
