"""One weight for each feature: what a linear head and its preparation come to together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import HeadError
from offshelf.heads.head import FittedHead

Array = NDArray[np.float64]


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
