"""Streams and rows of requests: streams are autotuned and cached, the graph decides the rows.

The best number of streams depends on the network, the layers and the processor. A short trial
times a few plans; the winner is kept beside the graph, keyed by processor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offshelf import files, sealed_json
from offshelf.engine.openvino_engine.winograd.kernel import has_fast_bf16
from offshelf.engine.openvino_engine.winograd.match import macs
from offshelf.engine.openvino_engine.winograd.rewrite import is_worth_rewriting, rewritten
from offshelf.engine.openvino_runtime import (
    ROWS,
    VERSION,
    import_openvino,
    the_core,
    with_rows,
)
from offshelf.engine.processor import processor_kind
from offshelf.locks import alone

ATTENTION = frozenset({"ScaledDotProductAttention", "Softmax"})
HINT = "INFERENCE_PRECISION_HINT"
HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
Settings = Mapping[str, Any]
# A network with attention computes fewer images one by one: several streams need a check first.
MIN_IMAGES_IN_STREAMS = 32
# Operations per second of one thread at best; networks of matrix products come near it.
FLOPS = 1e11
TRIAL_SECONDS = 0.25
ROUNDS = 2
# Largest share of the work that a trial may take.
TRIAL_SHARE = 0.02
# A trial that was cut short holds for work up to this many times as large.
MAX_GROWTH = 2


@dataclass(frozen=True)
class StreamPlan:
    """How a graph runs.

    Attributes:
        rows: images in one request: a network's own, never chosen for speed.
        streams: requests that are computed at the same time.
        threads: processor threads.
    """

    rows: int
    streams: int
    threads: int


def default_plan(threads: int) -> StreamPlan:
    """Return the plan without a trial: two streams on a small machine.

    >>> default_plan(2)
    StreamPlan(rows=2, streams=2, threads=2)
    """
    return StreamPlan(ROWS, min(threads, max(2, threads // 2)), threads)


def possible_plan(model: Any, plan: StreamPlan, settings: Settings) -> StreamPlan:
    """Return *plan* with the rows that the graph takes, and the streams that its chains need."""
    if _in_chains(model, settings):
        # A chain of convolutions runs in the thread of its stream.
        plan = dataclasses.replace(plan, streams=plan.threads)
    return dataclasses.replace(plan, rows=request_rows(model))


def has_attention(model: Any) -> bool:
    """Return whether a graph has attention, for which several streams need a check."""
    return any(op.get_type_name() in ATTENTION for op in model.get_ops())


def candidates(threads: int) -> tuple[StreamPlan, ...]:
    """Return the plans that a trial compares, the default first.

    >>> [plan.streams for plan in candidates(8)]
    [4, 2, 8]
    """
    start = default_plan(threads)
    streams = (start.streams, max(1, start.streams // 2), threads)
    return tuple(dict.fromkeys(StreamPlan(start.rows, count, threads) for count in streams))


def chosen_plan(
    model: Any, folder: Path, settings: Settings, threads: int, images: int | None
) -> StreamPlan:
    """Return the plan kept for this processor, or find one where the work is worth a trial.

    *images* is the number expected; *settings* are OpenVINO's apart from the plan's.
    """
    if (images or 0) < MIN_IMAGES_IN_STREAMS and has_attention(model):
        return possible_plan(model, StreamPlan(ROWS, 1, threads), settings)
    path = folder / f"plan-{processor_key(settings, threads)}.json"
    usual = possible_plan(model, default_plan(threads), settings)
    kept = _remembered(path, images, usual)
    if kept is not None:
        return possible_plan(model, kept, settings)
    plans = (possible_plan(model, plan, settings) for plan in candidates(threads))
    tried = tuple(dict.fromkeys(plans))
    if len(tried) == 1 or images is None or not _pays(model, len(tried), threads, images):
        return tried[0]
    if not folder.is_dir():
        return trial(model, tried, settings, images)[0]
    with alone(path):
        # Another process may have found it in the meantime.
        kept = _remembered(path, images, usual)
        if kept is not None:
            return possible_plan(model, kept, settings)
        best, finished = trial(model, tried, settings, images)
        document = dataclasses.asdict(best) | {"images": None if finished else images}
        # If it cannot be written, the next run makes a trial.
        with contextlib.suppress(OSError):
            sealed_json.write(path, document)
        return best


def _pays(model: Any, plans: int, threads: int, images: int) -> bool:
    """Return whether a trial would end within its share of the work, at the best of speeds."""
    work = 2 * sum(macs(op) for op in model.get_ops()) * images / (threads * FLOPS)
    return TRIAL_SHARE * work >= ROUNDS * plans * TRIAL_SECONDS


def _remembered(path: Path, images: int | None, usual: StreamPlan) -> StreamPlan | None:
    """Return the plan at *path* if it is good for so many images."""
    kept = _read(path, usual)
    if kept is None or (kept[1] is not None and (images or 0) > MAX_GROWTH * kept[1]):
        return None
    return kept[0]


def trial(
    model: Any, plans: tuple[StreamPlan, ...], settings: Settings, images: int
) -> tuple[StreamPlan, bool]:
    """Time the plans in turn, twice, while that is a small share of the work.

    Returns:
        The fastest by the median, and whether all were timed in every round.
    """
    speeds: dict[StreamPlan, list[float]] = {}
    began, allowed = time.perf_counter(), float("inf")
    for _ in range(ROUNDS):
        for plan in plans:
            if time.perf_counter() - began > allowed:
                return _fastest(speeds), False
            # Compiled in each round, to hold the memory of one plan.
            compiled = _try_compile(model, plan, settings)
            if compiled is not None:
                speeds.setdefault(plan, []).append(speed(compiled, plan))
                allowed = TRIAL_SHARE * images / _median(speeds)
            del compiled
    return _fastest(speeds), True


def _fastest(speeds: dict[StreamPlan, list[float]]) -> StreamPlan:
    return max(speeds, key=lambda plan: statistics.median(speeds[plan]))


def _median(speeds: dict[StreamPlan, list[float]]) -> float:
    return statistics.median(speed for found in speeds.values() for speed in found)


def compile_plan(model: Any, plan: StreamPlan, settings: Settings) -> Any:
    """Return *model* compiled for the processor under *plan*."""
    own = {"NUM_STREAMS": plan.streams, "INFERENCE_NUM_THREADS": plan.threads}
    sized = with_rows(model, plan.rows)
    if _in_chains(sized, settings):
        sized = rewritten(sized, half=settings[HINT] == "bf16")
    return the_core().compile_model(sized, "CPU", {**settings, **own})


def _in_chains(model: Any, settings: Settings) -> bool:
    """Return whether the convolutions run as Winograd chains in this precision."""
    able = settings.get(HINT) == "f32" or (settings.get(HINT) == "bf16" and has_fast_bf16())
    return able and is_worth_rewriting(model)


def _try_compile(model: Any, plan: StreamPlan, settings: Settings) -> Any:
    try:
        return compile_plan(model, plan, settings)
    except RuntimeError:
        return None


def speed(compiled: Any, plan: StreamPlan) -> float:
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


def processor_key(settings: Settings, threads: int) -> str:
    """Return a hash of the kind of processor, its threads and the settings."""
    name = str(the_core().get_property("CPU", "FULL_DEVICE_NAME"))
    key = [VERSION, name, processor_kind(), os.cpu_count(), threads, settings]
    return files.sha256_json(key)[:16]


def _read(path: Path, usual: StreamPlan) -> tuple[StreamPlan, int | None] | None:
    """Return the plan at *path*, and the work that a trial cut short was for.

    A plan that no trial can have found is set aside.
    """
    document = sealed_json.read(path)
    if document is None:
        return None
    images = document.pop("images", None)
    numbers = (*document.values(), 1 if images is None else images)
    whole = all(type(number) is int and number > 0 for number in numbers)
    if whole and set(document) == {field.name for field in dataclasses.fields(StreamPlan)}:
        plan = StreamPlan(**document)
        same = (plan.rows, plan.threads) == (usual.rows, usual.threads)
        if same and plan.streams <= plan.threads:
            return plan, images
    sealed_json.set_aside(path)
    return None


# More rows gain next to nothing.
MAX_ROWS = 16
# Fewer weights than these stay in the processor's cache: 32 MB in fp32.
LARGE = 8_000_000
# Multiply-accumulates in the time of loading one weight from memory.
MACS_A_WEIGHT = 800


def request_rows(model: Any) -> int:
    """Return the rows of each request to a graph: 2, or up to 16 for large matrices.

    The graph alone decides. With other rows OpenVINO computes a network in other ways, and on
    some processors (AVX2, from five rows on) these end in other last bits; so the features of an
    image are the same alone and in company. Few rows keep activations in the processor's cache;
    large fully connected layers ask for more, as their weights come from memory once for a
    request. A graph that is fixed to the rows that it was converted with keeps those.
    """
    rows = _wanted(model)
    try:
        with_rows(model, rows)
    except RuntimeError:
        return int(model.inputs[0].shape[0])
    return rows


def _wanted(model: Any) -> int:
    operations = model.get_ops()
    weights = sum(_weights(op, int(model.inputs[0].shape[0])) for op in operations)
    if weights < LARGE:
        return ROWS
    work = sum(map(macs, operations)) // int(model.inputs[0].shape[0])
    rows = ROWS
    while rows < MAX_ROWS and weights * MACS_A_WEIGHT > rows * work:
        rows *= 2
    return rows


def _weights(op: Any, images: int) -> int:
    """Return the weights of a matrix that each image multiplies by one vector, else 0."""
    if op.get_type_name() != "MatMul":
        return 0
    vectors, matrix = (list(op.input(number).get_shape()) for number in (0, 1))
    alone = len(vectors) == len(matrix) == 2 and vectors[0] == images
    return int(matrix[0] * matrix[1]) if alone else 0
