"""Preprocessing: from an RGB image to the pixels that a network gets.

Everything up to here is 8-bit; scaling by mean and standard deviation happens inside the
network's graph. What :func:`prepare` returns is therefore exactly what the network saw,
and can be shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.backbones.specification.spec import InputSpec
from offshelf.resample import Box, resized


@dataclass(frozen=True)
class Geometry:
    """How the source lies in the square, so that overlays line up.

    Attributes:
        source: left, top, right, bottom of the part of the source image that is seen.
        target: left, top, right, bottom of where it lies in the square, in pixels.
    """

    source: Box
    target: Box


@dataclass(frozen=True)
class Prepared:
    """The network's view of one image.

    Attributes:
        pixels: uint8 array, size x size x 3, RGB.
        geometry: which part of the source it shows, and where.
    """

    pixels: NDArray[np.uint8]
    geometry: Geometry


def geometry(width: int, height: int, spec: InputSpec) -> Geometry:
    """Return where an image of *width* x *height* pixels lands under *spec*.

    >>> geometry(400, 200, InputSpec(size=100, resize="letterbox")).target
    (0, 25, 100, 75)
    >>> geometry(400, 200, InputSpec(size=100, resize="crop", crop_share=1.0)).source
    (100, 0, 300, 200)
    """
    square: Box = (0, 0, spec.size, spec.size)
    if spec.resize == "squash":
        return Geometry((0, 0, width, height), square)
    if spec.resize == "crop":
        side = max(1, round(min(width, height) * spec.crop_share))
        left, top = (width - side) // 2, (height - side) // 2
        return Geometry((left, top, left + side, top + side), square)
    scale = spec.size / max(width, height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (spec.size - wide) // 2, (spec.size - high) // 2
    return Geometry((0, 0, width, height), (left, top, left + wide, top + high))


def prepare(rgb: NDArray[np.uint8], spec: InputSpec) -> Prepared:
    """Resize one image to the network's square.

    A grey image is resized as one channel, which gives the same pixels sooner.

    Args:
        rgb: uint8 array, H x W x 3 or grey H x W, any H and W of at least 1.
        spec: the preprocessing of the weights.

    Returns:
        The pixels (uint8, size x size x 3) and their geometry, which is that before a
        mirroring. With the channel policies ``luma`` and ``summed`` the three channels are
        equal.

    >>> prepare(np.zeros((3, 5, 3), np.uint8), InputSpec(size=8)).pixels.shape
    (8, 8, 3)
    """
    place = geometry(rgb.shape[1], rgb.shape[0], spec)
    left, top, right, bottom = place.target
    seen = resized(rgb, (right - left, bottom - top), place.source, spec.interpolation)
    if seen.ndim == 2:
        seen = np.repeat(seen[:, :, None], 3, axis=2)
    if (right - left, bottom - top) == (spec.size, spec.size):
        return Prepared(_with_channels(seen, spec), place)
    filler = np.round(np.array(spec.mean) * 255).astype(np.uint8)
    pixels = np.empty((spec.size, spec.size, 3), np.uint8)
    pixels[:] = filler
    pixels[top:bottom, left:right] = seen
    return Prepared(_with_channels(pixels, spec), place)


def _with_channels(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    if spec.mirrored:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if spec.channels == "replicate":
        return pixels
    # Pillow's integer weights add up to one exactly, so grey pixels stay what they are.
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    return np.repeat(grey[..., None], 3, axis=2)
