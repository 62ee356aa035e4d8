"""The first directory of a TIFF file: the tags that describe its samples."""

from __future__ import annotations

import struct
from dataclasses import dataclass

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
_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}  # type of a tag's values -> of struct


@dataclass(frozen=True)
class Directory:
    """Tags with their values as they are written.

    Attributes:
        order: of bytes, ``<`` or ``>``.
        large: whether the file is a BigTIFF, with places of 64 bits.
        tags: number -> values.
        cut: whether the values of a tag lie beyond the end of the file.
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
