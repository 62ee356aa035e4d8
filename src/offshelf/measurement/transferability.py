"""Transferability scores of features, for which no head is trained, and how they rank.

All rest on two decompositions of inner products; the cost of each is min(N, D)^2 max(N, D) for it
and min(N, D)^3 for its eigenvalues, so seconds for 1500 images of 25,088 dimensions. Of more
than some ten thousand images in both respects, give a stratified part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.checks import class_indices, json_number, numbers, same_length
from offshelf.errors import DataError
from offshelf.heads.arguments import checked_features
from offshelf.heads.numerics.eigen import Spectrum, decompose
from offshelf.heads.numerics.row_scaling import blocks, inner_products, scale_rows

Matrix = NDArray[np.float64]
Targets = NDArray[np.int64]
_BLOCK_VALUES = 2**22
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
        HeadError: no numeric matrix, or NaN or infinity inside.
        DataError: another number of targets than rows, or fewer than two classes.

    >>> rows = np.array([[1, 0], [2, 0.1], [0.1, 1], [0, 2]], dtype=np.float32)
    >>> transfer_scores(rows, np.array([0, 0, 1, 1])).ridge_error
    0.0
    """
    matrix = checked_features(features)
    same_length("rows of features", len(matrix), "targets", len(np.atleast_1d(targets)))
    present, targets = np.unique(class_indices("targets", targets), return_inverse=True)
    if len(present) < 2:
        raise DataError("all images are of one class: a transfer score needs at least two")
    rows = scale_rows(matrix, "none")
    known = inner_products(rows, 0.0) if len(matrix) <= matrix.shape[1] else None
    copy = None if known is None else known.copy()
    around_zero = decompose(rows, around_zero=True, known=copy)
    # Below this a value is rounding of the largest product, before the mean was taken away.
    floor = max(rows.shape) * np.finfo(np.float64).eps * float(around_zero.spread.sum())
    centred = class_spectrum(decompose(rows, known=known), matrix.shape[1], targets, floor)
    shrinkage = _ledoit_wolf(centred)
    error, strength = _ridge(centred, targets)
    return Transfer(
        logme=_logme(class_spectrum(around_zero, matrix.shape[1], targets, floor)),
        h_score=_h_score(centred, 0.0),
        h_score_shrunk=_h_score(centred, shrinkage),
        shrinkage=shrinkage,
        ridge_error=error,
        ridge_strength=strength,
        n=centred.n,
        dimension=centred.dimension,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassSpectrum:
    """The features N x D as U S V^T, and the class indicators Y, N x K, along U.

    Attributes:
        spectrum: of the rows.
        kept: r numbers of its directions that are more than rounding, the largest first.
        values: r eigenvalues S^2 > 0, falling; r <= min(N, D).
        along: r x K, U^T Y.
        energy: K, squared norms of the columns of Y.
        fourth: sum over the rows of the fourth power of their norm.
        n: N.
        dimension: D.
    """

    spectrum: Spectrum
    kept: NDArray[np.intp]
    values: Matrix
    along: Matrix
    energy: Matrix
    fourth: float
    n: int
    dimension: int

    def left(self, rows: slice) -> Matrix:
        """Return those rows of U."""
        left: Matrix = self.spectrum.coordinates(rows)[:, self.kept] / np.sqrt(self.values)
        return left


def class_spectrum(
    spectrum: Spectrum, dimension: int, targets: Targets, floor: float
) -> ClassSpectrum:
    """Return what the *spectrum* of N rows has of each class, in directions above *floor*."""
    kept = np.flatnonzero(spectrum.spread > floor)[::-1]
    values, counts = spectrum.spread[kept], np.bincount(targets)
    along = spectrum.mixtures(np.eye(len(counts))[targets])[kept]
    return ClassSpectrum(
        spectrum=spectrum,
        kept=kept,
        values=values,
        along=along / np.sqrt(values)[:, None],
        energy=counts.astype(np.float64),
        fourth=float(np.square(spectrum.squares()).sum()),
        n=len(targets),
        dimension=dimension,
    )


def _logme(around_zero: ClassSpectrum) -> float:
    """Maximise the evidence over the ratio alpha / beta; alpha then has a closed form.

    You, Liu, Wang and Long, "LogME: practical assessment of pre-trained models for transfer
    learning", ICML 2021, with the fixed-point iteration over singular values of You et
    al., "Ranking and tuning pre-trained models", JMLR 23 (2022). For each class, a linear
    Gaussian model with prior precision alpha and noise precision beta predicts the
    indicator 0/1 from the features as they are (no intercept). The iteration starts from the
    best ratio of a grid, since its fixed points need not be the highest one.
    """
    if not len(around_zero.values):
        return float(_evidence(around_zero, 1.0).mean())
    grid = np.stack([_evidence(around_zero, ratio) for ratio in _RATIOS * around_zero.values[0]])
    ratio = _RATIOS[grid.argmax(axis=0)] * around_zero.values[0]
    best = grid.max(axis=0)
    for _ in range(_STEPS):
        moved = np.clip(_step(around_zero, ratio), *(_RATIOS[[0, -1]] * around_zero.values[0]))
        still = np.abs(moved - ratio) <= _TOLERANCE * ratio
        ratio = moved
        if still.all():
            break
    return float(np.maximum(best, _evidence(around_zero, ratio)).mean())


def _evidence(around_zero: ClassSpectrum, ratio: Matrix | float) -> Matrix:
    """Return log evidence / N of each class at alpha / beta, beta at its best."""
    variances = around_zero.values[:, None] / ratio + 1
    inside = np.square(around_zero.along)
    outside = np.maximum(around_zero.energy - inside.sum(axis=0), 0.0)
    # Of data that the model fits without any noise the evidence has no bound.
    noise = (
        np.maximum((inside / variances).sum(axis=0) + outside, 1e-12 * around_zero.energy)
        / around_zero.n
    )
    spread = np.log(variances).sum(axis=0) / around_zero.n
    return np.asarray(-0.5 * (np.log(2 * np.pi * noise) + 1 + spread))


def _step(around_zero: ClassSpectrum, ratio: Matrix) -> Matrix:
    """Return gamma / |m|^2 over (N - gamma) / |y - Fm|^2: MacKay's update of alpha / beta."""
    kept = around_zero.values[:, None] / (around_zero.values[:, None] + ratio)
    inside = np.square(around_zero.along)
    effective = kept.sum(axis=0)
    squares = (np.square(kept) * inside / around_zero.values[:, None]).sum(axis=0)
    outside = np.maximum(around_zero.energy - inside.sum(axis=0), 0.0)
    residual = (np.square(1 - kept) * inside).sum(axis=0) + outside
    tiny = np.finfo(np.float64).tiny
    return np.asarray(
        effective * residual / np.maximum((around_zero.n - effective) * squares, tiny)
    )


def _h_score(centred: ClassSpectrum, shrinkage: float) -> float:
    """Return the trace of ``cov(f)^-1 cov(E[f | class])``.

    Bao et al., "An information-theoretic approach to transferability in task transfer
    learning", ICIP 2019; shrunk, the class part by the same factor: Ibrahim, Ponomareva and
    Mazumder, "Newer is not always better: rethinking transferability metrics", 2021.
    """
    variances = (1 - shrinkage) * centred.values
    weights = variances / (variances + shrinkage * centred.values.sum() / centred.dimension)
    between = (np.square(centred.along) / centred.energy).sum(axis=1)
    return float(weights @ between)


def _ledoit_wolf(centred: ClassSpectrum) -> float:
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


def _ridge(centred: ClassSpectrum, targets: Targets) -> tuple[float, float]:
    """Return the leave-one-out error of ridge classification, and the strength of least squares.

    Each class indicator is predicted with an intercept that is not penalised; the residual
    of an image that was left out is ``(y - f) / (1 - h)`` with h its entry on the diagonal
    of the hat matrix: Allen, Technometrics 16 (1974), 125-127 (PRESS).
    """
    n, counts = centred.n, centred.energy
    strengths = _STRENGTHS * max(centred.values.sum() / n, np.finfo(np.float64).tiny)
    squared, wrong = np.zeros(len(strengths)), np.zeros(len(strengths))
    for rows in blocks(n, centred.dimension, _BLOCK_VALUES):
        left, own = centred.left(rows), targets[rows]
        squares = np.square(left)
        truth = np.eye(len(counts))[own]
        for number, strength in enumerate(strengths):
            kept = centred.values / (centred.values + strength)
            fitted = counts / n + left @ (kept[:, None] * centred.along)
            hat = 1 / n + squares @ kept
            residual = (truth - fitted) / np.maximum(1 - hat, 1e-12)[:, None]
            squared[number] += np.square(residual).sum()
            wrong[number] += ((truth - residual).argmax(axis=1) != own).sum()
    best = int(squared.argmin())
    return float(wrong[best]) / n, float(strengths[best])


@dataclass(frozen=True)
class Agreement:
    """Rank correlations, -1 to 1; None where a list is constant or has fewer than 3 values.

    Attributes:
        n: pairs.
        spearman: Spearman's rho.
        spearman_p: its two-sided p-value.
        kendall: Kendall's tau-b.
        kendall_p: its two-sided p-value.
        weighted_kendall: Vigna's tau, in which the best rows weigh most; the figure of
            the LogME paper.
        regret: accuracy lost by taking the row with the highest score, 0 to 1.
    """

    n: int
    spearman: float | None
    spearman_p: float | None
    kendall: float | None
    kendall_p: float | None
    weighted_kendall: float | None
    regret: float

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)


