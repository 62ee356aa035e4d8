"""A network in training mode, to demonstrate what evaluation mode is for; never features.

In training mode batch normalisation uses the statistics of whatever is in the batch and
moves its running averages, and dropout drops at random; an extractor left in that mode
gives another vector for the same image each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.engine.contract import Tap
from offshelf.errors import EngineError

if TYPE_CHECKING:
    from offshelf.engine.torch_engine.tapped_network import TappedNetwork


@dataclass(frozen=True)
class ModeDependentLayers:
    """Counts of the layers that behave differently in training mode.

    Attributes:
        normalisations: batch normalisations.
        dropouts: dropouts that drop something.
    """

    normalisations: int
    dropouts: int


class TrainingMode:
    """A backbone that can be run in training and in evaluation mode, on the CPU with torch.

    Args:
        backbone: the network.
        tap: where its output is taken.

    Raises:
        LayerError: the weights do not reach the tap.
    """

    def __init__(self, backbone: Backbone, tap: Tap) -> None:
        from offshelf.engine.torch_engine.tapped_network import TappedNetwork

        self._network: TappedNetwork = TappedNetwork(backbone, [tap])
        self._kept = {name: value.clone() for name, value in self._network.named_buffers()}

    @property
    def mode_dependent(self) -> ModeDependentLayers:
        """Which layers make the difference."""
        from torch import nn

        parts = list(self._network.modules())
        shares = [getattr(part, "p", getattr(part, "drop_prob", 0)) for part in parts]
        return ModeDependentLayers(
            sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts),
            sum(isinstance(share, float) and share > 0 for share in shares),
        )

    def reset(self) -> None:
        """Put back the running averages that training passes have moved."""
        for name, value in self._network.named_buffers():
            value.copy_(self._kept[name])

    def run(
        self, pixels: NDArray[np.uint8], *, training: bool, seed: int = 0
    ) -> NDArray[np.float32]:
        """Return the output for a batch, float32, N x K.

        Args:
            pixels: uint8, N x S x S x 3.
            training: the mode.
            seed: of what dropout drops.

        Raises:
            EngineError: batch normalisation cannot take statistics of so few values.
        """
        import torch

        self._network.train(training)
        try:
            with torch.no_grad(), one_thread(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                (output,) = self._network(torch.from_numpy(np.array(pixels)))
        except ValueError as error:
            raise EngineError(
                "an image alone cannot be run in training mode: batch normalisation needs more "
                "than one value of each channel"
            ) from error
        finally:
            self._network.eval()
        return output.float().flatten(1).numpy().copy()  # type: ignore[no-any-return]
