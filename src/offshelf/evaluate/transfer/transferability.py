"""Transferability scores of features: no head is trained for them.

All are computed from one matrix of inner products; the cost is min(N, D)^2 max(N, D) for it
and min(N, D)^3 for its eigenvalues, so seconds for 1500 images of 25,088 dimensions. Of more
than some ten thousand images in both respects, give a stratified part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.evaluate.transfer.class_spectrum import Matrix, Products, Spectrum, products, spectrum

# Ratios of prior to noise precision that are looked at, in units of the largest eigenvalue.
_RATIOS = np.logspace(-10, 6, 65)
# Ridge strengths that are looked at, in units of the mean eigenvalue per image.
_STRENGTHS = np.logspace(-6, 2, 17)
_STEPS, _TOLERANCE = 100, 1e-10


@dataclass(frozen=True)
class Transfer:
    """What cheap scores say of one kind of features; higher is better but for errors.

    Attributes:
        logme: logarithm of maximum evidence per image, averaged over classes.
        h_score: 0 to K - 1; says nothing (K - 1, always) where D >= N - 1.
        h_score_shrunk: the same with a shrunk covariance, which stays telling for large D.
        shrinkage: of that covariance, 0 to 1, by Ledoit and Wolf.
        ridge_error: share of images that ridge regression without them gets wrong.
        ridge_strength: its regularisation, with the least squared error so measured.
        n: images.
        dimension: D.
    """

    logme: float
    h_score: float
    h_score_shrunk: float
    shrinkage: float
    ridge_error: float
    ridge_strength: float
    n: int
    dimension: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)


def transfer_scores(features: NDArray[Any], targets: NDArray[np.int64]) -> Transfer:
    """Return all scores of one feature matrix; each is described at its attribute.

    Args:
        features: N x D, finite, float32 (other real types are taken too), unchanged;
            scale the rows as the head will see them.
        targets: N class indices of the training images.

    Raises:
        DataError: no numeric matrix, NaN or infinity, another number of targets, or
            fewer than two classes.

    >>> rows = np.array([[1, 0], [2, 0.1], [0.1, 1], [0, 2]], dtype=np.float32)
    >>> transfer_scores(rows, np.array([0, 0, 1, 1])).ridge_error
    0.0
    """
    given = products(features, targets)
    centred = spectrum(given, centred=True)
    shrinkage = _ledoit_wolf(centred)
    error, strength = _ridge(centred, given)
    return Transfer(
        logme=_logme(spectrum(given, centred=False)),
        h_score=_h_score(centred, 0.0),
        h_score_shrunk=_h_score(centred, shrinkage),
        shrinkage=shrinkage,
        ridge_error=error,
        ridge_strength=strength,
        n=centred.n,
        dimension=centred.dimension,
    )


def _logme(seen: Spectrum) -> float:
    """Maximise the evidence over the ratio alpha / beta; alpha then has a closed form.

    You, Liu, Wang and Long, "LogME: practical assessment of pre-trained models for transfer
    learning", ICML 2021, with the fixed-point iteration over singular values of You et
    al., "Ranking and tuning pre-trained models", JMLR 23 (2022). For each class, a linear
    Gaussian model with prior precision alpha and noise precision beta predicts the
    indicator 0/1 from the features as they are (no intercept). The iteration starts from the
    best ratio of a grid, since its fixed points need not be the highest one.
    """
    if not len(seen.values):
        return float(_evidence(seen, 1.0).mean())
    grid = np.stack([_evidence(seen, ratio) for ratio in _RATIOS * seen.values[0]])
    ratio = _RATIOS[grid.argmax(axis=0)] * seen.values[0]
    best = grid.max(axis=0)
    for _ in range(_STEPS):
        moved = np.clip(_step(seen, ratio), *(_RATIOS[[0, -1]] * seen.values[0]))
        still = np.abs(moved - ratio) <= _TOLERANCE * ratio
        ratio = moved
        if still.all():
            break
    return float(np.maximum(best, _evidence(seen, ratio)).mean())


def _evidence(seen: Spectrum, ratio: Matrix | float) -> Matrix:
    """Return log evidence / N of each class at alpha / beta, beta at its best."""
    variances = seen.values[:, None] / ratio + 1
    inside = np.square(seen.along)
    outside = np.maximum(seen.energy - inside.sum(axis=0), 0.0)
    # Of data that the model fits without any noise the evidence has no bound.
    noise = np.maximum((inside / variances).sum(axis=0) + outside, 1e-12 * seen.energy) / seen.n
    spread = np.log(variances).sum(axis=0) / seen.n
    return np.asarray(-0.5 * (np.log(2 * np.pi * noise) + 1 + spread))


def _step(seen: Spectrum, ratio: Matrix) -> Matrix:
    """Return gamma / |m|^2 over (N - gamma) / |y - Fm|^2: MacKay's update of alpha / beta."""
    kept = seen.values[:, None] / (seen.values[:, None] + ratio)
    inside = np.square(seen.along)
    effective = kept.sum(axis=0)
    squares = (np.square(kept) * inside / seen.values[:, None]).sum(axis=0)
    outside = np.maximum(seen.energy - inside.sum(axis=0), 0.0)
    residual = (np.square(1 - kept) * inside).sum(axis=0) + outside
    tiny = np.finfo(np.float64).tiny
    return np.asarray(effective * residual / np.maximum((seen.n - effective) * squares, tiny))


