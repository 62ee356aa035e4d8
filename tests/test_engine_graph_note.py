"""A long first start is explained by one line, and only the first."""

from __future__ import annotations

from pathlib import Path

from offshelf.backbones.backbone import Backbone, open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_engine.graph_cache import load_graph
from offshelf.progress import Silent, notifying


def notes(backbone: Backbone, cache: Path) -> list[str]:
    with notifying(told := Silent()):
        load_graph(backbone, (Tap("fc:in", "avg"),), EngineOptions(cache_dir=cache))
    return told.notes


def test_the_first_run_says_why_it_takes_long(tmp_path: Path) -> None:
    network = open_backbone("timm/test_resnet", weights="random")
    assert notes(network, tmp_path) == [
        "first run with timm/test_resnet and these layers: the network is converted, "
        "some seconds, once"
    ]
    assert notes(network, tmp_path) == []
