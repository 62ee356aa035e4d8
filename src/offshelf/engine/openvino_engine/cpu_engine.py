"""The CPU engine: the tapped network as one OpenVINO graph with fixed shapes.

Several requests are under way at once. fp32 is computed in fp32, also on processors that
would silently take bfloat16; bf16 is offered only where the processor has instructions for it
(AVX512_BF16 or AMX), because emulated it is slower than fp32.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import EngineOptions, Tap, Ticket, pad
from offshelf.engine.openvino_engine.attention import compile_verified
from offshelf.engine.openvino_engine.graph_cache import graph_folder, load_graph
from offshelf.engine.openvino_engine.streams import HINT, Plan, chosen_plan
from offshelf.engine.openvino_runtime import check_not_forked
from offshelf.engine.processor import computes_bfloat16
from offshelf.errors import EngineError
from offshelf.locks import leave_in_forked

HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}


class OpenvinoEngine:
    """Runs on the CPU with several requests under way at once."""

    name = "openvino"
    device = "cpu"

    def __init__(self, backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> None:
        _check_precision(options)
        self._taps = taps
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            HINT: HINTS[options.precision],
        }
        model = load_graph(backbone, taps, options)
        folder = graph_folder(backbone, taps, options)
        plan = _plan(model, folder, settings, options)
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

    def run(self, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        """See :class:`offshelf.engine.contract.Engine`."""
        starts = range(0, max(1, len(batch)), self.batch_size)
        batches = ((None, batch[start : start + self.batch_size]) for start in starts)
        pieces = [piece for _, piece in self.stream(batches)]
        return {tap: np.concatenate([piece[tap] for piece in pieces]) for tap in self._taps}

    def stream(
        self, batches: Iterable[tuple[Ticket, NDArray[np.uint8]]]
    ) -> Iterator[tuple[Ticket, dict[Tap, NDArray[np.float32]]]]:
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

    def _collect(self, request: Any, rows: int) -> dict[Tap, NDArray[np.float32]]:
        request.wait()
        return {
            tap: np.array(request.get_output_tensor(i).data[:rows], np.float32)
            for i, tap in enumerate(self._taps)
        }


def _plan(model: Any, folder: Path, settings: dict[str, Any], options: EngineOptions) -> Plan:
    threads = options.threads or os.cpu_count() or 1
    return chosen_plan(model, folder, settings, threads, options.images)


def _check_precision(options: EngineOptions) -> None:
    if options.precision == "fp16":
        raise EngineError("precision fp16 needs a CUDA or Apple device; use int8 or fp32 on a cpu")
    if options.precision == "bf16" and not computes_bfloat16():
        raise EngineError(
            "precision bf16 is emulated on this processor and slower than fp32: use int8 or fp32"
        )