def agreement(
    scores: Sequence[float] | NDArray[np.float64],
    accuracies: Sequence[float] | NDArray[np.float64],
) -> Agreement:
    """Return how far a score orders rows as their measured accuracy does.

    Spearman, American Journal of Psychology 15 (1904), 72-101; Kendall, "Rank correlation
    methods", 1948 (tau-b, with ties); Vigna, "A weighted correlation index for rankings
    with ties", WWW 2015.

    Args:
        scores: n finite numbers, higher for better; turn an error round before.
        accuracies: n finite numbers, of the same rows.

    Raises:
        DataError: lists of two lengths, empty, or not finite.

    >>> found = agreement([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4])
    >>> found.spearman, round(found.kendall, 3), found.regret
    (0.8, 0.667, 0.0)
    """
    from scipy import stats

    x, y = numbers("scores", scores, 1), numbers("accuracies", accuracies, 1)
    same_length("scores", len(x), "accuracies", len(y))
    regret = float(y.max() - y[int(x.argmax())])
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return Agreement(len(x), None, None, None, None, None, regret)
    rho, tau = stats.spearmanr(x, y), stats.kendalltau(x, y)
    weighted = stats.weightedtau(x, y)
    return Agreement(
        len(x),
        spearman=_plain(rho.statistic),
        spearman_p=_plain(rho.pvalue),
        kendall=_plain(tau.statistic),
        kendall_p=_plain(tau.pvalue),
        weighted_kendall=_plain(weighted.statistic),
        regret=regret,
    )


def _plain(value: Any) -> float | None:
    return json_number(round(float(value), 15))
