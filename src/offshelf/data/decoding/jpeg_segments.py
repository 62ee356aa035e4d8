"""JPEG segments: the header, tables and scans that the pixels come from.

Everything else (metadata, thumbnails, comments, filling between the segments) is passed
over in the way of libjpeg, so that a file that is merely odd is not taken for a damaged one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

_START, _END, _SCAN, _INTERVAL = 0xD8, 0xD9, 0xDA, 0xDD
_HUFFMAN, _QUANTISATION, _ARITHMETIC = 0xC4, 0xDB, 0xCC
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_HUFFMAN, 0xC8, _ARITHMETIC}
# JFIF and Adobe say which colours the components are.
_KEPT = frozenset({_HUFFMAN, _QUANTISATION, _ARITHMETIC, _INTERVAL, 0xE0, 0xEE})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# What may follow a scan: another, its tables, and segments that are passed over.
_FOLLOWING = _KEPT | {_SCAN, 0xDC, 0xFE, *range(0xE0, 0xF0)}
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_AFTER_DATA = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
CLOSED = bytes([0xFF, _END])
_SCAN_MARK = bytes([0xFF, _SCAN])
# One for each bit of each coefficient is far less; a small file may claim millions.
MAX_SCANS = 10_000


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan: the segments before it (*tables*), its own with the marker (*head*), and its data.

    The data are entropy-coded, with restart markers. *ending* are the tables for what is no mean,
    of this scan or one before, by which zero bits end a block.
    """

    tables: bytes
    head: bytes
    data: bytes
    ending: frozenset[int] = frozenset()

    @property
    def components(self) -> tuple[int, ...]:
        """The components that it holds, as the frame numbers them."""
        return tuple(self.head[5 : 5 + 2 * self.head[4] : 2])

    @property
    def band(self) -> tuple[int, int, int, int]:
        """First and last coefficient, and the bit before and after (progressive)."""
        first, last, bits = self.head[5 + 2 * self.head[4] :][:3]
        return first, last, bits >> 4, bits & 15


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """The first picture of a file: its frame segment with the marker, and its scans in order.

    *ended* says whether an end mark follows, right behind the last scan or later.
    """

    frame: bytes
    scans: tuple[Scan, ...]
    ended: bool

    @property
    def width(self) -> int:
        """Columns."""
        return int.from_bytes(self.frame[7:9], "big")

    @property
    def height(self) -> int:
        """Rows."""
        return int.from_bytes(self.frame[5:7], "big")

    @property
    def sampling(self) -> dict[int, tuple[int, int]]:
        """Horizontal and vertical sampling of each component."""
        parts = [self.frame[at : at + 2] for at in range(10, 10 + 3 * self.frame[9], 3)]
        return {part[0]: (max(part[1] >> 4, 1), max(part[1] & 15, 1)) for part in parts}

    @property
    def in_one_scan(self) -> bool:
        """Whether it is sequential with all components in its first scan."""
        sequential = self.frame[1] & 15 in (0, 1)
        return sequential and len(self.scans[0].components) == self.frame[9]

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height of what is coded together in its first scan, pixels."""
        sampling = list(self.sampling.values())
        if len(sampling) == 1:
            return 8, 8
        return 8 * max(h for h, _ in sampling), 8 * max(v for _, v in sampling)

    @property
    def interval(self) -> int:
        """Units between two restart markers in the first scan, 0 for none."""
        tables = self.scans[0].tables
        found = [body for marker, body in segments(tables) if marker == _INTERVAL]
        return int.from_bytes(found[-1][4:6], "big") if found else 0

    def pieces(self, scans: tuple[Scan, ...]) -> list[int]:
        """Return into how many pieces restart markers part each of the first *scans*."""
        found, interval = [], 0
        for scan in scans:
            said = [body for marker, body in segments(scan.tables) if marker == _INTERVAL]
            interval = int.from_bytes(said[-1][4:6], "big") if said else interval
            found.append(_parts(self._units(scan), interval) if interval else 1)
        return found

    def _units(self, scan: Scan) -> int:
        wide, tall = (max(sides) for sides in zip(*self.sampling.values(), strict=True))
        across, down = self.sampling.get(scan.components[0], (1, 1))
        if len(scan.components) > 1:
            return _parts(self.width, 8 * wide) * _parts(self.height, 8 * tall)
        return _parts(self.width * across, 8 * wide) * _parts(self.height * down, 8 * tall)

    def content(self, scans: tuple[Scan, ...] | None = None) -> bytes:
        """Return a file of nothing but these *scans*, all of them by default, and an end mark."""
        kept = self.scans if scans is None else scans
        tables, rest = kept[0].tables, kept[1:]
        first = bytes([0xFF, _START]) + tables + self.frame + kept[0].head + kept[0].data
        return first + b"".join(s.tables + s.head + s.data for s in rest) + CLOSED

    def with_interval(self, units: int) -> Jpeg:
        """Return the same with another interval, in its first scan only."""
        first = self.scans[0]
        said = bytes([0xFF, _INTERVAL, 0, 4]) + units.to_bytes(2, "big")
        return replace(self, scans=(replace(first, tables=first.tables + said),))

    def part(self, width: int, height: int, data: bytes) -> bytes:
        """Return a file of this size whose only scan holds *data*."""
        sides = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        frame = self.frame[:5] + sides + self.frame[9:]
        return replace(self, frame=frame).content((replace(self.scans[0], data=data),))


def parsed(content: bytes) -> Jpeg | None:
    """Return the parts of the first picture of a file; None where it has no scan.

    >>> parsed(b"no picture") is None
    True
    """
    frame, at = b"", 2
    tables, ending, scans = list[bytes](), frozenset[int](), list[Scan]()
    while len(scans) < MAX_SCANS and (found := _MARKER.search(content, at)):
        marker, at = found[1][0], found.end()
        if marker in _WITHOUT_LENGTH:
            continue
        end = at + int.from_bytes(content[at : at + 2], "big")
        body = content[at - 2 : end]
        if marker == _END or end > len(content) or (scans and marker not in _FOLLOWING):
            return _jpeg(frame, scans, ended=marker == _END or CLOSED in content[at:])
        if marker in _FRAMES:
            frame = frame or body
        elif marker == _SCAN:
            if not _fits(body, frame):
                return _jpeg(frame, scans, ended=CLOSED in content[at:])
            after = _AFTER_DATA.search(content, end)
            stop = after.start() if after else len(content)
            joined, head = b"".join(tables), _plain(body, frame)
            ending = _ending(joined, ending)
            scans.append(Scan(tables=joined, head=head, data=content[end:stop], ending=ending))
            tables, end = [], stop
        elif marker in _KEPT:
            tables.append(body)
        at = end
    return _jpeg(frame, scans, ended=False)


def outlined(content: bytes, most: int = MAX_SCANS) -> Jpeg | None:
    """Return the heads of the first *most* scans without their data: quick, for a sound file.

    >>> outlined(b"no picture") is None
    True
    """
    frame, at = b"", 2
    while found := _MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        if marker == _SCAN:
            heads = islice(_heads(content, frame, at - 2), most)
            return _jpeg(frame, list(heads), ended=True)
        if marker not in _WITHOUT_LENGTH:
            end = at + int.from_bytes(content[at : at + 2], "big")
            frame = content[at - 2 : end] if marker in _FRAMES else frame
            at = end
    return None


def _heads(content: bytes, frame: bytes, at: int) -> Iterator[Scan]:
    yield from _head(content, frame, at)
    # Nothing was searched for the first, which is all that most files have.
    end = content.find(CLOSED, at)
    at = content.find(_SCAN_MARK, at + 2)
    while at >= 0 and (at < end or end < 0):
        yield from _head(content, frame, at)
        at = content.find(_SCAN_MARK, at + 2)


def _head(content: bytes, frame: bytes, at: int) -> list[Scan]:
    head = content[at : at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")]
    fits = _fits(head, frame)
    return [Scan(tables=b"", head=_plain(head, frame), data=b"")] if fits else []


def segments(tables: bytes) -> list[tuple[int, bytes]]:
    """Return marker and bytes of each of the segments that *tables* are put together from."""
    found, at = [], 0
    while at + 4 <= len(tables):
        end = at + 2 + int.from_bytes(tables[at + 2 : at + 4], "big")
        found.append((tables[at + 1], tables[at:end]))
        at = end
    return found


def intervals(data: bytes) -> list[tuple[int, bytes]]:
    """Return the pieces of a scan between its restart markers, each with its place.

    A marker whose number is ahead of its turn tells that some before it are lost.
    """
    found, place, at = [], 0, 0
    for marker in _RESTART.finditer(data):
        found.append((place, data[at : marker.start()]))
        place += 1 + (marker[1][0] - 0xD0 - place) % 8
        at = marker.end()
    return [*found, (place, data[at:])]


def restart_at(data: bytes) -> int | None:
    """Return where the first restart marker stands, None without one."""
    found = _RESTART.search(data)
    return found.start() if found else None


def zeros_are_flat(scan: Scan) -> bool:
    """Return whether zero bytes in a scan mean even areas by each of its tables.

    Where they do not, a run of them is a hole: as coefficients it would be one value,
    repeated without an end. Scans that only refine, or hold means of blocks, may be even.
    """
    _, last, before, _ = scan.band
    if before or last == 0:
        return True
    return {0x10 | byte & 15 for byte in scan.head[6 : 6 + 2 * scan.head[4] : 2]} <= scan.ending


def _ending(tables: bytes, known: frozenset[int]) -> frozenset[int]:
    """Return the tables by which zero bits end a block, after *tables*; *known* before."""
    ending = set(known)
    for marker, body in segments(tables):
        at = 4
        while marker == _HUFFMAN and at + 17 <= len(body):
            # A value of 0 in the low half ends the block, or so many blocks.
            ends = any(byte & 15 == 0 for byte in body[at + 17 : at + 18])
            (ending.add if ends else ending.discard)(body[at] & 0x1F)
            at += 17 + sum(body[at + 1 : at + 17])
    return frozenset(ending)


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


def _jpeg(frame: bytes, scans: list[Scan], *, ended: bool) -> Jpeg | None:
    if not scans:
        return None
    return Jpeg(frame=frame, scans=tuple(scans), ended=ended)


def _fits(head: bytes, frame: bytes) -> bool:
    """Return whether a scan's segment is of the length that its components need."""
    whole = len(frame) >= 10 and len(frame) == 10 + 3 * frame[9]
    return whole and len(head) >= 5 and 1 <= head[4] <= 4 and len(head) == 8 + 2 * head[4]


def _plain(head: bytes, frame: bytes) -> bytes:
    """Return a scan's segment; a sequential one with the band that the standard demands."""
    return head if frame[1] & 15 not in (0, 1) else head[:-3] + bytes([0, 63, 0])
