"""onnxruntime in the plain loop as a side of extraction.py; needs onnx and onnxruntime.

The network is exported with full batches and runs with onnxruntime's own settings for the
processor: every graph optimisation, as many threads as it chooses.

    python benchmarks/onnxruntime_side.py job.json
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from networks import BATCH_SIZE, build, full, hand_back, load_job, timed


def export(network: torch.nn.Module, size: int, path: Path) -> None:
    """Write *network* as ONNX for a batch of N x 3 x size x size."""
    example = torch.zeros(BATCH_SIZE, 3, size, size)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        # The older exporter needs no package beyond onnx.
        torch.onnx.export(network, (example,), str(path), dynamo=False, input_names=["images"])


def session(network: torch.nn.Module, size: int) -> Callable[[torch.Tensor], Any]:
    """Return *network* as onnxruntime runs it on the processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        export(network, size, path)
        ready = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: ready.run(None, {"images": batch.numpy()})[0]


def main() -> None:
    """Run one job."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    job = load_job(sys.argv[1])
    network = full(session(build(job), job.spec.size))
    hand_back(job, *timed(network, job), f"onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
