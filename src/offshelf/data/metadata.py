"""Files without what is no pixel, so that no profile, text or comment spoils a picture.

Pillow reads all metadata and gives the whole file up where one is damaged or large. What
is kept: whatever decides about pixels, and the orientation.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from offshelf.errors import ImageError

_PNG_SIGNATURE = 8
_MOST_CHUNKS = 2**20
_MOST_METADATA = 2**20  # bytes, unpacked: as much as Pillow reads
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


def opened(name: str, content: bytes) -> Image.Image:
    """Open a file of the format *name*, whatever its metadata are like.

    Raises:
        ImageError: ``unreadable``, a PNG of over a million chunks.
        Exception: whatever Pillow raises for a damaged file.
    """
    if name == "PNG":
        content = png_pixels(content)
    try:
        return Image.open(io.BytesIO(content), formats=(name,))
    except Exception:
        plain = jpeg_pixels(content) if name == "JPEG" else content
        if len(plain) == len(content):
            raise
        return Image.open(io.BytesIO(plain), formats=(name,))


def png_pixels(content: bytes) -> bytes:
    """Return the PNG file *content* with its pixels and orientation alone.

    Nothing is unpacked beyond what is kept. A chunk of pixels is kept as it is, with its
    checksum, and all that follows a chunk that cannot be one.

    Raises:
        ImageError: ``unreadable``, over a million chunks.
    """
    kept = [content[:_PNG_SIGNATURE]]
    found: set[bytes] = set()
    for kind, start, end in _chunks(content):
        if not kind[0] & 0x20 or kind == b"tRNS":  # critical, by the case of its name
            kept.append(content[start:end])
            continue
        place = _place(kind, content[start + 8 : end - 4])
        if place and place not in found and _is_whole(content, start, end):
            found.add(place)
            kept.append(content[start:end])
    return b"".join(kept)


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


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each chunk; of what is no chunk, all that is left."""
    at = _PNG_SIGNATURE
    for _ in range(_MOST_CHUNKS):
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
    raise ImageError("unreadable", f"more than {_MOST_CHUNKS} chunks in a PNG")


def _place(kind: bytes, body: bytes) -> bytes:
    """Return which of the places of an orientation a chunk is, or nothing."""
    if kind == b"eXIf":
        return kind
    keyword = body[:80].partition(b"\0")[0]
    return keyword if kind in _TEXTS and keyword in _KEYWORDS else b""


def _is_whole(content: bytes, start: int, end: int) -> bool:
    kind, body = content[start + 4 : start + 8], content[start + 8 : end - 4]
    (checksum,) = struct.unpack_from(">I", content, end - 4)
    if len(body) > _MOST_METADATA or zlib.crc32(kind + body) != checksum:
        return False
    _, _, rest = body.partition(b"\0")
    if kind == b"zTXt":
        return rest[:1] == b"\0" and _unpacks(rest[1:])
    if kind == b"iTXt" and rest[:1] != b"\0":
        return _unpacks(rest[2:].split(b"\0", 2)[-1])
    return True


def _unpacks(packed: bytes) -> bool:
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _MOST_METADATA)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail
