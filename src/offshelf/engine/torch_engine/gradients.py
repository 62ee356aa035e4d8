"""Gradients of the features of one image at activations, by the torch reference.

The network runs as in :mod:`.tapped_network`. Gradients start at the places that
are reached first, so only what follows them is kept for the way back.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.backbones.named_layers import INPUT_SUFFIX
from offshelf.engine.contract import Tap

if TYPE_CHECKING:
    import torch


class Probe:
    """The features of one image, the activations they came from, and gradients.

    Args:
        backbone: the network, its weights and preprocessing.
        tap: where the features come out.
        places: module paths of activations at or before the tap.
        pixels: what the network sees, uint8, S x S x 3.

    Attributes:
        features: float32, D.
        activations: place -> float32 in the network's own shape: C x H x W, H x W x C or
            T x C. A place that the features do not pass is missing.

    Raises:
        LayerError: a path is no layer, or the weights do not reach it.

    >>> from offshelf.backbones.backbone import open_backbone
    >>> pixels = np.zeros((224, 224, 3), np.uint8)
    >>> backbone = open_backbone("efficientnet_lite0")
    >>> probe = Probe(backbone, Tap("global_pool", "avg"), ["global_pool:in"], pixels)
    >>> probe.features.shape, probe.activations["global_pool:in"].shape
    ((1280,), (1280, 7, 7))
    """

    def __init__(
        self, backbone: Backbone, tap: Tap, places: Sequence[str], pixels: NDArray[np.uint8]
    ) -> None:
        self._calls = {place: backbone.require(place).calls for place in places}
        self._taken: dict[str, torch.Tensor] = {}
        self._end = self._run(backbone, tap, pixels)
        self.features: NDArray[np.float32] = self._end.detach().numpy()
        self.activations: dict[str, NDArray[np.float32]] = {
            place: value.detach()[0].numpy() for place, value in self._taken.items()
        }

    def gradient(self, direction: NDArray[np.float64], place: str) -> NDArray[np.float32]:
        """Return the gradient of ``direction . features`` at the activation of *place*.

        Args:
            direction: D numbers, for example a score's gradient at the features.
            place: one of the places.

        Returns:
            float32 in the activation's shape; zeros where the features do not depend on it.
        """
        import torch

        towards = torch.from_numpy(direction.astype(np.float32))
        start = self._taken[place]
        with one_thread():
            (found,) = torch.autograd.grad(
                self._end, start, towards, retain_graph=True, materialize_grads=True
            )
        gradient: NDArray[np.float32] = found[0].numpy()
        return gradient

    def _run(self, backbone: Backbone, tap: Tap, pixels: NDArray[np.uint8]) -> torch.Tensor:
        import torch

        from offshelf.engine.torch_engine.tapped_network import TappedNetwork

        network = TappedNetwork(backbone, [tap])
        # Registered before the pass, so these hooks run before the tap's own.
        handles = [self._listen(network.network, place) for place in self._calls]
        try:
            with torch.enable_grad(), one_thread():
                (features,) = network(torch.from_numpy(pixels[None].copy()))
        finally:
            for handle in handles:
                handle.remove()
        return features.flatten()  # type: ignore[no-any-return]

    def _listen(self, network: torch.nn.Module, place: str) -> Any:
        part = network.get_submodule(place.removesuffix(INPUT_SUFFIX))
        note = functools.partial(self._note, place)
        if place.endswith(INPUT_SUFFIX):
            return part.register_forward_pre_hook(lambda _, given: (note(given[0]), *given[1:]))
        return part.register_forward_hook(lambda _, __, output: note(output))

    def _note(self, place: str, value: torch.Tensor) -> torch.Tensor:
        self._calls[place] -= 1
        if self._calls[place] != 0:
            return value
        start = value if value.requires_grad else value.detach().requires_grad_()
        self._taken[place] = start
        # Later layers may write in place; the noted tensor must stay.
        return start.clone()
