"""The columns of extracted features: each layer and pooling its own, or a feature set as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.feature_sets.feature_set import FeaturePart
from offshelf.feature_sets.set_extraction import SetExtraction
from offshelf.features.extraction import Extraction
from offshelf.features.feature_kind import FeatureKind

# The column of a feature set.
JOINED = "features"
Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureColumn:
    """Features of an image as one column of a table.

    Attributes:
        name: of the column.
        dimension: D.
        read: returns the features of rows of the extraction, float32, N x D.
        described: what decides them, as JSON values.
    """

    name: str
    dimension: int
    read: Callable[[Rows], NDArray[np.float32]]
    described: dict[str, Any]


def columns_of(extraction: Extraction, kinds: Sequence[FeatureKind]) -> tuple[FeatureColumn, ...]:
    """Return a column for each of *kinds*, or one for the joined rows of a feature set."""
    if isinstance(extraction, SetExtraction):
        return (_joined(extraction),)
    return tuple(_column(extraction, kind) for kind in kinds)


def _column(extraction: Extraction, kind: FeatureKind) -> FeatureColumn:
    def read(rows: Rows) -> NDArray[np.float32]:
        return extraction.matrix(kind, rows)

    store = extraction.stores[kind]
    described = {
        "layer": kind.layer,
        "path": kind.path,
        "pooling": kind.pooling,
        "dimension": store.dimension,
        "identity": store.identity,
    }
    return FeatureColumn(
        name=kind.column, dimension=store.dimension, read=read, described=described
    )


def _joined(extraction: SetExtraction) -> FeatureColumn:
    features, dimension = extraction.features, extraction.dimension
    described = {
        "features": str(features),
        "joined": "product" if features.product else "side by side",
        "seed": features.seed,
        "dimension": dimension,
        "parts": [
            part | {"identity": identity}
            for part, identity in zip(parts_of(extraction), _identities(extraction), strict=True)
        ],
    }
    return FeatureColumn(
        name=JOINED, dimension=dimension, read=extraction.read, described=described
    )


def parts_of(extraction: SetExtraction) -> list[dict[str, Any]]:
    """Return network, layer, pooling, normalisation and size of each part, as JSON values."""
    return [
        {
            "backbone": part.backbone.spec.name,
            "input_size": part.backbone.input.size,
            "layer": part.kind.layer,
            "path": part.kind.path,
            "pooling": part.kind.pooling,
            "normalisation": part.normalisation,
            "dimension": extraction.store_of(part).dimension,
        }
        for part in extraction.features.parts
    ]


def _identities(extraction: SetExtraction) -> Iterator[dict[str, Any]]:
    part: FeaturePart
    for part in extraction.features.parts:
        yield extraction.store_of(part).identity
