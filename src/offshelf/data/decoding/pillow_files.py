"""Files opened by Pillow: without damaged metadata, and without its warnings.

Pillow reads all metadata and gives the whole file up where one is damaged or large. What is
kept of a file is whatever decides about pixels, and the orientation.

The lists of warning filters belong to the whole process. ``warnings.catch_warnings`` swaps
them, and can leave them swapped when several threads use it at once. Here one well-formed
filter, which matches in the decoding thread only, is added while an image is decoded.
"""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, MutableSequence
from typing import Any, TypeVar, cast

from PIL import Image

from offshelf.data.decoding.tiff_samples import MAX_VALUES
from offshelf.errors import ImageError

_PNG_SIGNATURE = 8
_KEY_BYTES = {0: 2, 2: 6}  # of a transparent colour, by the kind of colour; shorter is none
_MAX_CHUNKS = 2**20
_MAX_METADATA = 2**20  # bytes, unpacked: as much as Pillow reads
# Where the orientation may be: keywords of texts, and the chunk of EXIF itself.
_KEYWORDS = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"exif")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_SCAN = 0xDA
# Application segments of a JPEG: marker -> how it begins, and the least length that is whole.
_SEGMENTS = {
    0xE0: (b"JFIF\0", 14),
    0xE1: (b"Exif\0\0", 14),
    0xEE: (b"Adobe", 12),
}

_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})
_WEBP_FLAGS = 0x12  # alpha and animation
# Size, samples, compression and its tables, place of strips and tiles, colours, orientation,
# and the value for no data.
_TIFF_PIXELS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320}
    | {322, 323, 324, 325, 332, 338, 339, 347, 529, 530, 531, 532, *range(512, 522), 42113}
)
_TIFF_XMP = {(700, 1), (700, 7)}  # bytes, by the two types of it


def opened(name: str, content: bytes) -> Image.Image:
    """Open a file of the format *name*, whatever its metadata are like.

    Raises:
        ImageError: ``unreadable``, a PNG of over a million chunks.
        Exception: whatever Pillow raises for a damaged file.
    """
    content = _BEFORE[name](content) if name in _BEFORE else content
    try:
        return Image.open(io.BytesIO(content), formats=(name,))
    except Exception:
        plain = _AFTER[name](content) if name in _AFTER else content
        if plain == content:
            raise
        return Image.open(io.BytesIO(plain), formats=(name,))


def png_pixels(content: bytes) -> bytes:
    """Return the PNG file *content* with its pixels and orientation alone.

    Nothing is unpacked beyond what is kept. A chunk of pixels is kept as it is, with its
    checksum, and all that follows a chunk that cannot be one.

    Raises:
        ImageError: ``unreadable``, over a million chunks, or neither the checksums of the
            pixels nor the one inside of them are right.
    """
    kept = [content[:_PNG_SIGNATURE]]
    found: set[bytes] = set()
    wrong = False
    for kind, start, end in _chunks(content):
        if kind == content[start + 4 : start + 8] == b"IDAT":
            wrong = wrong or not _sums_up(content, start, end)
        if not kind[0] & 0x20 or kind == b"tRNS":  # critical, by the case of its name
            short = kind == b"tRNS" and end - start - 12 < _KEY_BYTES.get(content[25], 0)
            kept += [] if short else [content[start:end]]
            continue
        place = _place(kind, content[start + 8 : end - 4])
        if place and place not in found and _is_whole(content, start, end):
            found.add(place)
            kept.append(content[start:end])
    # Zeros that fill up a file, as a broken transfer leaves them, can be unpacked as pixels.
    if wrong and not _holds_pixels(content):
        raise ImageError("unreadable", "damaged: its pixels do not match their checksum")
    return b"".join(kept)


def _holds_pixels(content: bytes) -> bool:
    """Return whether the pixels of a PNG can be unpacked to their end and match their own sum."""
    unpacking = zlib.decompressobj()
    try:
        for kind, start, end in _chunks(content):
            waiting = content[start + 8 : end - 4] if kind == b"IDAT" else b""
            while waiting and not unpacking.eof:
                unpacking.decompress(waiting, _MAX_METADATA)
                waiting = unpacking.unconsumed_tail
    except zlib.error:
        return False
    return unpacking.eof


def jpeg_pixels(content: bytes) -> bytes:
    """Return the JPEG file *content* without comments and the most of its application segments.

    Kept are JFIF and Adobe, which say what the colours are, and EXIF; each where it is whole.
    """
    kept, at = [content[:2]], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != _SCAN:
        marker = content[at + 1]
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        begin, least = _SEGMENTS.get(marker, (b"", 0))
        known = bool(begin) and content.startswith(begin, at + 4) and end - at - 4 >= least
        if known or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(content[at:end])
        at = end
    kept.append(content[at:])
    return b"".join(kept)


def webp_pixels(content: bytes) -> bytes:
    """Return the WebP file *content* without profile, EXIF and XMP, and what follows them.

    A file that ends within its pixels is returned as it is.
    """
    kept, at = b"", 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        end = at + 8 + size + size % 2
        if kind in _WEBP_PIXELS:
            if end > len(content) + size % 2:
                return content
            kept += content[at:end]
        elif kind != b"ICCP":
            break
        at = end
    if kept[:4] == b"VP8X":  # its flags name what follows
        kept = kept[:8] + bytes([kept[8] & _WEBP_FLAGS]) + kept[9:]
    return content[:4] + struct.pack("<I", len(kept) + 4) + content[8:12] + kept


