"""The CPU engine: the tapped network as one OpenVINO graph with fixed shapes.

The converted network is kept on disk, so a second start needs no torch. OpenVINO's own
usage reporting is never loaded.
"""

from __future__ import annotations

import collections
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import files, home
from offshelf.backbones.backbone import Backbone
from offshelf.engine.base import EngineOptions, Tap, Ticket, pad
from offshelf.errors import EngineError

GRAPH_VERSION = 1
REQUEST_ROWS = 4
STREAMS = 2


class OpenvinoEngine:
    """Runs on the CPU with several requests under way at once."""

    name = "openvino"
    device = "cpu"

    def __init__(self, backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> None:
        if options.precision != "fp32":
            raise EngineError(f"engine openvino has no precision {options.precision!r}: use fp32")
        self.batch_size = options.batch_size or REQUEST_ROWS
        self._taps = taps
        graph = _graph(backbone, taps, self.batch_size, options)
        threads = options.threads or os.cpu_count() or 1
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": min(STREAMS, threads),
            "INFERENCE_NUM_THREADS": threads,
            # Without this hint some processors silently compute in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._compiled: Any = import_openvino().Core().compile_model(graph, "CPU", settings)
        count = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self._requests = [self._compiled.create_infer_request() for _ in range(count)]
        outputs = zip(taps, self._compiled.outputs, strict=True)
        self.shapes: dict[Tap, tuple[int, ...]] = {
            tap: tuple(output.shape)[1:] for tap, output in outputs
        }

    def run(self, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        """See :class:`offshelf.engine.base.Engine`."""
        starts = range(0, max(1, len(batch)), self.batch_size)
        batches = ((None, batch[start : start + self.batch_size]) for start in starts)
        pieces = [piece for _, piece in self.stream(batches)]
        return {tap: np.concatenate([piece[tap] for piece in pieces]) for tap in self._taps}

    def stream(
        self, batches: Iterable[tuple[Ticket, NDArray[np.uint8]]]
    ) -> Iterator[tuple[Ticket, dict[Tap, NDArray[np.float32]]]]:
        """See :class:`offshelf.engine.base.Engine`."""
        idle = list(self._requests)
        running: collections.deque[tuple[Any, Ticket, int, Any]] = collections.deque()
        try:
            for ticket, batch in batches:
                if not idle:
                    request, done, rows, _ = running.popleft()
                    yield done, self._collect(request, rows)
                    idle.append(request)
                request, padded = idle.pop(), pad(batch, self.batch_size)
                request.start_async([padded], share_inputs=True)
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

    def _collect(self, request: Any, rows: int) -> dict[Tap, NDArray[np.float32]]:
        request.wait()
        return {
            tap: np.array(request.get_output_tensor(i).data[:rows], np.float32)
            for i, tap in enumerate(self._taps)
        }


def import_openvino() -> ModuleType:
    """Return the openvino package, without its usage reporting.

    >>> import_openvino().__name__
    'openvino'
    """
    if "openvino" not in sys.modules:
        # With this name blocked, openvino takes its own empty stand-in.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]


def _graph(backbone: Backbone, taps: tuple[Tap, ...], rows: int, options: EngineOptions) -> Any:
    core = import_openvino().Core()
    key = {
        "graph": GRAPH_VERSION,
        "backbone": backbone.identity(),
        "taps": [[tap.path, tap.pooling] for tap in taps],
        "rows": rows,
        "openvino": import_openvino().get_version(),
    }
    folder = home.compiled_folder(options.cache_dir) / files.sha256_json(key)[:32]
    if (folder / "graph.xml").is_file():
        return core.read_model(folder / "graph.xml")
    model = _convert(backbone, taps, rows)
    _keep(model, folder, key)
    return model


def _convert(backbone: Backbone, taps: tuple[Tap, ...], rows: int) -> Any:
    import torch

    from offshelf.engine.tapped import TappedNetwork

    openvino = import_openvino()
    network = TappedNetwork(backbone, taps)
    size = backbone.input.size
    example = torch.zeros((rows, size, size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        shape = openvino.PartialShape(list(example.shape))
        return openvino.convert_model(
            network, example_input=example, input=[(shape, openvino.Type.u8)]
        )


def _keep(model: Any, folder: Path, key: dict[str, Any]) -> None:
    temporary = folder.with_name(f".{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        import_openvino().save_model(model, temporary / "graph.xml", compress_to_fp16=False)
        files.write_json(temporary / "key.json", key)
        temporary.rename(folder)
    except OSError:
        # Another process was first, or the disk is full: the graph in memory serves.
        shutil.rmtree(temporary, ignore_errors=True)
