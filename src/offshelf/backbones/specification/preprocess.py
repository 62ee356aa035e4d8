"""Preprocessing: from an RGB image to the pixels that a network gets.

Everything up to here is 8-bit; scaling by mean and standard deviation happens inside the
network's graph. What :func:`prepare` returns is therefore exactly the network input, and can
be shown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.backbones.specification.spec import InputSpec
from offshelf.resample import Box, resized


def boxes(width: int, height: int, spec: InputSpec) -> tuple[Box, Box]:
    """Return the part of an image that the network is given, and where it lies in the square.

    Both are left, top, right, bottom in pixels, the second before a mirroring.

    >>> boxes(400, 200, InputSpec(size=100, resize="letterbox"))[1]
    (0, 25, 100, 75)
    >>> boxes(400, 200, InputSpec(size=100, resize="crop", crop_share=1.0))[0]
    (100, 0, 300, 200)
    """
    square: Box = (0, 0, spec.size, spec.size)
    if spec.resize == "squash":
        return (0, 0, width, height), square
    if spec.resize == "crop":
        side = max(1, round(min(width, height) * spec.crop_share))
        left, top = (width - side) // 2, (height - side) // 2
        return (left, top, left + side, top + side), square
    scale = spec.size / max(width, height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (spec.size - wide) // 2, (spec.size - high) // 2
    return (0, 0, width, height), (left, top, left + wide, top + high)


def prepare(rgb: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Resize one image to the network's square.

    A grey image is resized as one channel, which gives the same pixels sooner.

    Args:
        rgb: uint8 array, H x W x 3 or grey H x W, any H and W of at least 1.
        spec: the preprocessing of the weights.

    Returns:
        uint8, size x size x 3. With the channel policies ``luma`` and ``summed`` the three
        channels are equal.

    >>> prepare(np.zeros((3, 5, 3), np.uint8), InputSpec(size=8)).shape
    (8, 8, 3)
    """
    source, (left, top, right, bottom) = boxes(rgb.shape[1], rgb.shape[0], spec)
    picture = resized(rgb, (right - left, bottom - top), source, spec.interpolation)
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if (right - left, bottom - top) == (spec.size, spec.size):
        return _with_channels(picture, spec)
    filler = np.round(np.array(spec.mean) * 255).astype(np.uint8)
    pixels = np.empty((spec.size, spec.size, 3), np.uint8)
    pixels[:] = filler
    pixels[top:bottom, left:right] = picture
    return _with_channels(pixels, spec)


def _with_channels(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    if spec.mirrored:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if spec.channels == "replicate":
        return pixels
    # Pillow's integer weights add up to one exactly, so grey pixels stay what they are.
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    return np.repeat(grey[..., None], 3, axis=2)
