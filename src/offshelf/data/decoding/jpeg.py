"""JPEG decoding with libjpeg-turbo: the same pixels as Pillow's, sooner.

Pillow moves every image through its own storage and out again; for a JPEG that is a
third of the work. Whatever is unusual or damaged is left to Pillow, which tolerates nearly
anything; :mod:`offshelf.data.decoding.jpeg_damage` tells which of those pictures are whole.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.colour import picture
from offshelf.data.decoding.facts import Decoded, Facts, check_facts
from offshelf.data.decoding.file_bytes import Limits
from offshelf.data.decoding.jpeg_damage import ZEROS, is_complete, readable_share, turbo
from offshelf.data.decoding.jpeg_segments import Jpeg, outlined, parsed
from offshelf.data.decoding.strips import orientation, turned

KEPT = "damaged, taken as far as it can be read"
_SPACES = {"L": "GRAY", "RGB": "RGB"}


def reduced_picture(
    image: Image.Image, content: bytes, at_least: int, facts: Facts
) -> Decoded | None:
    """Return an opened JPEG at a smaller scale, or None where it must be decoded in full.

    Args:
        image: opened by Pillow, not loaded.
        content: the bytes of the file.
        at_least: see :func:`quick_pixels`.
        facts: what its header says.
    """
    quick = quick_pixels(image, content, at_least)
    if quick is None or _may_lack(image, content):
        return None
    return Decoded(pixels=turned(quick, orientation(image)), facts=facts)


def jpeg_picture(image: Image.Image, content: bytes, limits: Limits, facts: Facts) -> Decoded:
    """Return the pixels of an opened JPEG, upright, and what is damaged of it beside its *facts*.

    Args:
        image: opened by Pillow, not loaded.
        content: the bytes of the file.
        limits: background, and whether a damaged file is taken.
        facts: what its header says.

    Raises:
        ImageError: ``damaged`` or ``truncated``.
    """
    quick = quick_pixels(image, content)
    if quick is not None and not _may_lack(image, content):
        return Decoded(pixels=turned(quick, orientation(image)), facts=facts)
    checked, quick = quick is not None, None
    jpeg = parsed(content)
    if jpeg is not None:
        status, share = readable_share(jpeg, checked=checked)
        facts = replace(facts, status=status, readable=share)
        check_facts(facts, limits)
    pixels, assumed = _tolerant(image, jpeg, limits, facts.status)
    if facts.status != "ok":
        assumed = f"{assumed}; {KEPT}" if assumed else KEPT
    return Decoded(pixels=pixels, facts=replace(facts, assumed=assumed))


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
    if space is None or image.format not in ("JPEG", "MPO"):
        return None
    try:
        pixels: NDArray[np.uint8] = turbo().decode_jpeg(
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


def _may_lack(image: Image.Image, content: bytes) -> bool:
    """Return whether scans are missing, or zeros where libjpeg finds no fault may be a hole.

    Pillow has just read the head of the first scan.
    """
    parts = len(image.getbands())
    file = getattr(image, "fp", None)
    at = file.tell() - 8 - 2 * parts if file else 0
    with_all = bytes([0xFF, 0xDA, 0, 6 + 2 * parts, parts])
    if content.find(ZEROS, max(at, 0)) >= 0:
        return True
    if "progressive" not in image.info and content[at : at + 5] == with_all:
        return False
    jpeg = outlined(content)
    return jpeg is None or not is_complete(jpeg)


def _tolerant(
    image: Image.Image, jpeg: Jpeg | None, limits: Limits, status: str
) -> tuple[NDArray[np.uint8], str]:
    """Return what Pillow reads; a file without an end mark is given one."""
    if jpeg is None or (status == "ok" and jpeg.ended):
        return picture(image, limits.background)
    pixels, assumed = _mended(jpeg, limits)  # Pillow's copy is gone before another is made
    return turned(pixels, orientation(image)), assumed


def _mended(jpeg: Jpeg, limits: Limits) -> tuple[NDArray[np.uint8], str]:
    with Image.open(io.BytesIO(jpeg.content()), formats=("JPEG",)) as image:
        return picture(image, limits.background)
