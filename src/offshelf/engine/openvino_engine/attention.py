"""Check of attention in several streams: used where it gives the bits that one stream gives.

OpenVINO 2026.4 was once seen to give wrong numbers for vit_b_16 with two streams, in about one
process in ten, and never with one. It was not seen again, in more than a hundred processes and
compiled networks, so its cause is unknown. A network with attention therefore proves itself
in every process: before the first image each stream computes probes, and what one stream gives for
them is kept beside the graph, by kind of processor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offshelf import sealed_json
from offshelf.engine.openvino_engine.streams import Plan, compile_plan, has_attention, processor_key

# Each stream gets so many, as nobody can say which stream takes which request.
ROUNDS = 2


def compile_verified(
    model: Any, folder: Path, plan: Plan, settings: Mapping[str, Any]
) -> tuple[Plan, Any]:
    """Return *model* compiled under *plan*, or in one stream where several compute otherwise.

    Args:
        model: the graph.
        folder: where the graph is kept, if it is.
        plan: what to compile for.
        settings: OpenVINO's settings apart from the plan's.
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
            # Not being able to remember only costs the next run the same proof.
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
    # Multiplied by a large odd number and cut: every pixel of every image is another.
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
