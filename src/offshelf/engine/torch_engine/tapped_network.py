"""One torch module for all engines: uint8 images in, pooled activations out.

Scaling by mean and standard deviation, the channel policy ``summed`` and the pooling are part of
the module, so every engine runs the same graph. Hooks live only during one pass, which stops at
the deepest tap: what lies behind it is neither computed nor needs weights.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from offshelf.backbones.backbone import Backbone
from offshelf.backbones.construct.architectures import load_module
from offshelf.backbones.construct.torch_context import one_thread
from offshelf.backbones.named_layers import INPUT_SUFFIX, check_input_size
from offshelf.engine.contract import Tap, cell_bounds, pyramid_cells
from offshelf.errors import BackboneError

GEM_POWER = 3.0
GEM_FLOOR = 1e-6


class _DeepestTapReachedError(Exception):
    """Ends a pass; never leaves this module."""


class TappedNetwork(nn.Module):
    """A backbone that returns what its taps see.

    Raises:
        BackboneError: the network does not take images of the size of its input.
        LayerError: a tap is no layer of the backbone, or its weights do not reach it.
    """

    @one_thread()
    def __init__(self, backbone: Backbone, taps: Sequence[Tap]) -> None:
        super().__init__()
        check_input_size(backbone.spec, backbone.file.spec.input.size, backbone.input.size)
        self._calls = [backbone.calls(tap.path) for tap in taps]
        self.network = load_module(backbone.spec, backbone.file)
        self.taps = tuple(taps)
        self._channels_last = backbone.spec.channels_last
        scale = [1 / (255 * s) for s in backbone.input.std]
        shift = [-m / s for m, s in zip(backbone.input.mean, backbone.input.std, strict=True)]
        self.scale = nn.Buffer(torch.tensor(scale).view(1, 3, 1, 1))
        self.shift = nn.Buffer(torch.tensor(shift).view(1, 3, 1, 1))
        self._summed = backbone.input.channels == "summed"
        if self._summed:
            name, size = backbone.spec.name, backbone.input.size
            sum_over_colour(self.network, name, self.scale, self.shift, size)
        self.eval()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one tensor per tap for uint8 *images*, N x S x S x 3."""
        pixels = images.permute(0, 3, 1, 2).to(self.scale.dtype)
        # Summed: the three channels are equal, and scale and shift are in the convolution.
        pixels = pixels[:, :1] if self._summed else pixels * self.scale + self.shift
        taken: dict[int, torch.Tensor] = {}
        remaining = list(self._calls)
        handles = [self._listen(i, tap, taken, remaining) for i, tap in enumerate(self.taps)]
        try:
            with contextlib.suppress(_DeepestTapReachedError):
                self.network(pixels)
        finally:
            for handle in handles:
                handle.remove()
        return tuple(taken[i] for i in range(len(self.taps)))

    def _listen(
        self, index: int, tap: Tap, taken: dict[int, torch.Tensor], remaining: list[int]
    ) -> Any:
        path, is_input = tap.path.removesuffix(INPUT_SUFFIX), tap.path.endswith(INPUT_SUFFIX)
        part = self.network.get_submodule(path)
        note = functools.partial(self._take, index, taken, remaining)
        if is_input:
            return part.register_forward_pre_hook(lambda _, inputs: note(inputs[0]))
        return part.register_forward_hook(lambda _, __, output: note(output))

    def _take(
        self, index: int, taken: dict[int, torch.Tensor], remaining: list[int], value: torch.Tensor
    ) -> None:
        remaining[index] -= 1
        if remaining[index] == 0:
            taken[index] = pool(value, self.taps[index].pooling, self._channels_last)
        if not any(remaining):
            raise _DeepestTapReachedError


def pool(value: torch.Tensor, pooling: str, channels_last: bool = False) -> torch.Tensor:
    """Turn an activation into one vector per image.

    ``flatten`` keeps everything, channel-major (C, H, W) whatever the network's own
    order. ``avg``, ``max`` and ``gem`` reduce over positions: H x W of a map, or the
    tokens of a transformer (N x T x C, class token included). A vector passes as it is.
    ``gem`` is the generalised mean with p = 3 over values clamped at 1e-6 (Radenovic,
    Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation", 2018,
    equation 3). ``pyramid:N`` averages over the cells of grids of 1 x 1 to N x N (``pyramid``:
    to 2 x 2), as Lazebnik, Schmid and Ponce, "Beyond bags of features: spatial pyramid matching",
    CVPR 2006, section 3.2; of a transformer, over the tokens that have a place, the first grid
    apart, which is ``avg``. ``none`` returns the activation.

    Args:
        value: N x C x H x W, N x H x W x C (with *channels_last*), N x T x C or N x C.
        pooling: one of the words above.
        channels_last: how to read a 4-D *value*.

    >>> pool(torch.arange(8.0).view(1, 2, 2, 2), "avg")
    tensor([[1.5000, 5.5000]])
    """
    if pooling == "none":
        return value.clone()
    maps = value
    if value.dim() == 4:
        maps = value.permute(0, 3, 1, 2) if channels_last else value
        positions = maps.flatten(2)
    elif value.dim() == 3:
        positions = value.transpose(1, 2)
    else:
        return value.flatten(1).clone()
    if pooling == "flatten":
        return positions.flatten(1).clone()
    if cells := pyramid_cells(pooling):
        tokens = value.dim() == 3
        return _pyramid(positions, _places(positions) if tokens else maps, cells)
    return _reduced(positions, pooling)


