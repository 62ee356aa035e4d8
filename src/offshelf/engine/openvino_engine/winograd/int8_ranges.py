"""The ranges in which the inputs of an int8 product are rounded, measured on samples.

Rounding happens after the transform: a range for each of its 16 points, shared out among the
channels by their spread (the point of sums, which after a ReLU has nothing negative, gets all
256 steps). Ranges for each point are the idea of LoWino (Li et al., "LoWino: Towards Efficient
Low-Precision Winograd Convolutions on Modern CPUs", 2021); spreading a channel's range over
weights and inputs that of SmoothQuant (Xiao et al., 2023, arXiv:2211.10438).
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.engine.openvino_engine.winograd.panel_layout import MAX_BYTE, MAX_WEIGHT, TWO

Floats = NDArray[np.float32]
POINTS = TWO.points
ZERO = 128
# Shares of the whole range that are tried: clipping a few large numbers rounds all others more
# finely.
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
# Points of sums, which after a ReLU are never negative.
_SUMS = (np.kron(TWO.into, TWO.into) >= 0).all(1)
# No channel's unit is smaller than this share of the largest.
MIN_UNIT = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Ranges:
    """How the transformed inputs of one convolution become whole numbers of 8 bits.

    Attributes:
        steps: float32, 16: what the numbers of a point count, in units of the channel.
        offsets: float32, 16: what stands for zero, 0 where nothing is negative, else 128.
        channels: float32, C: each channel's unit.
    """

    steps: Floats
    offsets: Floats
    channels: Floats

    def scales(self) -> Floats:
        """Return what the transformed inputs are multiplied with, float32, 16 x C."""
        return (1 / (self.steps[:, None] * self.channels)).astype(np.float32)

    def rounded(self, points: Floats) -> Floats:
        """Return whole numbers without their offset, float32 like *points*, 16 x N x C."""
        offsets = self.offsets[:, None, None]
        # In float64 the product is exact, as in the fused multiply-add of the compiled code.
        product = np.rint(points.astype(np.float64) * self.scales()[:, None])
        return (np.clip(product + offsets, 0, MAX_BYTE) - offsets).astype(np.float32)

    def to_text(self) -> dict[str, str]:
        """Return the numbers as text, exactly."""
        return {
            field.name: base64.b64encode(getattr(self, field.name).astype("<f4")).decode()
            for field in dataclasses.fields(self)
        }


def from_text(text: Mapping[str, str], depth: int) -> Ranges:
    """Return the ranges that :meth:`Ranges.to_text` wrote, for an input of *depth* channels.

    Raises:
        ValueError: they are not ranges of such a convolution.
    """
    sizes = {"steps": POINTS, "offsets": POINTS, "channels": depth}
    found = {}
    for name, size in sizes.items():
        numbers = np.frombuffer(base64.b64decode(text[name], validate=True), "<f4")
        if len(numbers) != size or not np.isfinite(numbers).all():
            raise ValueError(f"the ranges' {name} are no {size} numbers")
        found[name] = numbers.astype(np.float32)
    ranges = Ranges(**found)
    if min(ranges.steps.min(), ranges.channels.min()) <= 0:
        raise ValueError("the ranges' units are not positive")
    if not np.isin(ranges.offsets, (0, ZERO)).all():
        raise ValueError(f"the ranges' offsets are not 0 or {ZERO}")
    return ranges


def fitted(patches: Floats) -> Ranges:
    """Return the ranges that round a sample of a convolution's input best.

    Args:
        patches: float32, N x 4 x 4 x C.

    >>> found = fitted(np.random.default_rng(0).random((20, 4, 4, 8), np.float32))
    >>> found.offsets[:6].tolist(), found.channels.shape
    ([128.0, 128.0, 128.0, 128.0, 128.0, 0.0], (8,))
    """
    points = into_points(patches)
    spread = np.sqrt(np.square(points).mean(1)) + np.finfo(np.float32).tiny
    share = (spread / spread.max(1, keepdims=True)).mean(0)
    channels = np.sqrt(np.maximum(share / share.max(), MIN_UNIT**2))
    offsets = np.where(_SUMS & (points.min((1, 2)) >= 0), 0, ZERO)
    pairs = zip(points, offsets, strict=True)
    steps = np.array([_best_step(v / channels, channels, offset) for v, offset in pairs])
    # A point that is zero in the whole sample gets the largest step of the others.
    steps[steps == 0] = steps.max() or 1.0
    return Ranges(*(np.array(part, np.float32) for part in (steps, offsets, channels)))


def into_points(patches: Floats) -> Floats:
    """Return N x 4 x 4 x C numbers transformed, 16 x N x C."""
    into = np.array(TWO.into, np.float32)
    half = np.einsum("jb,nabc->najc", into, patches)
    points: Floats = np.einsum("ia,najc->ijnc", into, half)
    return points.reshape(POINTS, len(patches), -1)


def rounded_weights(weights: Floats, ranges: Ranges) -> tuple[NDArray[np.int8], Floats]:
    """Return K x C x 3 x 3 weights transformed and rounded: what the product reads.

    Returns:
        Whole numbers of -127..127, int8, 16 x C x K, and what a sum of products with
        them counts, float32, 16 x K.
    """
    matrix = np.array(TWO.weights)
    channels, depth = weights.shape[:2]
    nine = weights.transpose(2, 3, 1, 0).astype(np.float64) * ranges.channels[:, None]
    points = (np.kron(matrix, matrix) @ nine.reshape(9, -1)).reshape(POINTS, depth, channels)
    unit = np.maximum(points.max(1), -points.min(1)) / MAX_WEIGHT
    unit[unit == 0] = 1
    points /= unit[:, None]
    units = (unit * ranges.steps[:, None]).astype(np.float32)
    return np.rint(points, out=points).astype(np.int8), units


def _best_step(values: NDArray[Any], channels: NDArray[Any], offset: int) -> float:
    """Return the step that rounds the values of a point, in units, with the least error."""
    least, most = -offset, MAX_BYTE - offset
    whole = float(np.abs(values).max()) / most
    if not whole:
        return 0.0
    errors = []
    for share in SHARES:
        step = whole * share
        error = (np.clip(np.rint(values / step), least, most) * step - values) * channels
        errors.append(float(np.square(error).mean()))
    return whole * SHARES[int(np.argmin(errors))]
