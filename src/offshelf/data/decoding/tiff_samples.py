"""Samples of a TIFF file as arrays, a block of rows after the other.

Pillow reads few kinds of samples, but unpacks all: the strips or tiles of a block are shown
to it as a TIFF file of plain bytes, and what the bytes mean is told here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding import tiff_directory as tiff
from offshelf.data.decoding.levels import Values
from offshelf.data.decoding.strips import Pixels, strips
from offshelf.errors import ImageError

RAW = 1
# None, LZW, deflate by its two numbers, PackBits, LZMA, Zstandard: they know bytes alone.
PACKED_BYTES = frozenset({RAW, 5, 8, 32773, 32946, 34925, 50000})
BLOCK_BYTES = 2**20
_DIFFERENCES, _FLOATS = 2, 3


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Where the samples of one picture lie, and what they are.

    Attributes:
        width: pixels.
        height: pixels.
        bands: samples of each pixel.
        dtype: of a sample, in the file's order of bytes.
        compression: number of the method.
        predictor: 1 for none, 2 for differences, 3 for floats.
        separate: whether each band lies on its own.
        tile: width and height of a tile; a strip is as wide as the picture.
        offsets: of the strips or tiles, band after band if *separate*.
        counts: bytes of each.
    """

    width: int
    height: int
    bands: int
    dtype: np.dtype[np.generic]
    compression: int
    predictor: int
    separate: bool
    tile: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def together(self) -> int:
        """Bands that lie together."""
        return 1 if self.separate else self.bands

    @property
    def tile_row(self) -> int:
        """Bytes in one row of a strip or tile."""
        return self.tile[0] * self.together * self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """Bytes of the largest block, unpacked."""
        across = -(-self.width // self.tile[0])
        return self._tiles_of_block * across * self.tile_row * self.tile[1]

    @property
    def _tiles_of_block(self) -> int:
        across = -(-self.width // self.tile[0])
        return max(BLOCK_BYTES // (across * self.tile_row * self.tile[1]), 1)

    def blocks(self, content: bytes, bands: tuple[int, ...]) -> Iterator[tuple[int, Values]]:
        """Yield the first row of each block, and its samples: rows x width x *bands*."""
        step = self._tiles_of_block
        for first in range(0, -(-self.height // self.tile[1]), step):
            planes = bands if self.separate else (0,)
            parts = [self._rows(content, plane, first, step) for plane in planes]
            top = first * self.tile[1]
            for together in zip(*parts, strict=True):
                values = np.concatenate(together, axis=2) if self.separate else together[0]
                values = values[: self.height - top, : self.width]
                chosen = not self.separate and bands != tuple(range(self.bands))
                yield top, values[:, :, list(bands)] if chosen else values
                top += len(values)

    def _rows(self, content: bytes, plane: int, first: int, step: int) -> Iterator[Values]:
        across, down = -(-self.width // self.tile[0]), -(-self.height // self.tile[1])
        begin = (plane * down + first) * across
        end = (plane * down + min(first + step, down)) * across
        pieces = [self._piece(content, number) for number in range(begin, end)]
        height = min(step, down - first) * self.tile[1]
        if self.tile[0] == self.width:
            height = min(height, self.height - first * self.tile[1])
        for part in _unpacked(
            pieces, self.compression, (self.tile_row, self.tile[1]), (across, height)
        ):
            yield self._values(part.reshape(len(part), across, self.tile_row))

    def _piece(self, content: bytes, number: int) -> bytes:
        if number >= len(self.offsets) or number >= len(self.counts):
            raise OSError("strips or tiles are missing")
        if not self.counts[number]:
            raise ImageError("unsupported", "a TIFF with parts left out; convert it to PNG")
        size = self.tile_row * self.tile[1]
        if self.compression == RAW and self.tile[0] == self.width:
            down = -(-self.height // self.tile[1])
            size = min(size, (self.height - number % down * self.tile[1]) * self.tile_row)
        offset, count = self.offsets[number], min(self.counts[number], 2 * size + 1024)
        if self.compression == RAW:
            count = size
        if offset + count > len(content):
            raise OSError("truncated")
        return content[offset : offset + count]

    def _values(self, packed: Pixels) -> Values:
        """Return rows x tiles x bytes as rows x pixels x bands."""
        rows, across, _ = packed.shape
        shape = (rows, across, self.tile[0], self.together)
        if self.predictor == _FLOATS:
            values = _undone_floats(packed, self.together, self.dtype)
        else:
            values = np.ascontiguousarray(packed).view(self.dtype)
        values = values.reshape(shape).astype(self.dtype.newbyteorder("="), copy=False)
        if self.predictor == _DIFFERENCES:
            whole = values.view(f"u{self.dtype.itemsize}")
            values = np.cumsum(whole, axis=2, dtype=whole.dtype).view(values.dtype)
        return values.reshape(rows, -1, self.together)


def _undone_floats(packed: Pixels, bands: int, dtype: np.dtype[np.generic]) -> Values:
    """Undo the third predictor: differences of bytes, the highest bytes of a row first."""
    rows, across, size = packed.shape
    steps = packed.reshape(rows, across, size // bands, bands)
    summed = np.cumsum(steps, axis=2, dtype=np.uint8)
    by_byte = summed.reshape(rows, across, dtype.itemsize, size // dtype.itemsize)
    together = np.ascontiguousarray(by_byte.swapaxes(2, 3))
    values: Values = together.view(dtype.newbyteorder(">"))
    return values


def _unpacked(
    pieces: list[bytes], compression: int, tile: tuple[int, int], size: tuple[int, int]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of *pieces* in rows.

    Args:
        pieces: strips or tiles.
        compression: of each.
        tile: bytes in a row of a piece, and its rows.
        size: pieces side by side, and rows in all.
    """
    content = _as_bytes(pieces, compression, tile, size)
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        image.load()
        for _, strip in strips(image):
            yield np.asarray(strip).reshape(strip.height, -1)


def _as_bytes(
    pieces: list[bytes], compression: int, tile: tuple[int, int], size: tuple[int, int]
) -> bytes:
    """Return a TIFF file of *pieces*, where four bytes are a pixel if they can be."""
    channels = 1 if tile[0] % 4 else 4  # Pillow takes four bytes for three, too
    width, (across, height) = tile[0] // channels, size
    tags = [(tiff.WIDTH, width * across), (tiff.HEIGHT, height), (tiff.COMPRESSION, compression)]
    tags += [(tiff.PHOTOMETRIC, 1 if channels == 1 else 5), (tiff.SAMPLES, channels)]
    offsets, counts = tiff.STRIP_OFFSETS, tiff.STRIP_COUNTS
    if across > 1:
        tags += [(tiff.TILE_WIDTH, width), (tiff.TILE_HEIGHT, tile[1])]
        offsets, counts = tiff.TILE_OFFSETS, tiff.TILE_COUNTS
    else:
        tags.append((tiff.ROWS_PER_STRIP, tile[1]))
    start = 8 + 2 + 12 * (len(tags) + 3) + 4
    data = start + 8 * channels + 8 * len(pieces)
    ends = np.cumsum([data, *map(len, pieces)]).tolist()
    lists = [(offsets, "I", ends[:-1]), (counts, "I", [len(piece) for piece in pieces])]
    lists.append((tiff.BITS, "H", [8] * channels))
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags}
    extra = b""
    for tag, letter, values in lists:
        packed = struct.pack(f"<{len(values)}{letter}", *values)
        where = values[0] if len(values) == 1 else start + len(extra)
        entries[tag] = struct.pack("<HHII", tag, 4 if letter == "I" else 3, len(values), where)
        extra += packed
    directory = b"".join(entries[tag] for tag in sorted(entries))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4)
    return b"".join([head, extra.ljust(data - start, b"\0"), *pieces])
