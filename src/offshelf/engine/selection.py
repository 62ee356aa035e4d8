"""Selection of the engine and the device, and the environment that decides last bits.

Another device, another version of the engine or another kind of processor adds the same
numbers in another order. OpenVINO joins steps of a network, but not across a tap: what else is
taken in a pass moves last bits, and in int8 the ranges. A feature store therefore has all of it
in its key: what a run gives never depends on who filled the cache.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import ENGINES, Engine, EngineOptions, Tap, check_precision
from offshelf.engine.openvino_runtime import VERSION
from offshelf.engine.processor import adds_bytes_exactly, processor_kind
from offshelf.errors import EngineError, LayerError, check_choice


def choose(options: EngineOptions) -> tuple[str, str]:
    """Return the engine and device that *options* mean on this machine.

    A CUDA or Apple device is used where there is one; otherwise OpenVINO on the CPU.
    Only OpenVINO computes in int8, so that precision chooses it.

    Raises:
        EngineError: the engine, device or precision does not exist here.

    >>> choose(EngineOptions(engine="torch", device="cpu"))
    ('torch', 'cpu')
    """
    engine, device = options.engine, options.device
    check_choice("engine", engine, ENGINES, EngineError)
    check_precision(options.precision)
    if engine == "auto" and options.precision == "int8":
        engine = "openvino"
    if engine == "openvino" and device not in {"auto", "cpu"}:
        raise EngineError(f"engine openvino runs on the cpu, not on {device!r}: use --engine torch")
    if device == "auto":
        device = "cpu" if engine == "openvino" else _accelerator()
    if engine == "auto":
        has_openvino = importlib.util.find_spec("openvino") is not None
        engine = "openvino" if device == "cpu" and has_openvino else "torch"
    return engine, device


def open_engine(
    backbone: Backbone, taps: Iterable[Tap], options: EngineOptions | None = None
) -> Engine:
    """Open the engine that *options* choose, for these taps of *backbone*.

    Raises:
        EngineError: the engine, device or precision is not available.
        LayerError: a tap is not a layer, or the weights do not reach it.

    >>> import numpy as np
    >>> from offshelf.backbones.backbone import open_backbone
    >>> tap = Tap("global_pool", "avg")
    >>> engine = open_engine(open_backbone("efficientnet_lite0"), [tap])
    >>> engine.run(np.zeros((1, 224, 224, 3), np.uint8))[tap].shape
    (1, 1280)
    """
    options = options or EngineOptions()
    wanted = tuple(dict.fromkeys(taps))
    if not wanted:
        raise LayerError("no layer was asked for")
    name, device = choose(options)
    if name == "openvino":
        from offshelf.engine.openvino_engine.cpu_engine import OpenvinoEngine

        return OpenvinoEngine(backbone, wanted, options)
    from offshelf.engine.torch_engine.reference import TorchEngine

    return TorchEngine(backbone, wanted, options, device)


def _accelerator() -> str:
    # Importing torch takes seconds; most machines without a card can be recognised without it.
    nvidia = os.name == "nt" or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not nvidia and sys.platform != "darwin":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def numeric_environment(options: EngineOptions, taps: Iterable[Tap] = ()) -> dict[str, Any]:
    """Return engine, its version, device and, of a CPU, its kind, as JSON values.

    Args:
        options: engine, device and precision.
        taps: all taps of the pass; part of the result where the engine compiles them in.

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

    Where they agree, int8 and half-precision networks compute the same.

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
