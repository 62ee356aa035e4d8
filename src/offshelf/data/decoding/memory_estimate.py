"""Bytes that an opened image takes at its peak until a network sees it: an upper estimate.

From the header alone, so that a file is judged before anything large is allocated. The
peak is the largest of three: reading (what the reader holds beside Pillow's pixels, and
these), converting (Pillow's pixels and the result) and resizing (the result and Pillow's
copy of it). ``benchmarks/decode_memory.py`` measures whether that holds.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from offshelf.data.decoding.colour import conversion_bytes
from offshelf.data.decoding.deep_grey import tags_of
from offshelf.data.decoding.deep_png import HALVES
from offshelf.data.decoding.jpeg_segments import outlined

_ONE_BYTE = ("1", "L", "P")
# Tables and buffers of any size of picture.
SPARE = 6 * 2**20
# Bytes a pixel beside Pillow's: frames and planes of samples, and RGBA handed over.
_FRAMES = {"GIF": 5, "WEBP": 16, "AVIF": 18}
# Readers of Pillow that are written in Python gather all samples, and copy them once.
_GATHERING = ("bmp_rle", "ppm", "ppm_plain")
_GATHERED = 2.25
_WORDS = 48 * 2**20  # of a block of text
_UNPACKED = ("raw", *_GATHERING)  # readers that do not copy the file
# A sample of JPEG 2000: 32 bits in a tile, and up to 16 handed over.
_TILE_SAMPLE = 6
_COEFFICIENT = 2
# Rows are resized before columns: to what a network sees at most.
_WIDEST = 1024
_ORIENTATION, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 274, 278, 322, 323
_SIZES_OF_CODESTREAM = b"\xff\x4f\xff\x51"


def decode_bytes(image: Image.Image, content: bytes = b"", at_least: int = 0) -> int:
    """Return how many bytes decoding and resizing an opened image takes at its peak, at most.

    Args:
        image: opened by Pillow, not loaded.
        content: the bytes of its file; empty for an image without one.
        at_least: the pixels that each side of a large JPEG keeps, 0 for all.

    >>> decode_bytes(Image.new("F", (1000, 1000))) > 7_000_000
    True
    """
    width, height = image.size
    grey = image.mode == "L" and "transparency" not in image.info
    if image.format in ("JPEG", "MPO") and image.mode != "CMYK" and at_least:
        scale = next(n for n in (8, 4, 2, 1) if n == 1 or min(width, height) >= n * at_least)
        width, height = -(-width // scale), -(-height // scale)
    stored = width * height * _stored(image.mode)
    converting = stored + conversion_bytes(image.mode, width, height, not grey)
    reading = stored + _reader_bytes(image, content)
    peak = max(converting, reading, resize_bytes(width, height, 1 if grey else 3))
    return SPARE + _copies(image) * len(content) + peak


def resize_bytes(width: int, height: int, channels: int) -> int:
    """Return how many bytes pixels of this size take while they are resized, at most.

    >>> resize_bytes(1000, 1000, 3)
    11096000
    """
    stored = 1 if channels == 1 else 4
    return width * height * (channels + stored) + height * _WIDEST * stored


def _stored(mode: str) -> int:
    """Return the bytes of a pixel in Pillow."""
    if mode in _ONE_BYTE:
        return 1
    return 2 if mode.startswith("I;16") else 4


def _tile(image: Image.Image) -> tuple[str, str]:
    """Return the name of Pillow's reader for an opened image, and how the file stores pixels."""
    tiles: Any = getattr(image, "tile", None)
    return (str(tiles[0][0]), str(tiles[0][3])) if tiles else ("", "")


def _copies(image: Image.Image) -> int:
    """Return how often a file is held once more, by its reader or without its metadata."""
    if _tile(image)[0] not in _UNPACKED:
        return 2
    return 1 if image.format == "TIFF" else 0


def _reader_bytes(image: Image.Image, content: bytes) -> int:
    """Return what the reader of a format holds beside Pillow's pixels."""
    size = image.width * image.height
    codec, raw = _tile(image)
    bands = len(image.getbands())
    if image.format == "PNG" and raw in HALVES:
        # All of the halves are there when the picture is put together.
        return size * (4 * (len(HALVES[raw]) - 1) + 3)
    if image.format == "TIFF":
        # Pillow turns all of it at once.
        turning = 0 if tags_of(image).get(_ORIENTATION, 1) == 1 else size * _stored(image.mode)
        return max(turning, 0 if codec == "raw" else _strip_bytes(image, bands))
    if image.format == "JPEG2000":
        return min(size, _tile_pixels(content, size)) * bands * _TILE_SAMPLE
    if image.format in ("JPEG", "MPO"):
        return _coefficient_bytes(image, content)
    if codec in _GATHERING:
        text = _WORDS if codec == "ppm_plain" else 0
        return int(size * bands * _GATHERED * (4 if image.mode == "I" else 1)) + text
    return size * _FRAMES.get(image.format or "", 0)


def _strip_bytes(image: Image.Image, bands: int) -> int:
    """Return the bytes of one strip or tile of a TIFF file, unpacked."""
    tags: Any = getattr(image, "tag_v2", {})
    rows = min(int(tags.get(_ROWS_PER_STRIP, image.height)), image.height)
    tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_HEIGHT, 0))
    return 2 * max(bands, 4) * (tile or image.width * rows)


def _tile_pixels(content: bytes, size: int) -> int:
    """Return the pixels of one tile of a JPEG 2000 file, *size* where it does not say."""
    at = content.find(_SIZES_OF_CODESTREAM) + 8
    ends = [int.from_bytes(content[at + n : at + n + 4], "big") for n in range(0, 24, 4)]
    return ends[4] * ends[5] if at >= 8 and ends[4] and ends[5] else size


def _coefficient_bytes(image: Image.Image, content: bytes) -> int:
    """Return the bytes of a JPEG's coefficients where they are held until the last scan."""
    jpeg = outlined(content, most=1)
    if jpeg is None or jpeg.in_one_scan:
        return 0
    sampling = list(jpeg.sampling.values())
    most = max(h for h, _ in sampling) * max(v for _, v in sampling)
    samples = sum(h * v for h, v in sampling) / most
    # Blocks at the edges are whole.
    size = (image.width + 32) * (image.height + 32)
    return int(size * samples * _COEFFICIENT)
