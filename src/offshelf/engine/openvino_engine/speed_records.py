"""Speed of a network in each precision, measured once and cached.

The rates are those of the network alone, in processor time, so that other work on the machine does
not change them. They are kept beside the fp32 graph, keyed by processor and threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offshelf import files, sealed_json
from offshelf.backbones.backbone import Backbone
from offshelf.cache import Usage
from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_engine.graph_cache import graph_folder, load_graph
from offshelf.engine.openvino_engine.int8 import TRANSFORMERS, uncalibrated
from offshelf.engine.openvino_engine.int8_winograd import int8_method, is_slower_in_int8
from offshelf.engine.openvino_engine.streams import (
    HINT,
    HINTS,
    StreamPlan,
    compile_plan,
    default_plan,
    possible_plan,
    speed,
)
from offshelf.engine.openvino_runtime import import_openvino
from offshelf.engine.processor import adds_bytes_exactly, processor_kind

# With a smaller share of the processor time a rate means nothing.
MIN_SHARE = 0.05
_NAMES = frozenset({*HINTS, "calibration"})


@dataclasses.dataclass(frozen=True)
class Rates:
    """What is known of a network on this machine; None where it was never measured.

    Attributes:
        fp32: images per second.
        int8: the same.
        bf16: the same.
        calibration: seconds that the last calibration for int8 took.
    """

    fp32: float | None = None
    int8: float | None = None
    bf16: float | None = None
    calibration: float | None = None

    def gain(self, precision: str) -> float | None:
        """Return how many times as fast as fp32 a precision is, None where that is not known.

        >>> Rates(fp32=20.0, int8=50.0).gain("int8")
        2.5
        """
        other = getattr(self, precision)
        return other / self.fp32 if other and self.fp32 else None


def expected_gain(architecture: str) -> tuple[float, float]:
    """Return the least and the largest gain of int8 over fp32 to expect before it is measured.

    >>> least, most = expected_gain("vgg16")
    >>> 0 < least <= most
    True
    """
    if int8_method(architecture) == "winograd":
        return 1.5, 2.3
    if adds_bytes_exactly():
        slow = any(word in architecture for word in TRANSFORMERS)
        return (1.2, 3.0) if slow else (1.6, 3.5)
    return (0.5, 1.0) if is_slower_in_int8(architecture) else (0.6, 2.6)


def known_rates(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Rates:
    """Return what earlier runs measured here; a damaged record is set aside."""
    path = _path(backbone, taps, options)
    if not path.parent.is_dir():
        return Rates()
    with contextlib.closing(Usage(path.parent)):
        document = sealed_json.read(path)
    if document is None:
        return Rates()
    sound = all(type(value) is float and value > 0 for value in document.values())
    if not sound or not document.keys() <= _NAMES:
        sealed_json.set_aside(path)
        return Rates()
    return Rates(**document)


def measured_rates(
    backbone: Backbone,
    taps: tuple[Tap, ...],
    options: EngineOptions,
    *,
    precisions: tuple[str, ...] = ("fp32",),
    calibrated: Any = None,
) -> Rates:
    """Time a network in some precisions and remember what was found.

    Raises:
        EngineError: NNCF is not installed, and int8 is asked for.
    """
    found = {}
    for precision in precisions:
        # Loaded for each: quantisation may change the graph that it is given.
        model = load_graph(backbone, taps, options.in_fp32())
        if precision == "int8":
            model = calibrated or uncalibrated(backbone, model, options.threads)
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", HINT: HINTS[precision]}
        plan = possible_plan(model, default_plan(_threads(options)), settings)
        # Compiled one after the other, to hold the memory of one.
        found[precision] = unloaded_speed(compile_plan(model, plan, settings), plan)
    return remember(backbone, taps, options, found)


def unloaded_speed(compiled: Any, plan: StreamPlan) -> float:
    """Return images per second as if nothing else ran: by the time that the threads got."""
    began, used = time.perf_counter(), time.process_time()
    found = speed(compiled, plan)
    got = (time.process_time() - used) / (plan.threads * (time.perf_counter() - began))
    return found / min(1.0, max(got, MIN_SHARE))


def remember(
    backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions, found: Mapping[str, float]
) -> Rates:
    """Add what was *found*, by the names of :class:`Rates`, and return all that is known."""
    known = dataclasses.asdict(known_rates(backbone, taps, options)) | dict(found)
    document = {name: float(value) for name, value in known.items() if value is not None}
    # If it cannot be written, the next run measures again.
    with contextlib.suppress(OSError):
        sealed_json.write(_path(backbone, taps, options), document)
    return Rates(**document)


def _threads(options: EngineOptions) -> int:
    return options.threads or os.cpu_count() or 1


def _path(backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions) -> Path:
    openvino = import_openvino().get_version()
    key = files.sha256_json([openvino, processor_kind(), os.cpu_count(), _threads(options)])[:16]
    return graph_folder(backbone, taps, options.in_fp32()) / f"rates-{key}.json"
