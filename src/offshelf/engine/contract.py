"""The contract that every engine keeps: taps, options, and the interface of an engine.

An engine is opened for a backbone and a fixed set of taps. It takes uint8 batches,
N x S x S x 3, of any N, and always returns ``{tap: float32 array, N x ...}``. Batches are
padded to a fixed size inside, so an image gives the same bits alone and in a batch.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from offshelf.errors import EngineError, LayerError, check_choice

# 300 images gave features no nearer to fp32 (cosine 0.987), and took twice as long.
MAX_IMAGES = 100


@dataclass(frozen=True, eq=False)
class Calibration:
    """The sample that sets the ranges of an int8 network.

    Attributes:
        digest: sha256 over the sample, 64 hexadecimal digits.
        pixels: returns the sample as the network sees it, uint8, N x S x S x 3; None
            when *network* is given.
        network: the finished int8 network as OpenVINO's XML and weights, from a model
            file; None to make it from *pixels*.
    """

    digest: str
    pixels: Callable[[], NDArray[np.uint8]] | None = None
    network: tuple[bytes, bytes] | None = None


PYRAMID = "pyramid"
POOLINGS = ("flatten", "avg", "max", "gem", PYRAMID)
# Cells along each side of the finest grid of a pyramid: by default, and at most.
USUAL_CELLS, MOST_CELLS = 2, 8
ENGINES = ("auto", "openvino", "torch")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
Ticket = TypeVar("Ticket")


@dataclass(frozen=True)
class Tap:
    """A layer, and how its activation is pooled.

    Attributes:
        path: module path, see :mod:`offshelf.backbones.named_layers`.
        pooling: ``flatten``, ``avg``, ``max``, ``gem``, ``pyramid``, ``pyramid:N``, or ``none``
            for the activation as it is.
    """

    path: str
    pooling: str = "none"


Activations: TypeAlias = dict[Tap, NDArray[np.float32]]
Batches: TypeAlias = Iterable[tuple[Ticket, NDArray[np.uint8]]]


@dataclass(frozen=True)
class EngineOptions:
    """Options of an engine.

    Attributes:
        engine: ``auto``, ``openvino`` or ``torch``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``fp32``, ``int8`` (with a calibration), or ``bf16`` and ``fp16`` where
            the hardware computes in them.
        batch_size: rows in one request on a CUDA or Apple device; None lets the engine choose.
            On a CPU the network alone decides: other rows would give other last bits.
        threads: processor threads; None for all.
        cache_dir: root of offshelf's own folders.
        images: number of images expected; where it is large, the engine is tuned first.
        calibration: the sample or the finished network of ``int8``.
        cache_size: size limit of the cache, such as ``20G``; None for
            ``OFFSHELF_CACHE_SIZE``, or 20 GiB or a tenth of the disk, whichever is more.
        reason: why ``auto`` chose the precision; "" where it was asked for. It decides nothing.
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
    reason: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EngineError(f"{name} must be 1 or more, not {value}")

    def in_fp32(self) -> EngineOptions:
        """Return the same options for precision fp32."""
        return replace(self, precision="fp32", calibration=None)

    @property
    def precision_key(self) -> str:
        """Name of the precision in keys; for int8 it includes the calibration.

        Raises:
            EngineError: there is no such precision, or int8 without a calibration.

        >>> EngineOptions().precision_key
        'fp32'
        """
        check_precision(self.precision)
        if self.precision != "int8":
            return self.precision
        if self.calibration is None:
            raise EngineError("precision int8 needs a sample of images to calibrate on")
        return f"int8-{self.calibration.digest[:32]}"


class Engine(abc.ABC):
    """A backbone that runs. See the module's text for the contract."""

    name: str
    device: str
    batch_size: int
    shapes: dict[Tap, tuple[int, ...]]

    def __init__(self, taps: tuple[Tap, ...]) -> None:
        self.taps = taps

    def run(self, batch: NDArray[np.uint8]) -> Activations:
        """Return the activations of *batch* (uint8, N x S x S x 3) at every tap."""
        starts = range(0, max(1, len(batch)), self.batch_size)
        batches = ((None, batch[start : start + self.batch_size]) for start in starts)
        pieces = [piece for _, piece in self.stream(batches)]
        return {tap: np.concatenate([piece[tap] for piece in pieces]) for tap in self.taps}

    @abc.abstractmethod
    def stream(self, batches: Batches[Ticket]) -> Iterator[tuple[Ticket, Activations]]:
        """Run batches of at most ``batch_size`` rows, in order, several at a time."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release memory and threads."""


def check_pooling(pooling: str) -> str:
    """Return *pooling*, checked, in its shortest form.

    Raises:
        LayerError: there is no such pooling, or no such pyramid.

    >>> check_pooling("pyramid:2"), check_pooling("pyramid:3")
    ('pyramid', 'pyramid:3')
    >>> check_pooling("average")
    Traceback (most recent call last):
    ...
    offshelf.errors.LayerError: no pooling 'average': flatten, avg, max, gem, pyramid. Did you \
mean 'avg'?
    """
    word, colon, number = pooling.partition(":")
    if word != PYRAMID or not colon:
        check_choice("pooling", pooling, POOLINGS, LayerError)
        return pooling
    if number not in map(str, range(2, MOST_CELLS + 1)):
        raise LayerError(
            f"no pooling {pooling!r}: pyramid:N has N cells along each side of its finest grid, "
            f"2 to {MOST_CELLS}"
        )
    return PYRAMID if int(number) == USUAL_CELLS else pooling


def pyramid_cells(pooling: str) -> int:
    """Return N of ``pyramid:N``, 2 for ``pyramid``, and 0 for any other pooling.

    >>> pyramid_cells("pyramid:3"), pyramid_cells("pyramid"), pyramid_cells("avg")
    (3, 2, 0)
    """
    word, _, number = pooling.partition(":")
    return int(number or USUAL_CELLS) if word == PYRAMID else 0


def cell_bounds(side: int, cells: int) -> tuple[tuple[int, int], ...]:
    """Return where each of *cells* equal parts of *side* positions begins and ends.

    Where they do not divide the side, a position on a border belongs to both parts, as in
    adaptive pooling.

    >>> cell_bounds(7, 2)
    ((0, 4), (3, 7))
    """
    return tuple((k * side // cells, -(-(k + 1) * side // cells)) for k in range(cells))


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


def check_precision(precision: str) -> None:
    """Raise an :class:`EngineError` where *precision* is none of :data:`PRECISIONS`."""
    check_choice("precision", precision, PRECISIONS, EngineError)
