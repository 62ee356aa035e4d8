"""The reference engine: plain torch, on the CPU, CUDA or Apple's MPS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.engine.base import EngineOptions, Tap, Ticket, pad
from offshelf.engine.tapped import TappedNetwork
from offshelf.errors import EngineError

CPU_BATCH = 8
ACCELERATOR_BATCH = 64


class TorchEngine:
    """Runs the tapped network eagerly, always in evaluation mode."""

    name = "torch"

    def __init__(
        self, backbone: Backbone, taps: tuple[Tap, ...], options: EngineOptions, device: str
    ) -> None:
        if options.precision != "fp32":
            raise EngineError(f"engine torch has no precision {options.precision!r}: use fp32")
        self.device = device
        self.batch_size = options.batch_size or (
            CPU_BATCH if device == "cpu" else ACCELERATOR_BATCH
        )
        self._device = _device(device)
        if options.threads and device == "cpu":
            torch.set_num_threads(options.threads)
        self._taps = taps
        self._network: Any = TappedNetwork(backbone, taps)
        # Parts that the weights do not cover have no numbers to move.
        self._network._apply(  # type: ignore[no-untyped-call]
            lambda t: t if t.is_meta else t.to(self._device)
        )
        size = backbone.input.size
        blank = self.run(np.zeros((1, size, size, 3), np.uint8))
        self.shapes: dict[Tap, tuple[int, ...]] = {
            tap: value.shape[1:] for tap, value in blank.items()
        }

    def run(self, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        """See :class:`offshelf.engine.base.Engine`."""
        pieces = [
            self._run_one(batch[start : start + self.batch_size])
            for start in range(0, max(1, len(batch)), self.batch_size)
        ]
        return {tap: np.concatenate([piece[tap] for piece in pieces]) for tap in self._taps}

    def stream(
        self, batches: Iterable[tuple[Ticket, NDArray[np.uint8]]]
    ) -> Iterator[tuple[Ticket, dict[Tap, NDArray[np.float32]]]]:
        """See :class:`offshelf.engine.base.Engine`."""
        for ticket, batch in batches:
            yield ticket, self.run(batch)

    def close(self) -> None:
        """Drop the network."""
        del self._network

    def _run_one(self, batch: NDArray[np.uint8]) -> dict[Tap, NDArray[np.float32]]:
        rows = len(batch)
        images = torch.from_numpy(pad(batch, self.batch_size)).to(self._device)
        with torch.inference_mode():
            outputs = self._network(images)
        return {
            tap: output[:rows].float().cpu().numpy()
            for tap, output in zip(self._taps, outputs, strict=True)
        }


def _device(name: str) -> Any:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"device {name!r} is not available here: {reason}") from error
    return device