def _h_score(centred: Spectrum, shrinkage: float) -> float:
    """Return the trace of ``cov(f)^-1 cov(E[f | class])``.

    Bao et al., "An information-theoretic approach to transferability in task transfer
    learning", ICIP 2019; shrunk, the class part by the same factor: Ibrahim, Ponomareva and
    Mazumder, "Newer is not always better: rethinking transferability metrics", 2021.
    """
    variances = (1 - shrinkage) * centred.values
    weights = variances / (variances + shrinkage * centred.values.sum() / centred.dimension)
    between = (np.square(centred.along) / centred.energy).sum(axis=1)
    return float(weights @ between)


def _ledoit_wolf(centred: Spectrum) -> float:
    """Return the shrinkage towards a multiple of the identity.

    Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 88 (2004), 365-411.
    """
    n, dimension = centred.n, centred.dimension
    squares = float(np.square(centred.values).sum()) / n**2
    mean = float(centred.values.sum()) / (n * dimension)
    distance = squares - dimension * mean**2
    error = (centred.fourth / n - squares) / n
    # In one dimension, or where all are alike, nothing is left to shrink towards.
    return min(error, distance) / distance if distance > 1e-12 * squares else 0.0


def _ridge(centred: Spectrum, given: Products) -> tuple[float, float]:
    """Return the leave-one-out error of ridge classification, and the strength of least squares.

    Each class indicator is predicted with an intercept that is not penalised; the residual
    of an image that was left out is ``(y - f) / (1 - h)`` with h its entry on the diagonal
    of the hat matrix: Allen, Technometrics 16 (1974), 125-127 (PRESS).
    """
    n, counts = centred.n, centred.energy
    strengths = _STRENGTHS * max(centred.values.sum() / n, np.finfo(np.float64).tiny)
    squared, wrong = np.zeros(len(strengths)), np.zeros(len(strengths))
    for rows, left in centred.left():
        targets, squares = given.targets[rows], np.square(left)
        truth = np.eye(len(counts))[targets]
        for number, strength in enumerate(strengths):
            kept = centred.values / (centred.values + strength)
            fitted = counts / n + left @ (kept[:, None] * centred.along)
            hat = 1 / n + squares @ kept
            residual = (truth - fitted) / np.maximum(1 - hat, 1e-12)[:, None]
            squared[number] += np.square(residual).sum()
            wrong[number] += ((truth - residual).argmax(axis=1) != targets).sum()
    best = int(squared.argmin())
    return float(wrong[best]) / n, float(strengths[best])
