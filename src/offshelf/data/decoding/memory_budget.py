"""Memory for decoding: what an image takes at its peak, and what all threads may take together.

A small file may claim many pixels, and several threads decode at once. Each decoding first
acquires what it will take at its peak, and waits, first come first served, while the others
hold too much. The estimate is an upper one from the header alone, the largest of three: reading
(what the reader holds beside Pillow's pixels, and these), converting (Pillow's pixels and the
result) and resizing (the result and Pillow's copy of it). ``benchmarks/decode_memory.py``
measures whether that holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from offshelf.data.decoding.colour import conversion_bytes
from offshelf.data.decoding.deep_samples import HALVES, tags_of
from offshelf.data.decoding.jpeg_segments import outlined

SHARE = 4
# Of the budget: what takes more is given back to the system at once, and what one thread keeps.
SCARCE = 16
# What the C library keeps for each thread all the same, at most: the end of its own heap.
KEPT = 12 * 2**20
# Where a control group of Linux, version 2 or 1, says how much memory it may use.
_GROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNKNOWN = 4 * 2**30
_GB, _MB, _KB = 10**9, 10**6, 10**3


class MemoryBudget:
    """How many bytes are held, and who waits for some.

    >>> budget = MemoryBudget()
    >>> with budget.held(30, of=100):
    ...     budget.in_use
    30
    >>> budget.in_use
    0
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._holders = 0
        self.in_use = 0

    @contextlib.contextmanager
    def held(self, size: int, of: int) -> Iterator[None]:
        """Hold *size* bytes for the time of the block, once no more than *of* are in use.

        Of these, every other thread that holds or waits keeps some for itself. What does not
        fit beside that waits until nothing else is held.
        """
        self._acquire(min(size, of), of)
        try:
            yield
        finally:
            if size > of // SCARCE:
                _trim()
            with self._changed:
                self.in_use -= min(size, of)
                self._holders -= 1
                self._changed.notify_all()

    def _acquire(self, size: int, of: int) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(size, of))
                self.in_use += size
                self._holders += 1
            finally:  # an interrupt of the wait must not leave a ticket that nobody calls
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _fits(self, size: int, of: int) -> bool:
        kept = min(KEPT, of // SCARCE) * (self._holders + len(self._queue) - 1)
        return self.in_use == 0 or self.in_use + size + kept <= of


BUDGET = MemoryBudget()
if hasattr(os, "register_at_fork"):  # what other threads held is not held in the child
    os.register_at_fork(after_in_child=BUDGET.__init__)  # type: ignore[misc]


def _trim() -> None:
    """Give the system what the C library keeps of what was freed.

    It keeps some 80 MB for each thread, which no budget counts.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def default_memory() -> int:
    """Return a quarter of the memory that this process may use, bytes."""
    return memory_here() // SHARE


def memory_here(root: Path = Path("/")) -> int:
    """Return the memory of this machine, or of the control group that it grants, bytes.

    *root* is the folder where the system shows its limits.
    """
    found = [_group_limit(root / name) for name in _GROUP_LIMITS]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((size for size in found if size > 0), default=_UNKNOWN)


def _group_limit(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return 0


def in_words(size: int) -> str:
    """Return a number of bytes for a person.

    >>> in_words(5_240_000_000), in_words(750_000), in_words(12)
    ('5.2 GB', '750 KB', '12 bytes')
    """
    if size >= _GB:
        return f"{size / _GB:.1f} GB"
    if size >= _MB:
        return f"{size / _MB:.0f} MB"
    return f"{size / _KB:.0f} KB" if size >= _KB else f"{size} bytes"


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
_MAX_WIDTH = 1024
_ORIENTATION, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 274, 278, 322, 323
_SIZES_OF_CODESTREAM = b"\xff\x4f\xff\x51"


def decode_bytes(image: Image.Image, content: bytes = b"", at_least: int = 0) -> int:
    """Return how many bytes decoding and resizing an opened image takes at its peak, at most.

    *content* is empty for an image without a file; *at_least* is the number of pixels that each
    side of a large JPEG keeps, 0 for all.

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
    return width * height * (channels + stored) + height * _MAX_WIDTH * stored


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
