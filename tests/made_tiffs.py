"""TIFF files of any samples, built from arrays without the library that reads them."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tag = tuple[int, str, list[int]]


def made_tiff(
    values: Any,
    *,
    photometric: int | None = None,
    extra: list[int] | None = None,
    rows: int | None = None,
    tile: int | None = None,
    separate: bool = False,
    packed: bool = False,
    predictor: int = 1,
    big: bool = False,
    more: tuple[Tag, ...] = (),
) -> bytes:
    """Return a TIFF file of *values*, H x W or H x W x bands, of their own dtype and order."""
    array = np.asarray(values)
    array = array.reshape(*array.shape[:2], -1)
    height, width, bands = array.shape
    order = "<" if array.dtype.str[0] in "<|" else ">"
    rows = tile or rows or height
    planes = [array[:, :, band : band + 1] for band in range(bands)] if separate else [array]
    pieces = [
        coded(piece, predictor, packed) for plane in planes for piece in cut(plane, rows, tile)
    ]
    tags: list[Tag] = [
        (256, "H", [width]),
        (257, "H", [height]),
        (258, "H", [8 * array.dtype.itemsize] * bands),
        (259, "H", [8 if packed else 1]),
        (262, "H", [(2 if bands >= 3 else 1) if photometric is None else photometric]),
        (324 if tile else 273, "I", [0] * len(pieces)),
        (277, "H", [bands]),
        (325 if tile else 279, "I", [len(piece) for piece in pieces]),
        (284, "H", [2 if separate else 1]),
        (317, "H", [predictor]),
        (339, "H", [{"u": 1, "i": 2, "f": 3, "c": 6}[array.dtype.kind]] * bands),
        *more,
    ]
    tags += [(322, "H", [tile]), (323, "H", [tile])] if tile else [(278, "H", [rows])]
    tags += [(338, "H", extra)] if extra is not None else []
    return assembled(sorted(tags), pieces, order, big)


def cut(plane: NDArray[Any], rows: int, tile: int | None) -> list[NDArray[Any]]:
    height, width, _ = plane.shape
    if tile is None:
        return [plane[top : top + rows] for top in range(0, height, rows)]
    room = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [
        room[top : top + tile, left : left + tile]
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def coded(piece: NDArray[Any], predictor: int, packed: bool) -> bytes:
    dtype = piece.dtype
    if predictor == 2:
        whole = np.ascontiguousarray(piece.astype(dtype.newbyteorder("="))).view(
            f"u{dtype.itemsize}"
        )
        steps = np.concatenate([whole[:, :1], np.diff(whole, axis=1)], axis=1)
        piece = steps.astype(f"{dtype.str[0]}u{dtype.itemsize}")
    content = np.ascontiguousarray(piece).tobytes()
    if predictor == 3:
        bands = piece.shape[2]
        high = np.ascontiguousarray(piece.astype(dtype.newbyteorder(">"))).view(np.uint8)
        planes = high.reshape(len(piece), -1, dtype.itemsize).swapaxes(1, 2)
        rows = planes.reshape(len(piece), -1, bands)
        steps = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1)
        content = steps.astype(np.uint8).tobytes()
    return zlib.compress(content) if packed else content


def assembled(tags: list[Tag], pieces: list[bytes], order: str, big: bool) -> bytes:
    place, head = ("Q", 16) if big else ("I", 8)
    room = struct.calcsize(place)
    base = head + (8 if big else 2) + len(tags) * (20 if big else 12) + room
    data = base + sum(-(-struct.calcsize(letter) * len(v) // 8) * 8 + 8 for _, letter, v in tags)
    entries, blob = b"", b""
    starts = np.cumsum([data, *map(len, pieces[:-1])]).tolist()
    for tag, letter, given in tags:
        values = starts if tag in (273, 324) else given
        raw = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(raw) > room:
            where = base + len(blob)
            blob += raw.ljust(-(-len(raw) // 8) * 8, b"\0")
            raw = struct.pack(order + place, where)
        kind = {"B": 2, "H": 3, "I": 4}[letter]
        entries += struct.pack(f"{order}HH{place}", tag, kind, len(values)) + raw.ljust(room, b"\0")
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8)
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    body = mark + first + count + entries + bytes(room) + blob
    return body.ljust(data, b"\0") + b"".join(pieces)
