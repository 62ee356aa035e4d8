"""Selection of the engine and the device on this machine."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from offshelf.backbones.backbone import Backbone
from offshelf.engine.contract import ENGINES, Engine, EngineOptions, Tap, check_precision
from offshelf.errors import EngineError, LayerError, did_you_mean


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
    if engine not in ENGINES:
        hint = did_you_mean(engine, ENGINES)
        raise EngineError(f"no engine {engine!r}: {', '.join(ENGINES)}.{hint}")
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
    # Asking torch costs seconds; most machines without a card can be told from outside.
    nvidia = os.name == "nt" or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not nvidia and sys.platform != "darwin":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