def tiff_pixels(content: bytes) -> bytes:
    """Return the TIFF file *content* with a new directory, of the tags that draw the picture."""
    order = "<" if content[:1] == b"I" else ">"
    try:
        version, start = struct.unpack_from(f"{order}HI", content, 2)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        tags = struct.iter_unpack(f"{order}HHI4s", content[start + 2 : start + 2 + 12 * count])
    except struct.error:
        return content
    if version != 42:  # BigTIFF has other fields
        return content
    pixels = [entry for entry in tags if entry[0] in _TIFF_PIXELS or entry[:2] in _TIFF_XMP]
    if any(entry[2] > MAX_VALUES for entry in pixels if entry[0] in _TIFF_PIXELS):
        raise ImageError("unreadable", f"more than {MAX_VALUES} values in a tag of a TIFF")
    kept = [struct.pack(f"{order}HHI4s", *entry) for entry in pixels]
    body = content[8:] + b"\0" * (len(content) % 2)
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:4] + struct.pack(f"{order}I", 8 + len(body)) + body + directory


# Before Pillow fails, which it does late or at great cost, and after.
_BEFORE = {"PNG": png_pixels, "TIFF": tiff_pixels}
_AFTER = {"JPEG": jpeg_pixels, "WEBP": webp_pixels}


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each chunk; of what is no chunk, all that is left."""
    at = _PNG_SIGNATURE
    for _ in range(_MAX_CHUNKS):
        kind = content[at + 4 : at + 8]
        if len(kind) < 4:
            return
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if end > len(content) or not kind.isalpha():
            yield b"IDAT", at, len(content)
            return
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise ImageError("unreadable", f"more than {_MAX_CHUNKS} chunks in a PNG")


def _place(kind: bytes, body: bytes) -> bytes:
    """Return which of the places of an orientation a chunk is, or nothing."""
    if kind == b"eXIf":
        return kind
    keyword = body[:80].partition(b"\0")[0]
    return keyword if kind in _TEXTS and keyword in _KEYWORDS else b""


def _is_whole(content: bytes, start: int, end: int) -> bool:
    kind, body = content[start + 4 : start + 8], content[start + 8 : end - 4]
    if len(body) > _MAX_METADATA or not _sums_up(content, start, end):
        return False
    _, _, rest = body.partition(b"\0")
    if kind == b"zTXt":
        return rest[:1] == b"\0" and _unpacks(rest[1:])
    if kind == b"iTXt" and rest[:1] != b"\0":
        return _unpacks(rest[2:].split(b"\0", 2)[-1])
    return True


def _sums_up(content: bytes, start: int, end: int) -> bool:
    """Return whether a chunk that is all there has the right checksum; one cut short cannot."""
    if start + 12 + int.from_bytes(content[start : start + 4], "big") != end:
        return True
    checksum = int.from_bytes(content[end - 4 : end], "big")
    return zlib.crc32(memoryview(content)[start + 4 : end - 4]) == checksum


def _unpacks(packed: bytes) -> bool:
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _MAX_METADATA)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail


_T = TypeVar("_T")
# Another thread that swaps the filters takes ours away; under "error" Pillow then raises.
_TRIES = 8


class _Thread(threading.local):
    decoding = False


_thread = _Thread()


class _OfThisThread(type):
    def __subclasscheck__(cls, _category: type) -> bool:
        return _thread.decoding


class WarningWhileDecoding(Warning, metaclass=_OfThisThread):
    """The category of every warning in a thread that decodes, and of none elsewhere.

    A class with a name in a module, so that whoever copies the filters meanwhile (joblib
    hands them to its workers) copies something that works.
    """


_FILTER = ("ignore", None, WarningWhileDecoding, None, 0)
# The one reader of ours that also logs an error which it then raises.
_LOGGER = logging.getLogger("PIL.TiffImagePlugin")


def silently(work: Callable[[], _T]) -> _T:
    """Return what *work* returns; its warnings in this thread are dropped. Not to be nested.

    >>> silently(lambda: warnings.warn("too many entries", UserWarning))
    """
    for _ in range(_TRIES):
        try:
            with _silence():
                return work()
        except Warning:
            continue
    with _silence():
        return work()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    filters = _filters()
    logs = _Logs()
    filters.insert(0, _FILTER)
    _LOGGER.addFilter(logs)
    _thread.decoding = True
    try:
        yield
    finally:
        _thread.decoding = False
        _LOGGER.removeFilter(logs)
        _take_out(filters)


class _Logs(logging.Filter):
    def filter(self, _record: logging.LogRecord) -> bool:
        return not _thread.decoding


def _take_out(filters: MutableSequence[Any]) -> None:
    with contextlib.suppress(ValueError):  # somebody emptied the list
        filters.remove(_FILTER)
    if _filters() is not filters:  # swapped meanwhile, maybe for a copy that has ours
        with contextlib.suppress(ValueError):
            _filters().remove(_FILTER)


def _filters() -> MutableSequence[Any]:
    return cast("MutableSequence[Any]", warnings.filters)
