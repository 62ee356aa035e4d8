"""The options of training, their words and their defaults. Nothing heavy is loaded here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Normalisation = Literal["l2", "none", "standard", "sqrt"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
ClassWeight = Literal["balanced"]
MAX_SEED = 2**32 - 1
# The values of C that ``auto`` can choose from, 1e-6 to 1e6; those that it tries in any case, 0.01
# to 100; and the folds that choose.
LADDER = tuple(10 ** (-2 + step * (4 / 6)) for step in range(-6, 13))
GRID = LADDER[6:13]
FOLDS = 5


@dataclass(frozen=True)
class Options:
    """The options of training that every kind of head is given.

    Attributes:
        c: inverse strength of the regularisation, > 0; ``auto`` chooses it by
            cross-validation.
        seed: of all random choices, 0 to 2**32 - 1.
        class_weight: ``balanced`` gives every class the same weight in the loss, None
            every row.
        groups: N numbers; rows of one number are never divided while training. None where
            rows are independent.
    """

    c: float | Literal["auto"] = 1.0
    seed: int = 0
    class_weight: ClassWeight | None = None
    groups: NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
