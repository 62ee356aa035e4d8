"""The CPU engine: the tapped network as one OpenVINO graph with fixed shapes.

Several requests are under way at once. fp32 is computed in fp32, also on processors that
would silently take bfloat16; bf16 is offered only where the processor has instructions for it
(AVX512_BF16 or AMX), because emulated it is slower than fp32.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import Activations, Batches, Engine, EngineOptions, Tap, Ticket, pad
from offshelf.engine.openvino_engine.graph_cache import graph_folder, load_graph
from offshelf.engine.openvino_engine.int8_winograd import is_slower_in_int8
from offshelf.engine.openvino_engine.streams import (
    HINT,
    HINTS,
    StreamPlan,
    chosen_plan,
    compile_plan,
    has_attention,
    processor_key,
)
from offshelf.engine.openvino_runtime import check_not_forked
from offshelf.engine.processor import computes_bfloat16
from offshelf.errors import EngineError
from offshelf.locks import leave_in_forked


class OpenvinoEngine(Engine):
    """Runs on the CPU with several requests under way at once."""

    name = "openvino"
    device = "cpu"

    def __init__(self, backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> None:
        _check_precision(backbone, options)
        super().__init__(taps)
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            HINT: HINTS[options.precision],
        }
        model = load_graph(backbone, taps, options)
        folder = graph_folder(backbone, taps, options)
        threads = options.threads or os.cpu_count() or 1
        plan = chosen_plan(model, folder, settings, threads, options.images)
        self._compiled: Any
        self.plan, self._compiled = compile_verified(model, folder, plan, settings)
        self.batch_size = self.plan.rows
        self._requests = [
            self._compiled.create_infer_request() for _ in range(self.plan.streams + 1)
        ]
        leave_in_forked(self, self._compiled, *self._requests)
        outputs = zip(taps, self._compiled.outputs, strict=True)
        self.shapes: dict[Tap, tuple[int, ...]] = {
            tap: tuple(output.shape)[1:] for tap, output in outputs
        }

    def stream(self, batches: Batches[Ticket]) -> Iterator[tuple[Ticket, Activations]]:
        """See :class:`offshelf.engine.contract.Engine`."""
        check_not_forked()
        idle = list(self._requests)
        running: collections.deque[tuple[Any, Ticket, int, Any]] = collections.deque()
        try:
            for ticket, batch in batches:
                if not idle:
                    request, done, rows, _ = running.popleft()
                    result = self._collect(request, rows)
                    idle.append(request)
                    yield done, result
                request, padded = idle.pop(), pad(batch, self.batch_size)
                request.start_async([padded], share_inputs=True)
                # The request reads from the array: it must outlive the computation.
                running.append((request, ticket, len(batch), padded))
            while running:
                request, done, rows, _ = running.popleft()
                yield done, self._collect(request, rows)
        finally:
            for request, *_ in running:
                request.wait()

    def close(self) -> None:
        """Drop the compiled network."""
        self._requests.clear()
        self._compiled = None
        leave_in_forked(self)

    def _collect(self, request: Any, rows: int) -> Activations:
        request.wait()
        return {
            tap: np.array(request.get_output_tensor(i).data[:rows], np.float32)
            for i, tap in enumerate(self.taps)
        }


def _check_precision(backbone: Backbone, options: EngineOptions) -> None:
    better = "fp32" if is_slower_in_int8(backbone.spec.architecture) else "int8 or fp32"
    if options.precision == "fp16":
        raise EngineError(f"precision fp16 needs a CUDA or Apple device; use {better} on a cpu")
    if options.precision == "bf16" and not computes_bfloat16():
        raise EngineError(
            f"precision bf16 is emulated on this processor and slower than fp32: use {better}"
        )


# Rounds of probes: OpenVINO decides which stream takes which request.
ROUNDS = 2


def compile_verified(
    model: Any, folder: Path, plan: StreamPlan, settings: Mapping[str, Any]
) -> tuple[StreamPlan, Any]:
    """Return *model* compiled under *plan*, or in one stream where several compute otherwise.

    OpenVINO 2026.4 was once seen to give wrong numbers for vit_b_16 with two streams, in about one
    process in ten, and never with one; not again in more than a hundred processes, so the cause
    is unknown. A network with attention therefore proves itself in every process: before the first
    image each stream computes probes, and what one stream gives for them is kept in *folder*, if
    there is one, by kind of processor.
    """
    compiled = compile_plan(model, plan, settings)
    if plan.streams == 1 or not has_attention(model):
        return plan, compiled
    alone = dataclasses.replace(plan, streams=1)
    path = folder / f"attention-{processor_key(settings, plan.threads)}.json"
    expected = _kept(path)
    if expected is None:
        expected = answers(compile_plan(model, alone, settings), 1)
        if folder.is_dir():
            # If it cannot be kept, the next run computes it again.
            with contextlib.suppress(OSError):
                sealed_json.write(path, {"answers": sorted(expected)})
    if answers(compiled, plan.streams) == expected:
        return plan, compiled
    del compiled
    return alone, compile_plan(model, alone, settings)


def answers(compiled: Any, streams: int) -> set[str]:
    """Return a digest of each different answer that the streams gave, one for each probe."""
    probes = _probes(compiled.inputs[0].shape)
    requests = [compiled.create_infer_request() for _ in range(streams)]
    found = set()
    for number in range(ROUNDS * len(probes)):
        probe = number % len(probes)
        for request in requests:
            request.start_async([probes[probe]], share_inputs=True)
        for request in requests:
            request.wait()
            found.add(f"{probe} {_digest(request)}")
    return found


def _probes(shape: Any) -> list[NDArray[np.uint8]]:
    numbers = np.arange(int(np.prod(shape)), dtype=np.uint64)
    # Multiplied by a large odd number and cut: neighbouring pixels differ.
    scattered = (numbers * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(56)).astype(np.uint8)
    one = scattered.reshape(shape)
    return [one, np.ascontiguousarray(255 - one)]


def _digest(request: Any) -> str:
    found = hashlib.sha256()
    for tensor in request.output_tensors:
        found.update(tensor.data.tobytes())
    return found.hexdigest()


def _kept(path: Path) -> set[str] | None:
    document = sealed_json.read(path)
    if document is None:
        return None
    found = document.get("answers")
    if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
        return set(found)
    sealed_json.set_aside(path)
    return None
