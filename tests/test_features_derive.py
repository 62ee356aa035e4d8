"""Pooled features come from flattened ones without the network, and equal its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offshelf.backbones.backbone import open_backbone
from offshelf.engine.base import EngineOptions
from offshelf.features.extract import Extraction, extract
from offshelf.features.kind import FeatureKind, feature_kinds


def run(paths: list[str], pooling: str, folder: Path) -> tuple[Extraction, FeatureKind]:
    backbone = open_backbone("efficientnet_lite0")
    kinds = feature_kinds(backbone, ["stage5"], [pooling])
    return extract(paths, backbone, kinds, EngineOptions(cache_dir=folder)), kinds[0]


def test_the_largest_values_are_derived(scenes: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(scenes.rglob("*.png"))[:6]]
    whole, _ = run(paths[:4], "flatten", tmp_path / "a")
    assert whole.computed == 4
    # Two images were never flattened: only they go through the network.
    derived, kind = run(paths, "max", tmp_path / "a")
    direct, _ = run(paths, "max", tmp_path / "b")
    assert (derived.computed, direct.computed) == (2, 6)
    left, right = derived.matrix(kind, range(6)), direct.matrix(kind, range(6))
    assert np.array_equal(left, right)
    again, _ = run(paths, "max", tmp_path / "a")
    assert again.computed == 0
    assert np.array_equal(again.matrix(kind, range(6)), left)
    store, own = derived.stores[kind], direct.stores[kind]
    assert [store.facts(row.digest) for row in derived.rows] == [
        own.facts(row.digest) for row in direct.rows
    ]


@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_a_mean_never_depends_on_what_the_store_holds(
    pooling: str, scenes: Path, tmp_path: Path
) -> None:
    paths = [str(path) for path in sorted(scenes.rglob("*.png"))[:3]]
    run(paths, "flatten", tmp_path / "a")
    after, kind = run(paths, pooling, tmp_path / "a")
    alone, _ = run(paths, pooling, tmp_path / "b")
    assert (after.computed, alone.computed) == (3, 3)
    assert np.array_equal(after.matrix(kind, range(3)), alone.matrix(kind, range(3)))