def _reduced(positions: torch.Tensor, pooling: str) -> torch.Tensor:
    if pooling == "avg":
        return positions.mean(2)
    if pooling == "max":
        return positions.amax(2)
    powered = positions.clamp(min=GEM_FLOOR).pow(GEM_POWER)
    return powered.mean(2).pow(1 / GEM_POWER)


def _places(tokens: torch.Tensor) -> torch.Tensor:
    """Return the N x C x T *tokens* that have a place, as maps: those before them have none."""
    side = math.isqrt(tokens.shape[2])
    return tokens[:, :, -(side * side) :].reshape(*tokens.shape[:2], side, side)


def _pyramid(positions: torch.Tensor, maps: torch.Tensor, cells: int) -> torch.Tensor:
    """Return the mean over *positions*, then over each cell of the finer grids, row by row."""
    found = [positions.mean(2)]
    for side in range(2, cells + 1):
        rows, columns = (cell_bounds(length, side) for length in maps.shape[2:])
        found += [
            maps[:, :, top:bottom, left:right].mean((2, 3))
            for top, bottom in rows
            for left, right in columns
        ]
    return torch.cat(found, 1)


class SummedConvolution(nn.Module):
    """A convolution of one grey channel that equals *convolution* of the three.

    A network sees ``x_c = a_c * g + b_c`` of a grey pixel g, with scale and shift of each colour
    channel c, and its first convolution is linear, so

        conv(x) = (sum over c of a_c * W_c) * g  +  conv(b)

    where ``*`` is the convolution without its bias, and ``conv(b)`` is what it makes of a black
    image, its own bias included. Zeros are padded after the shift, so at the border a shift is
    missing that is there inside: ``conv(b)`` is a map and not one number per filter.

    Args:
        convolution: 3 input channels, in one group.
        scale: of a pixel of each channel, 1 x 3 x 1 x 1.
        shift: of each channel after the scale, 1 x 3 x 1 x 1.
        size: side of the input in pixels.
    """

    def __init__(
        self, convolution: nn.Conv2d, scale: torch.Tensor, shift: torch.Tensor, size: int
    ) -> None:
        super().__init__()
        self.grey = copy.deepcopy(convolution)
        self.grey.in_channels = 1
        weight = (convolution.weight * scale).sum(1, keepdim=True)
        self.grey.weight = nn.Parameter(weight, requires_grad=False)
        self.grey.bias = None
        with torch.no_grad():
            self.black = nn.Buffer(convolution(shift.expand(1, 3, size, size)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return N x C x H x W of grey *pixels* from 0 to 255, N x 1 x S x S."""
        convolved: torch.Tensor = self.grey(pixels)
        return convolved + self.black


def first_convolution(network: nn.Module, name: str) -> tuple[str, nn.Conv2d]:
    """Return path and module of the convolution that is given the RGB image.

    Args:
        network: any network; its modules are taken in the order they were declared.
        name: of the backbone, for the message.

    Raises:
        BackboneError: the first convolution has other than three input channels.
    """
    found = ((p, part) for p, part in network.named_modules() if isinstance(part, nn.Conv2d))
    path, part = next(found, ("", None))
    if part is None or part.in_channels != 3 or part.groups != 1:
        raise BackboneError(f"{name}: no first convolution over red, green and blue")
    return path, part


def sum_over_colour(
    network: nn.Module, name: str, scale: torch.Tensor, shift: torch.Tensor, size: int
) -> None:
    """Replace the first convolution of *network* by its :class:`SummedConvolution`.

    Raises:
        BackboneError: there is no such convolution.
    """
    try:
        path, convolution = first_convolution(network, name)
    except BackboneError as error:
        raise BackboneError(f"{error}: use --grey luma instead of summed") from None
    network.set_submodule(path, SummedConvolution(convolution, scale, shift, size))
