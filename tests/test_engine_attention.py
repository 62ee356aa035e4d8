"""Attention in several streams: proven in each process, in one stream where the proof fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_engine import cpu_engine
from offshelf.engine.openvino_engine.cpu_engine import answers, compile_verified
from offshelf.engine.openvino_engine.graph_cache import load_graph
from offshelf.engine.openvino_engine.streams import HINT, StreamPlan, compile_plan
from offshelf.engine.selection import open_engine

SETTINGS = {"PERFORMANCE_HINT": "THROUGHPUT", HINT: "f32"}
TWO, ONE = StreamPlan(2, 2, 2), StreamPlan(2, 1, 2)


@pytest.fixture(scope="module")
def graph() -> Any:
    backbone = open_backbone("timm/test_vit", weights="random")
    tap = Tap(backbone.path_of("penultimate"))
    return load_graph(backbone, (tap,), EngineOptions(engine="openvino"))


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("attention-*.json"))


@pytest.mark.slow
def test_streams_that_agree_are_used_and_the_proof_is_kept(graph: Any, tmp_path: Path) -> None:
    assert compile_verified(graph, tmp_path, TWO, SETTINGS)[0] == TWO
    (path,) = kept(tmp_path)
    assert len(json.loads(path.read_text())["answers"]) == 2
    written = path.stat().st_mtime_ns
    assert compile_verified(graph, tmp_path, TWO, SETTINGS)[0] == TWO
    assert path.stat().st_mtime_ns == written


@pytest.mark.slow
def test_one_stream_needs_no_proof(graph: Any, tmp_path: Path) -> None:
    assert compile_verified(graph, tmp_path, ONE, SETTINGS)[0] == ONE
    assert kept(tmp_path) == []


def test_a_network_that_is_not_kept_is_proven_without_a_file(graph: Any, tmp_path: Path) -> None:
    assert compile_verified(graph, tmp_path / "none", TWO, SETTINGS)[0] == TWO
    assert not (tmp_path / "none").exists()


class Wrong:
    """A compiled network whose second stream answers otherwise by one bit."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self.inputs = compiled.inputs
        self.requests = 0

    def create_infer_request(self) -> Any:
        self.requests += 1
        request = self.compiled.create_infer_request()
        return Altered(request) if self.requests == 2 else request


class Altered:
    def __init__(self, request: Any) -> None:
        self.request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)

    @property
    def output_tensors(self) -> Any:
        """The true ones, one bit apart."""
        (tensor,) = self.request.output_tensors
        tensor.data.view(np.uint32).flat[0] ^= 1
        return [tensor]


@pytest.mark.slow
def test_streams_that_differ_by_a_bit_are_not_used(
    graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: Any, plan: StreamPlan, settings: Any) -> Any:
        compiled = compile_plan(model, plan, settings)
        return compiled if plan.streams == 1 else Wrong(compiled)

    monkeypatch.setattr(cpu_engine, "compile_plan", wrong)
    for _ in range(2):
        plan, compiled = compile_verified(graph, tmp_path, TWO, SETTINGS)
        assert plan == ONE
        assert not isinstance(compiled, Wrong)


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "[]", '{"answers": []}', '{"answers": [1]}'])
def test_a_damaged_proof_is_made_again(graph: Any, tmp_path: Path, content: str) -> None:
    compile_verified(graph, tmp_path, TWO, SETTINGS)
    (path,) = kept(tmp_path)
    whole = path.read_text()
    path.write_text(content)
    assert compile_verified(graph, tmp_path, TWO, SETTINGS)[0] == TWO
    assert path.read_text() == whole


@pytest.mark.slow
def test_answers_to_another_network_are_no_proof(graph: Any, tmp_path: Path) -> None:
    from offshelf import sealed_json

    compile_verified(graph, tmp_path, TWO, SETTINGS)
    sealed_json.write(kept(tmp_path)[0], {"answers": ["0 no", "1 such"]})
    assert compile_verified(graph, tmp_path, TWO, SETTINGS)[0] == ONE


@pytest.mark.slow
def test_every_stream_gives_the_bits_of_one_in_many_networks(graph: Any) -> None:
    expected = answers(compile_plan(graph, ONE, SETTINGS), 1)
    assert len(expected) == 2
    for streams in (2, 3, 4, 2, 3, 4):
        compiled = compile_plan(graph, StreamPlan(2, streams, streams), SETTINGS)
        assert answers(compiled, streams) == expected, streams


@pytest.mark.slow
def test_the_engine_proves_many_images_and_not_a_few(tmp_path: Path) -> None:
    backbone = open_backbone("timm/test_vit", weights="random")
    taps = [Tap(backbone.path_of("penultimate"))]
    found = []
    size = backbone.input.size
    pixels = np.arange(5 * size * size * 3, dtype=np.uint32).reshape(5, size, size, 3)
    for images in (1, 100):
        options = EngineOptions("openvino", threads=2, cache_dir=tmp_path, images=images)
        engine = open_engine(backbone, taps, options)
        found.append(engine.run((pixels % 251).astype(np.uint8))[taps[0]])
        engine.close()
        assert len(list(tmp_path.rglob("attention-*.json"))) == (0 if images == 1 else 1)
    assert np.array_equal(*found)
