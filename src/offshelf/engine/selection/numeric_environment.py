"""The numeric environment: what decides the last bits besides network, input and precision.

Another device, another version of the engine or another kind of processor adds the same
numbers in another order. OpenVINO joins steps of a network, but not across a tap: what else is
taken in a pass moves last bits, and in int8 the ranges. A feature store therefore has all of it
in its key: what a run gives never depends on who filled the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from offshelf.engine.contract import EngineOptions, Tap
from offshelf.engine.openvino_runtime import VERSION
from offshelf.engine.processor import adds_bytes_exactly, processor_kind
from offshelf.engine.selection.select import choose


def numeric_environment(options: EngineOptions, taps: Iterable[Tap] = ()) -> dict[str, Any]:
    """Return engine, its version, device and, of a CPU, its kind, as JSON values.

    Args:
        options: engine, device and precision.
        taps: all that the pass takes; they count where the engine compiles them in.

    Raises:
        EngineError: the engine or device is not available.

    >>> found = numeric_environment(EngineOptions(engine="torch", device="cpu"))
    >>> found["engine"], found["device"]
    ('torch', 'cpu')
    """
    engine, device = choose(options)
    word = device.partition(":")[0]
    found: dict[str, Any] = {"engine": engine, "engine_version": installed(engine), "device": word}
    if word == "cpu":
        found["processor"] = processor_kind()
    if options.precision == "int8" and not adds_bytes_exactly():
        found["weights"] = "7 bits"
    if engine != "openvino":
        return found
    compiled = sorted({(tap.path, tap.pooling) for tap in taps})
    return found | {"graph": VERSION, "taps": [list(tap) for tap in compiled]}


def platform_of(options: EngineOptions) -> str:
    """Return engine, device and kind of processor in words.

    Where they are the same, networks of 8 bits and half precision compute the same.

    Raises:
        EngineError: the engine or device is not available.

    >>> platform_of(EngineOptions(engine="torch", device="cpu")) == f"torch cpu {processor_kind()}"
    True
    """
    found = numeric_environment(options)
    return " ".join(found[name] for name in ("engine", "device", "processor") if name in found)


@functools.cache
def installed(package: str) -> str:
    """Return the version of a package, "" where it is not installed.

    >>> installed("no-such-package")
    ''
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
