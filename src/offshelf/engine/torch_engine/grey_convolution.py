"""The channel policy ``summed``: a first convolution that takes grey and gives the same.

A network sees ``x_c = a_c * g + b_c`` of a grey pixel g, with scale and shift of each
colour channel c, and its first convolution is linear, so

    conv(x) = (sum over c of a_c * W_c) * g  +  conv(b)

where ``*`` is the convolution without its bias, and ``conv(b)`` is what it makes of a
black image, its own bias included. Zeros are padded after the shift, so at the border a
shift is missing that is there inside; ``conv(b)`` is therefore kept as a map and not as
one number per filter: then the two sides are equal at every position, border included.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from offshelf.errors import BackboneError


class SummedConvolution(nn.Module):
    """A convolution of one grey channel that equals *convolution* of the three.

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
