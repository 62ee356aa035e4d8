"""JPEG pixels by libjpeg-turbo directly: the same pixels as Pillow's, sooner.

Pillow moves every image through its own storage and out again; for a JPEG that is a
third of the work. Whatever is unusual or damaged is left to Pillow, which decides what
is tolerated and names what is wrong.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SPACES = {"L": "GRAY", "RGB": "RGB"}


def quick_pixels(image: Image.Image, content: bytes, at_least: int = 0) -> NDArray[np.uint8] | None:
    """Return the pixels of an opened JPEG as they lie in the file, or None.

    Args:
        image: opened by Pillow, not loaded.
        content: the bytes of the file.
        at_least: 0 for every pixel; else the file is decoded at the smallest of the scales
            1/8, 1/4, 1/2 and 1 at which both sides keep so many pixels.

    Returns:
        uint8, H x W for a grey file and H x W x 3 for RGB; None where Pillow must do it.
    """
    space = _SPACES.get(image.mode)
    turbo = _turbo()
    if space is None or turbo is None or image.format != "JPEG":
        return None
    try:
        pixels: NDArray[np.uint8] = turbo.decode_jpeg(
            content,
            colorspace=space,
            fastdct=False,
            fastupsample=False,
            min_height=at_least,
            min_width=at_least,
        )
    except ValueError:
        return None
    if not at_least and pixels.shape[:2] != (image.height, image.width):
        return None
    return pixels[:, :, 0] if space == "GRAY" else pixels


def _turbo() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None
