"""The plan of requests: rows that nothing changes; streams tried within a share of the work."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from offshelf import sealed_json
from offshelf.backbones.backbone import open_backbone
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_engine import streams as plans
from offshelf.engine.openvino_engine.graph_cache import load_graph
from offshelf.engine.openvino_engine.streams import (
    StreamPlan,
    candidates,
    chosen_plan,
    default_plan,
    trial,
)
from offshelf.engine.openvino_engine.streams import request_rows as rows_of
from offshelf.engine.openvino_runtime import with_rows
from offshelf.progress import Silent, notifying

# Of an image: 4,000 of them are 50 s at two threads' best, and a trial of two plans takes 1 s.
MACS = 1_250_000_000


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[StreamPlan]:
    """Plans in the order in which they are timed; a clock that each timing moves by a second."""
    seen: list[StreamPlan] = []
    monkeypatch.setattr(plans, "with_rows", lambda model, _: model)
    monkeypatch.setattr(plans, "_try_compile", lambda _, plan, __: plan)

    def speed(compiled: StreamPlan, plan: StreamPlan) -> float:
        seen.append(plan)
        return 101.0 - plan.streams

    monkeypatch.setattr(plans, "speed", speed)
    monkeypatch.setattr(plans.time, "perf_counter", lambda: float(len(seen)))
    monkeypatch.setattr(plans, "processor_key", lambda *_: "here")
    monkeypatch.setattr(plans, "macs", lambda op: MACS if op.name == "Relu" else 0)
    return seen


class Operation:
    def __init__(self, name: str) -> None:
        self.name = name

    def get_type_name(self) -> str:
        return self.name


class Graph:
    """As much of a graph as a plan looks at."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @property
    def inputs(self) -> list[Any]:
        """One input, fixed to four rows."""
        return [SimpleNamespace(shape=(4, 8, 8, 3))]

    def get_ops(self) -> list[Operation]:
        return [Operation(name) for name in self.names]


def choose(folder: Path, images: int | None, *operations: str) -> StreamPlan:
    model: Any = Graph("Relu", *operations)
    return chosen_plan(model, folder, {}, 2, images)


def test_a_graph_that_cannot_be_reshaped_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise RuntimeError("fixed")

    monkeypatch.setattr(plans, "with_rows", never)
    monkeypatch.setattr(plans, "processor_key", lambda *_: "here")
    assert choose(tmp_path, 10) == StreamPlan(4, 2, 2)


@pytest.mark.parametrize("operation", sorted(plans.ATTENTION))
def test_attention_runs_in_several_streams_where_a_proof_pays(
    tmp_path: Path, timed: list[StreamPlan], operation: str
) -> None:
    for images in (None, 1, plans.MIN_IMAGES_IN_STREAMS - 1):
        assert choose(tmp_path, images, operation) == StreamPlan(2, 1, 2)
    assert choose(tmp_path, plans.MIN_IMAGES_IN_STREAMS, operation) == default_plan(2)
    assert timed == []
    sealed_json.write(tmp_path / "plan-here.json", GOOD)
    assert choose(tmp_path, 1, operation) == StreamPlan(2, 1, 2)
    assert choose(tmp_path, 10**6, operation) == StreamPlan(2, 2, 2)
    assert timed == []


def test_little_work_gets_the_default(tmp_path: Path, timed: list[StreamPlan]) -> None:
    assert choose(tmp_path, 3999) == choose(tmp_path, None) == default_plan(2)
    assert timed == []
    choose(tmp_path, 4000)
    assert timed


def test_much_work_times_all_twice_and_remembers(tmp_path: Path, timed: list[StreamPlan]) -> None:
    best = choose(tmp_path, 10**6)
    assert timed == [*candidates(2)] * 2
    assert best == StreamPlan(2, 1, 2)
    assert choose(tmp_path, 10**9) == best
    assert len(timed) == 2 * len(candidates(2))


def test_a_trial_ends_when_it_costs_its_share(tmp_path: Path, timed: list[StreamPlan]) -> None:
    # 4,000 images at 100 a second are 40 s, of which a trial may take 0.8.
    assert choose(tmp_path, 4000) == candidates(2)[0]
    assert timed == [candidates(2)[0]]
    choose(tmp_path, 8000)
    assert len(timed) == 1
    choose(tmp_path, 8001)
    assert len(timed) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "rows"),
    [
        *[("alexnet", "pool5", 2), ("alexnet", "penultimate", 16), ("alexnet", "logits", 16)],
        *[("efficientnet_lite0", "logits", 2), ("timm/test_vit", "logits", 2)],
    ],
)
def test_large_matrices_are_read_for_more_images(name: str, layer: str, rows: int) -> None:
    backbone = open_backbone(name, weights="random")
    taps = (Tap(backbone.path_of(layer), "flatten"),)
    graph = load_graph(backbone, taps, EngineOptions(engine="openvino"))
    assert rows_of(graph) == rows
    # A network from an old model file holds four images, and its requests none the less these.
    assert "vit" in name or rows_of(with_rows(graph, 4)) == rows


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 64])
def test_nothing_but_the_network_decides_the_rows(tmp_path: Path, threads: int) -> None:
    assert {plan.rows for plan in candidates(threads)} == {2}
    assert all(1 <= plan.streams <= threads == plan.threads for plan in candidates(threads))


GOOD = {"rows": 2, "streams": 2, "threads": 2, "images": None}


def test_a_plan_is_believed_as_it_was_written(tmp_path: Path, timed: list[StreamPlan]) -> None:
    sealed_json.write(tmp_path / "plan-here.json", GOOD)
    with notifying(told := Silent()):
        assert choose(tmp_path, 10**6) == StreamPlan(2, 2, 2)
    assert (timed, told.notes) == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "null", '{"rows": 0}', '{"rows":2,"streams":2,"threads":2}'),
        *(
            {"rows": 4096},
            {"rows": 5},
            {"rows": 0},
            {"rows": 2.0},
            {"rows": 8},
            {"rows": True},
            {"rows": "2"},
        ),
        *({"streams": 3}, {"streams": -1}, {"threads": 1}, {"threads": 64}),
        *({"images": -1}, {"images": 0}, {"images": "many"}, {"more": 1}),
    ],
)
def test_a_plan_that_no_trial_found_is_found_again(
    tmp_path: Path, timed: list[StreamPlan], content: str | dict[str, object]
) -> None:
    path = tmp_path / "plan-here.json"
    if isinstance(content, str):
        path.write_text(content)
    else:
        sealed_json.write(path, GOOD | content)
    with notifying(told := Silent()):
        choose(tmp_path, 10**6)
        assert timed
        timed.clear()
        choose(tmp_path, 10**6)
    assert timed == []
    assert told.notes == [f"{path}: damaged, set aside; it is made again"]
    assert json.loads(path.read_text())["images"] is None


def test_a_plan_that_cannot_be_compiled_is_left_out(
    timed: list[StreamPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = candidates(2)
    monkeypatch.setattr(plans, "_try_compile", lambda _, plan, __: plan if plan != first else None)
    best, finished = trial(object(), candidates(2), {}, 10**6)
    assert finished
    assert first not in timed
    assert best in candidates(2)
