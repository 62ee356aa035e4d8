"""How many requests run at once and how many rows each holds: measured, then remembered.

The best choice depends on the network, the layers and the processor. A short trial times
a few plans; the winner is kept beside the graph, keyed by processor. Rows of a batch do
not influence each other, so every plan gives the same bits (tested).
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offshelf import files
from offshelf.engine.graph import import_openvino, with_rows

WORTH_A_TRIAL = 500
TRIAL_SECONDS = 0.25
ROUNDS = 2


@dataclass(frozen=True)
class Plan:
    """How a graph runs.

    Attributes:
        rows: images in one request.
        streams: requests that are computed at the same time.
        threads: processor threads.
    """

    rows: int
    streams: int
    threads: int


def default_plan(threads: int) -> Plan:
    """Return the plan without a trial: two streams of four rows on a small machine.

    >>> default_plan(2)
    Plan(rows=4, streams=2, threads=2)
    """
    return Plan(4, min(threads, max(2, threads // 2)), threads)


def asked_plan(model: Any, rows: int, threads: int) -> Plan:
    """Return the plan with *rows* images in a request.

    Most transformers' graphs are fixed to the rows they were converted with, which only
    costs speed: then that is the plan.
    """
    plan = default_plan(threads)
    try:
        with_rows(model, rows)
    except RuntimeError:
        return plan
    return dataclasses.replace(plan, rows=rows)


def candidates(threads: int) -> tuple[Plan, ...]:
    """Return the plans that a trial compares, the default first.

    >>> [(plan.rows, plan.streams) for plan in candidates(2)]
    [(4, 2), (1, 2), (8, 2), (8, 1)]
    """
    start = default_plan(threads)
    half = max(1, start.streams // 2)
    plans = [start, *(Plan(r, start.streams, threads) for r in (1, 8)), Plan(8, half, threads)]
    if threads > 2:
        plans += [Plan(1, threads, threads), Plan(4, threads, threads)]
    return tuple(dict.fromkeys(plans))


def chosen_plan(
    model: Any, folder: Path, settings: dict[str, Any], threads: int, images: int | None
) -> Plan:
    """Return the remembered plan for this processor, or find it when that pays.

    Args:
        model: the graph.
        folder: where the graph is kept.
        settings: OpenVINO's settings apart from the plan's.
        threads: processor threads to use.
        images: how many images are expected; a trial is made for 500 and more.
    """
    path = folder / f"plan-{_processor(settings, threads)}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    if images is None or images < WORTH_A_TRIAL:
        return default_plan(threads)
    best = trial(model, candidates(threads), settings)
    try:
        if folder.is_dir():
            files.write_json(path, dataclasses.asdict(best))
    except OSError:
        # Not being able to remember only costs the next run a trial.
        pass
    return best


def trial(model: Any, plans: tuple[Plan, ...], settings: dict[str, Any]) -> Plan:
    """Time every plan in turn, twice, and return the fastest by the median."""
    speeds: dict[Plan, list[float]] = {}
    compiled: dict[Plan, Any] = {}
    for _ in range(ROUNDS):
        for plan in plans:
            if plan not in compiled:
                compiled[plan] = _try_compile(model, plan, settings)
            if compiled[plan] is not None:
                speeds.setdefault(plan, []).append(_speed(compiled[plan], plan))
    return max(speeds, key=lambda plan: statistics.median(speeds[plan]))


def compile_plan(model: Any, plan: Plan, settings: dict[str, Any]) -> Any:
    """Return *model* compiled for the processor under *plan*."""
    own = {"NUM_STREAMS": plan.streams, "INFERENCE_NUM_THREADS": plan.threads}
    core = import_openvino().Core()
    return core.compile_model(with_rows(model, plan.rows), "CPU", settings | own)


def _try_compile(model: Any, plan: Plan, settings: dict[str, Any]) -> Any:
    try:
        return compile_plan(model, plan, settings)
    except RuntimeError:
        return None


def _speed(compiled: Any, plan: Plan) -> float:
    """Return images per second of one short run, after a warm-up of one batch each."""
    queue = import_openvino().AsyncInferQueue(compiled, plan.streams + 1)
    pixels = np.full(compiled.inputs[0].shape, 127, np.uint8)
    for _ in range(plan.streams + 1):
        queue.start_async([pixels], share_inputs=True)
    queue.wait_all()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < TRIAL_SECONDS or done < 2 * plan.streams:
        queue.start_async([pixels], share_inputs=True)
        done += 1
    queue.wait_all()
    return done * plan.rows / (time.perf_counter() - began)


def _processor(settings: dict[str, Any], threads: int) -> str:
    name = import_openvino().Core().get_property("CPU", "FULL_DEVICE_NAME")
    return files.sha256_json([str(name), os.cpu_count(), threads, settings])[:16]


def _read(path: Path) -> Plan | None:
    try:
        plan = Plan(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    valid = all(isinstance(n, int) and 0 < n <= 4096 for n in dataclasses.astuple(plan))
    return plan if valid else None
