"""Pooled features from flattened ones that the store already holds: no network needed.

A flattened layer holds everything that ``avg``, ``max`` and ``gem`` of that layer reduce.
The result equals the network's own pooling up to the rounding of a float32 sum (tested).
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.features import store as stores
from offshelf.features.kind import FeatureKind
from offshelf.features.store import FeatureStore

ROWS_AT_A_TIME = 128
GEM_POWER = 3.0
GEM_FLOOR = 1e-6


class Flattened:
    """The flattened features of the layer that *kind* pools.

    Args:
        kind: the pooled features that are wanted.
        store: the rows of the same layer, flattened.
        backbone: tells the layer's shape when it is needed, not before.
    """

    def __init__(self, kind: FeatureKind, store: FeatureStore, backbone: Backbone) -> None:
        self.kind = kind
        self.store = store
        self._backbone = backbone

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._backbone.require(self.kind.path).shape
        return shape

    @property
    def channels(self) -> int:
        """The channels of the layer's activation."""
        # Flattened features are channel-major, whatever the network's own order.
        last = len(self._shape) < 3 or self._backbone.spec.channels_last
        return int(self._shape[-1] if last else self._shape[0])

    def fill(self, target: FeatureStore, digests: list[bytes]) -> None:
        """Pool the rows of *digests* and append them to *target*."""
        for start in range(0, len(digests), ROWS_AT_A_TIME):
            part = digests[start : start + ROWS_AT_A_TIME]
            rows = self.store.read(part)
            # A vector has no positions: it passes every pooling as it is.
            if len(self._shape) > 1:
                positions = rows.reshape(len(part), self.channels, -1)
                rows = pooled(positions, self.kind.pooling)
            for digest, row in zip(part, rows, strict=True):
                facts = self.store.facts(digest)
                if facts is not None:
                    target.append(digest, row, facts)


def pooled(positions: NDArray[np.float32], pooling: str) -> NDArray[np.float32]:
    """Reduce activations over their positions, as :func:`offshelf.engine.tapped.pool` does.

    Args:
        positions: float32, N x C x P.
        pooling: ``avg``, ``max`` or ``gem``.

    Returns:
        float32, N x C.

    >>> pooled(np.array([[[1.0, 3.0]]], np.float32), "avg")
    array([[2.]], dtype=float32)
    """
    if pooling == "max":
        largest: NDArray[np.float32] = positions.max(axis=2)
        return largest
    exact: NDArray[np.float64] = positions.astype(np.float64)
    if pooling == "gem":
        exact = np.maximum(exact, GEM_FLOOR) ** GEM_POWER
    mean: NDArray[np.float64] = exact.mean(axis=2)
    return (mean ** (1 / GEM_POWER) if pooling == "gem" else mean).astype(np.float32)


def find_flattened(
    folder: Path, kind: FeatureKind, backbone: Backbone, engine: str, precision: str
) -> Flattened | None:
    """Return the flattened features of the same layer, if the store under *folder* has any."""
    if kind.pooling == "flatten":
        return None
    whole = dataclasses.replace(kind, pooling="flatten")
    identity = whole.identity(backbone, engine, precision)
    if not stores.exists(folder, identity):
        return None
    return Flattened(kind, FeatureStore(folder, identity), backbone)
