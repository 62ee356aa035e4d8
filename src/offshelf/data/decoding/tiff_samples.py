"""The first directory of a TIFF file, and its samples as arrays, a block of rows after the other.

Pillow reads few kinds of samples, but unpacks all: the strips or tiles of a block are given
to it as a TIFF file of plain bytes, and this module decides what the bytes mean.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offshelf.data.decoding.levels import Values
from offshelf.data.decoding.strips import Pixels, strips
from offshelf.errors import ImageError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, ORIENTATION, SAMPLES, PLANAR, PREDICTOR = 266, 274, 277, 284, 317
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, NO_DATA = 338, 339, 42113
_WANTED = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES, PLANAR}
    | {PREDICTOR, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS, TILE_WIDTH, TILE_HEIGHT}
    | {TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT, NO_DATA}
)
MAX_VALUES = 2**20  # of a tag: no picture within the limits has so many strips
_MAX_ENTRIES = 2**16
RAW = 1
# None, LZW, deflate by its two numbers, PackBits, LZMA, Zstandard: they know bytes alone.
PACKED_BYTES = frozenset({RAW, 5, 8, 32773, 32946, 34925, 50000})
BLOCK_BYTES = 2**20
_DIFFERENCES, _FLOATS = 2, 3
_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}  # type of a tag's values -> of struct


@dataclass(frozen=True)
class Directory:
    """Tags with their values as they are written, by number.

    *order* of bytes is ``<`` or ``>``, a *large* file is a BigTIFF, with places of 64 bits, and
    a *cut* one has values beyond its end.
    """

    order: str
    large: bool
    tags: dict[int, tuple[int, ...]]
    cut: bool

    def one(self, tag: int, default: int) -> int:
        """Return the first value of *tag*."""
        return self.tags.get(tag, (default,))[0]


def read_directory(content: bytes) -> Directory | None:
    r"""Return the first directory of a TIFF or BigTIFF file, or None where it is damaged.

    A tag whose values lie beyond the end of the file is left out, and one of over a million.

    >>> read_directory(b"II*\\0") is None
    True
    """
    order = "<" if content[:1] == b"I" else ">"
    try:
        (version,) = struct.unpack_from(f"{order}H", content, 2)
        large = version == 43
        (start,) = struct.unpack_from(f"{order}Q" if large else f"{order}I", content, 4 + 4 * large)
        (entries,) = struct.unpack_from(f"{order}Q" if large else f"{order}H", content, start)
        first, size = (start + 8, 20) if large else (start + 2, 12)
        if entries > min(len(content) // size, _MAX_ENTRIES):
            return None
        places = range(first, first + size * entries, size)
        return Directory(order, large, *_tags(content, order, places))
    except (struct.error, OverflowError):
        return None


def _tags(content: bytes, order: str, entries: range) -> tuple[dict[int, tuple[int, ...]], bool]:
    large = entries.step == 20
    head, pointer = (f"{order}HHQ", f"{order}Q") if large else (f"{order}HHI", f"{order}I")
    room = 8 if large else 4
    tags: dict[int, tuple[int, ...]] = {}
    cut = False
    for entry in entries:
        tag, kind, count = struct.unpack_from(head, content, entry)
        if tag not in _WANTED or tag in tags or kind not in _LETTERS or count == 0:
            continue
        size = count * struct.calcsize(_LETTERS[kind])
        where = entry + struct.calcsize(head)
        if size > room:
            (where,) = struct.unpack_from(pointer, content, where)
        cut = cut or where + size > len(content)
        if where + size <= len(content) and count <= MAX_VALUES:
            tags[tag] = struct.unpack_from(f"{order}{count}{_LETTERS[kind]}", content, where)
    return tags, cut


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Where the samples of one picture lie, and what they are.

    *bands* are the samples of each pixel, *separate* if each band lies on its own; *dtype* has
    the file's order of bytes. *predictor* is 1 for none, 2 for differences, 3 for floats. *tile*
    is the width and height of a tile; a strip is as wide as the picture. *offsets* and *counts*
    (bytes) are those of the strips or tiles, band after band if *separate*.
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
    """Yield the bytes of strips or tiles in rows.

    *tile* is the bytes in a row of a piece, and its rows; *size* the pieces side by side, and the
    rows in all.
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
    tags = [(WIDTH, width * across), (HEIGHT, height), (COMPRESSION, compression)]
    tags += [(PHOTOMETRIC, 1 if channels == 1 else 5), (SAMPLES, channels)]
    offsets, counts = STRIP_OFFSETS, STRIP_COUNTS
    if across > 1:
        tags += [(TILE_WIDTH, width), (TILE_HEIGHT, tile[1])]
        offsets, counts = TILE_OFFSETS, TILE_COUNTS
    else:
        tags.append((ROWS_PER_STRIP, tile[1]))
    start = 8 + 2 + 12 * (len(tags) + 3) + 4
    data = start + 8 * channels + 8 * len(pieces)
    ends = np.cumsum([data, *map(len, pieces)]).tolist()
    lists = [(offsets, "I", ends[:-1]), (counts, "I", [len(piece) for piece in pieces])]
    lists.append((BITS, "H", [8] * channels))
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
