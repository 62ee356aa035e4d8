"""Attribution of a score to the cells of a map: exact sums and Grad-CAM, on plain arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.card import Brief
from offshelf.engine.contract import cell_bounds, pyramid_cells
from offshelf.heads.head import FittedHead

SUMMED = ("avg", "flatten", "max")


def is_summed(pooling: str) -> bool:
    """Return whether features of this pooling are sums over positions, given the largest ones.

    >>> is_summed("pyramid:3"), is_summed("gem")
    (True, False)
    """
    return pooling in SUMMED or pyramid_cells(pooling) > 0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassMap(Brief):
    """What each cell adds to the score of a class, or of a class less that of another.

    Attributes:
        name: of the class.
        score: the head's decision value.
        bias: the head's constant, which belongs to no cell.
        cells: float64, H x W.
        elsewhere: what tokens without a place (a class token) add, else 0.
        others: what parts of the features without an exact map add, else 0.
    """

    name: str
    score: float
    bias: float
    cells: NDArray[np.float64]
    elsewhere: float = 0.0
    others: float = 0.0

    @property
    def residual(self) -> float:
        """The score without bias, cells, elsewhere and others: 0 where the map is exact."""
        return self.score - self.bias - self.elsewhere - float(self.cells.sum()) - self.others

    def minus(self, other: ClassMap) -> ClassMap:
        """Return what speaks for this class and against *other*, cell by cell."""
        return ClassMap(
            name=f"{self.name} - {other.name}",
            score=self.score - other.score,
            bias=self.bias - other.bias,
            cells=self.cells - other.cells,
            elsewhere=self.elsewhere - other.elsewhere,
            others=self.others - other.others,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the sum of the cells as JSON values."""
        return {
            "name": self.name,
            "score": self.score,
            "bias": self.bias,
            "sum_of_cells": float(self.cells.sum()),
            "elsewhere": self.elsewhere,
            "other_parts": self.others,
            "cells": self.cells.tolist(),
        }


def feature_length(head: FittedHead, features: NDArray[Any]) -> float:
    """Return what the head divides *features* by: their Euclidean norm for l2, else 1."""
    length = float(np.linalg.norm(features.astype(np.float64)))
    return length if head.normalisation == "l2" and length > 0 else 1.0


def pooled(positions: NDArray[Any], pooling: str) -> NDArray[np.float64]:
    """Return the features that *pooling* makes of C x P *positions*.

    >>> pooled(np.array([[1.0, 3.0]]), "avg"), pooled(np.array([[1.0, 3.0]]), "max")
    (array([2.]), array([3.]))
    """
    values = positions.astype(np.float64)
    if pooling == "avg":
        return np.asarray(values.mean(axis=1))
    if cells := pyramid_cells(pooling):
        return np.asarray((pyramid_shares(values.shape[1], cells) @ values.T).ravel())
    return np.asarray(values.max(axis=1)) if pooling == "max" else values.ravel()


def pyramid_shares(count: int, cells: int) -> NDArray[np.float64]:
    """Return what every position counts in each mean of ``pyramid:N``.

    The first mean is over all positions, the others over the cells of the finer grids, row by
    row, with the bounds of the engine: where these overlap, a position counts in both. Tokens
    without a place come before the others and count in the first mean alone.

    Args:
        count: P, the number of positions.
        cells: N.

    Returns:
        float64, K x P for 1 + 4 + ... + N * N means.

    >>> pyramid_shares(9, 2)[1].reshape(3, 3).tolist()
    [[0.25, 0.25, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]]
    """
    side = math.isqrt(count)
    rows = [np.full(count, 1 / count)]
    for finer in range(2, cells + 1):
        bounds = cell_bounds(side, finer)
        for top, bottom in bounds:
            for left, right in bounds:
                share = np.zeros((side, side))
                share[top:bottom, left:right] = 1 / ((bottom - top) * (right - left))
                rows.append(np.concatenate([np.zeros(count - side * side), share.ravel()]))
    return np.stack(rows)


def summands(
    positions: NDArray[Any], weight: NDArray[Any], pooling: str, length: float
) -> NDArray[np.float64]:
    """Return what every position adds to ``weight . features / length``; they add up to it.

    With ``avg`` the features are a mean over positions, so a position adds the inner
    product of its own activation with the weights, divided by the number of positions;
    this is the class activation map of Zhou, Khosla, Lapedriza, Oliva and Torralba,
    "Learning deep features for discriminative localization", CVPR 2016, equation 2, in
    the units of the score. With ``flatten`` every position has weights of its own. With
    ``max`` a channel belongs to the position where it is largest, the first among equals. With
    ``pyramid`` a position adds its share in each cell that it lies in, see
    :func:`pyramid_shares`.

    Normalised features are divided by their length, which all positions share: it scales
    all summands alike and moves none against another.

    Args:
        positions: C x P activations.
        weight: of one class, C for ``avg`` and ``max``, C * P for ``flatten``, C * K for a
            pyramid of K cells.
        pooling: ``avg``, ``flatten``, ``max``, ``pyramid`` or ``pyramid:N``.
        length: what the features are divided by.

    Returns:
        float64, P.

    >>> summands(np.array([[1.0, 3.0], [0.0, 2.0]]), np.array([2.0, 1.0]), "avg", 1.0)
    array([1., 4.])
    """
    values, weights = positions.astype(np.float64), weight.astype(np.float64) / length
    if pooling == "avg":
        return np.asarray((weights / values.shape[1]) @ values)
    if pooling == "flatten":
        return np.asarray((weights.reshape(values.shape) * values).sum(axis=0))
    place, count = values.argmax(axis=1), values.shape[1]
    if cells := pyramid_cells(pooling):
        shares = pyramid_shares(count, cells)
        return np.asarray((shares * (weights.reshape(len(shares), -1) @ values)).sum(axis=0))
    return np.bincount(place, weights * values.max(axis=1), count).astype(np.float64)


def score_gradient(
    features: NDArray[Any], weight: NDArray[Any], normalised: bool
) -> NDArray[np.float64]:
    """Return the gradient of a class's score at the features, float64, D.

    For l2 the score is ``w.f / |f|``, with the gradient ``(w - (w.f) f / |f|^2) / |f|``.

    >>> score_gradient(np.array([3.0, 4.0]), np.array([1.0, 0.0]), True)
    array([ 0.128, -0.096])
    """
    values, weights = features.astype(np.float64), weight.astype(np.float64)
    length = float(np.linalg.norm(values))
    if not normalised or length == 0:
        return weights
    return np.asarray((weights - (weights @ values) / length**2 * values) / length)


def grad_cam(maps: NDArray[Any], gradients: NDArray[Any]) -> NDArray[np.float64]:
    """Return Grad-CAM with its sign, float64, H x W.

    Channels are weighted by their mean gradient and added: Selvaraju, Cogswell, Das,
    Vedantam, Parikh and Batra, "Grad-CAM: visual explanations from deep networks via
    gradient-based localization", ICCV 2017, equations 1 and 2, without the last ReLU: the
    cells that speak against a class are kept, below zero.

    Args:
        maps: C x H x W activations.
        gradients: of the score, C x H x W.
    """
    importance = gradients.astype(np.float64).mean(axis=(1, 2))
    return np.asarray(np.tensordot(importance, maps.astype(np.float64), axes=1))
