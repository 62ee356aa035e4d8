"""The reference engine: plain torch, on the CPU, CUDA or Apple's MPS.

On the CPU each request of two images is computed by one thread, and several requests at
once: shared out among threads, a batch would have other last bits on another number of them,
and at another place in the batch. On CUDA the images go up while the last ones are computed:
pinned memory, copies that do not wait, channels-last layout, and bf16 or fp16 where asked for.
TensorFloat-32 stays off, so that fp32 means fp32.
"""

from __future__ import annotations

import collections
import copy
import os
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.engine.contract import Activations, Batches, Engine, EngineOptions, Tap, Ticket, pad
from offshelf.engine.torch_engine.tapped_network import TappedNetwork
from offshelf.errors import EngineError

CPU_BATCH = 2
ACCELERATOR_BATCH = 64
UNDER_WAY = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine(Engine):
    """Runs the tapped network eagerly, always in evaluation mode."""

    name = "torch"

    def __init__(
        self, backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions, device: str
    ) -> None:
        _check_precision(options.precision, device)
        self.device = device
        self._device = _device(device)
        self.batch_size = _batch(self._device, options)
        if options.precision == "bf16" and half_of(device) != "bf16":
            raise EngineError(f"precision bf16 is emulated on this {device} device: use fp16")
        self._dtype = DTYPES[options.precision]
        super().__init__(taps)
        network: Any = TappedNetwork(backbone, taps)
        # Parts that the weights do not cover have no data to move.
        network._apply(lambda t: t if t.is_meta else t.to(self._device))
        self._cuda = self._device.type == "cuda"
        if self._device.type != "cpu":
            network._apply(_channels_last)
        self._network = network
        self._twins: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = options.threads or os.cpu_count() or 1
        for _ in range(self._threads if self._device.type == "cpu" else 0):
            self._twins.put(_twin(network))
        size = backbone.input.size
        blank = self.run(np.zeros((1, size, size, 3), np.uint8))
        self.shapes: dict[Tap, tuple[int, ...]] = {
            tap: value.shape[1:] for tap, value in blank.items()
        }

    def stream(self, batches: Batches[Ticket]) -> Iterator[tuple[Ticket, Activations]]:
        """See :class:`offshelf.engine.contract.Engine`."""
        if self._network is None:
            raise EngineError("the engine is closed: open another")
        if self._device.type == "cpu":
            yield from self._stream_on_cpu(batches)
            return
        running: collections.deque[tuple[Ticket, int, Any, Any]] = collections.deque()
        for ticket, batch in batches:
            running.append((ticket, len(batch), *self._start(batch)))
            if len(running) >= (UNDER_WAY if self._cuda else 1):
                yield self._collect(*running.popleft())
        while running:
            yield self._collect(*running.popleft())

    def close(self) -> None:
        """Drop the network."""
        self._network = None
        self._twins = queue.SimpleQueue()

    def _stream_on_cpu(self, batches: Batches[Ticket]) -> Iterator[tuple[Ticket, Activations]]:
        running: collections.deque[tuple[Ticket, Future[Any]]] = collections.deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="offshelf-torch") as pool:
            try:
                for ticket, batch in batches:
                    if len(running) > self._threads:
                        done, future = running.popleft()
                        yield done, future.result()
                    running.append((ticket, pool.submit(self._alone, batch)))
                while running:
                    done, future = running.popleft()
                    yield done, future.result()
            finally:
                for _, future in running:
                    future.cancel()

    def _alone(self, batch: NDArray[np.uint8]) -> Activations:
        """Compute one request in this thread, with a copy of the network that no other uses."""
        images, twin = torch.from_numpy(pad(batch, self.batch_size)), self._twins.get()
        try:
            with torch.inference_mode(), one_thread():
                outputs = twin(images)
        finally:
            self._twins.put(twin)
        return {
            tap: output[: len(batch)].float().numpy()
            for tap, output in zip(self.taps, outputs, strict=True)
        }

    def _start(self, batch: NDArray[np.uint8]) -> tuple[list[torch.Tensor], Any]:
        """Queue one batch; on CUDA this returns before anything was computed."""
        images = torch.from_numpy(pad(batch, self.batch_size))
        if self._cuda:
            images = images.pin_memory()
        images = images.to(self._device, non_blocking=self._cuda)
        with torch.inference_mode(), self._autocast(), _exact_fp32(self._cuda):
            outputs = [output.float() for output in self._network(images)]
        if not self._cuda:
            return outputs, None
        pinned = [torch.empty(o.shape, dtype=o.dtype, pin_memory=True) for o in outputs]
        for target, output in zip(pinned, outputs, strict=True):
            target.copy_(output, non_blocking=True)
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return pinned, event

    def _collect(
        self, ticket: Ticket, rows: int, outputs: list[torch.Tensor], event: Any
    ) -> tuple[Ticket, Activations]:
        if event is not None:
            event.synchronize()
        arrays = [output[:rows].cpu().numpy() for output in outputs]
        return ticket, dict(zip(self.taps, arrays, strict=True))

    def _autocast(self) -> Any:
        enabled = self._dtype != torch.float32
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=enabled)


def half_of(device: str) -> str:
    """Return the half precision in which a CUDA or Apple device computes: ``bf16`` or ``fp16``.

    >>> half_of("mps")
    'fp16'
    """
    if torch.device(device).type != "cuda":
        return "fp16"
    # NVIDIA cards have bfloat16 from compute capability 8 on, all AMD cards have it.
    native = torch.version.hip or torch.cuda.get_device_capability(device)[0] >= 8
    return "bf16" if native else "fp16"


def _check_precision(precision: str, device: str) -> None:
    if precision == "int8":
        raise EngineError("engine torch has no precision 'int8': use --engine openvino")
    if precision == "bf16" and device == "mps":
        raise EngineError("precision bf16 is not native on Apple devices: use fp16")
    if precision != "fp32" and device == "cpu":
        raise EngineError(
            f"precision {precision} is slower than fp32 on a cpu: use fp32, or a CUDA device"
        )


def _batch(device: torch.device, options: EngineOptions) -> int:
    """Return the rows of a request; fixed on the CPU, where they decide last bits."""
    return CPU_BATCH if device.type == "cpu" else options.batch_size or ACCELERATOR_BATCH


def _twin(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy with modules of its own and the same numbers."""
    numbers = (*network.parameters(), *network.buffers())
    return copy.deepcopy(network, {id(number): number for number in numbers})


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dim() != 4 or tensor.is_meta:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def _exact_fp32(cuda: bool) -> Any:
    return torch.backends.cudnn.flags(allow_tf32=False) if cuda else torch.no_grad()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(
            f"device {name!r} is not available here: {reason}; use --device cpu, or leave it out"
        ) from error
    return device
