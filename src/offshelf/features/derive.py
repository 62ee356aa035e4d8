"""Pooled features from flattened ones that the store already holds: no network needed.

A flattened layer holds everything that the poolings of that layer reduce. Only the largest
value is the same bits however it is found; a mean depends in its last bits on the order of
its sum, and features must not depend on what a store holds. So ``avg`` and ``gem`` are left
to the network.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from offshelf.backbones.backbone import Backbone
from offshelf.data.colour import RGB
from offshelf.engine.base import EngineOptions
from offshelf.features import store as stores
from offshelf.features.kind import FeatureKind
from offshelf.features.store import FeatureStore

ROWS_AT_A_TIME = 128
DERIVED = ("max",)


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
                rows = rows.reshape(len(part), self.channels, -1).max(axis=2)
            for digest, row in zip(part, rows, strict=True):
                facts = self.store.facts(digest)
                if facts is not None:
                    target.append(digest, row, facts)


def find_flattened(
    folder: Path, kind: FeatureKind, backbone: Backbone, options: EngineOptions, background: RGB
) -> Flattened | None:
    """Return the flattened features of the same layer, if the store under *folder* has any."""
    if kind.pooling not in DERIVED:
        return None
    whole = dataclasses.replace(kind, pooling="flatten")
    identity = whole.identity(backbone, options, background)
    if not stores.exists(folder, identity):
        return None
    return Flattened(kind, FeatureStore(folder, identity), backbone)
