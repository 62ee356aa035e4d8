"""The contract of engines, and which one runs on this machine.

An engine is opened for a backbone and a fixed set of taps. It takes uint8 batches,
N x S x S x 3, of any N, and always returns ``{tap: float32 array, N x ...}``. Batches are
padded to a fixed size inside, so an image alone gives the same bits as in company.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.engine.calibration import Calibration
from offshelf.errors import EngineError, LayerError, did_you_mean

Pooling = Literal["none", "flatten", "avg", "max", "gem"]
POOLINGS: tuple[Pooling, ...] = ("flatten", "avg", "max", "gem")
ENGINES = ("auto", "openvino", "torch")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
Ticket = TypeVar("Ticket")


@dataclass(frozen=True)
class Tap:
    """A layer and what is done to its activation before it leaves the network.

    Attributes:
        path: module path, see :mod:`offshelf.backbones.named_layers`.
        pooling: ``flatten``, ``avg``, ``max``, ``gem``, or ``none`` for the activation
            as it is.
    """

    path: str
    pooling: Pooling = "none"


@dataclass(frozen=True)
class EngineOptions:
    """How the engine runs.

    Attributes:
        engine: ``auto``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``fp32``, ``int8`` (with a calibration), or ``bf16`` and ``fp16`` where
            the hardware computes in them.
        batch_size: rows in one request on a CUDA or Apple device; None lets the engine choose.
            On a CPU the network alone decides: other rows would give other last bits.
        threads: processor threads; None for all.
        cache_dir: root of offshelf's own folders.
        images: how many images are expected: many make a measured choice worth its time.
        calibration: the sample or the finished network of ``int8``.
        cache_size: how much may be kept that can be made again, such as ``20G``; None for
            ``OFFSHELF_CACHE_SIZE``, or 20 GiB or a tenth of the disk, whichever is more.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int | None = None
    threads: int | None = None
    cache_dir: str | Path | None = None
    images: int | None = None
    calibration: Calibration | None = None
    cache_size: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EngineError(f"{name} must be 1 or more, not {value}")

    @property
    def precision_key(self) -> str:
        """What of the precision decides the numbers: for int8 the calibration, too.

        Raises:
            EngineError: there is no such precision, or int8 without a calibration.

        >>> EngineOptions().precision_key
        'fp32'
        """
        _check_precision(self.precision)
        if self.precision != "int8":
            return self.precision
        if self.calibration is None:
            raise EngineError("precision int8 needs a sample of images to calibrate on")
        return f"int8-{self.calibration.digest[:32]}"


class Engine(Protocol):
    """A backbone that runs. See the module's text for the contract."""

    name: str
    device: str
    batch_size: int
    shapes: dict[Tap, tuple[int, ...]]

    def run(self, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        """Return the activations of *batch* (uint8, N x S x S x 3) at every tap."""

    def stream(
        self, batches: Iterable[tuple[Ticket, NDArray[np.uint8]]]
    ) -> Iterator[tuple[Ticket, dict[Tap, NDArray[np.float32]]]]:
        """Run batches of at most ``batch_size`` rows, in order, several at a time."""

    def close(self) -> None:
        """Release memory and threads."""


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
    _check_precision(options.precision)
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


def check_pooling(pooling: str) -> Pooling:
    """Return *pooling* if it is one.

    >>> check_pooling("average")
    Traceback (most recent call last):
    ...
    offshelf.errors.LayerError: no pooling 'average': flatten, avg, max, gem. Did you mean 'avg'?
    """
    if pooling not in POOLINGS:
        raise LayerError(
            f"no pooling {pooling!r}: {', '.join(POOLINGS)}.{did_you_mean(pooling, POOLINGS)}"
        )
    return pooling


def pad(batch: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
    """Return *batch* with zero images added up to *rows*, C-contiguous.

    >>> pad(np.ones((1, 2, 2, 3), np.uint8), 3).shape
    (3, 2, 2, 3)
    """
    if len(batch) == rows and min(batch.strides) >= 0:
        return np.ascontiguousarray(batch)
    padded = np.zeros((rows, *batch.shape[1:]), np.uint8)
    padded[: len(batch)] = batch
    return padded


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        hint = did_you_mean(precision, PRECISIONS)
        raise EngineError(f"no precision {precision!r}: {', '.join(PRECISIONS)}.{hint}")


def _accelerator() -> str:
    # Asking torch costs seconds; most machines without a card can be told from outside.
    nvidia = os.name == "nt" or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not nvidia and sys.platform != "darwin":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
